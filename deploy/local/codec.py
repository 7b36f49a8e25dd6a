"""`python -m deploy.local.codec`: opens the payloads that Temporal's UI shows, on loopback only."""

import argparse
import asyncio

import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from contracts.chassis.settings import TemporalSettings
from contracts.chassis.temporal.codec import KeyRing, codec_server


def main() -> None:
    """Serve `/decode` until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    settings = TemporalSettings()
    app = codec_server(
        {
            "orders": KeyRing.parse(settings.codec_orders_keys.get_secret_value()),
            "fulfillments": KeyRing.parse(settings.codec_fulfillments_keys.get_secret_value()),
        }
    )
    app.router.routes.append(Route("/health/ready", _ready))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=options.port, log_level="warning"))
    asyncio.run(server.serve())


async def _ready(_: Request) -> Response:
    return PlainTextResponse("ready")


if __name__ == "__main__":
    main()
