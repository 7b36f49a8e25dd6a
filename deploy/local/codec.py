"""`python -m deploy.local.codec`: opens the payloads that Temporal's UI shows, on loopback only.

Few ever look at one, so it only listens until somebody does, and loads what it needs then: 88 MB.
"""

import argparse
import importlib
import select
import socket


def main() -> None:
    """Serve `/decode` until SIGTERM, once somebody asks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    with socket.create_server(("127.0.0.1", parser.parse_args().port)) as listener:
        select.select([listener], [], [])
        importlib.import_module("deploy.local.codec_app").serve(listener)


if __name__ == "__main__":
    main()
