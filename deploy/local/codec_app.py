"""The decoder behind `deploy.local.codec`: both namespaces' key rings, from the environment."""

import asyncio
import socket

import uvicorn

from contracts.chassis.settings import TemporalSettings
from contracts.chassis.temporal.codec import KeyRing, codec_server


def serve(listener: socket.socket) -> None:
    """Answers who connects to the listener until SIGTERM."""
    settings = TemporalSettings()
    app = codec_server(
        {
            "orders": KeyRing.parse(settings.codec_orders_keys.get_secret_value()),
            "fulfillments": KeyRing.parse(settings.codec_fulfillments_keys.get_secret_value()),
        }
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    asyncio.run(server.serve([listener]))
