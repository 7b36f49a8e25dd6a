"""`python -m contracts.chassis.probe [PORT]`: exits 0 when the process on that port says that it is ready.

The health check of a container: ready means that every watched loop made progress, not that a port is open.
Nothing but the standard library, because it starts every few seconds.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

SECONDS = 3


def main(arguments: list[str]) -> int:
    """Asks `/health/ready`; the port is the argument, else that of the role the environment sets up."""
    port = arguments[0] if arguments else _own_port()
    if not port or not port.isdecimal():
        print("no port to ask: give one, or set TANDEM_HEALTH_PORT or TANDEM_API_PORT", file=sys.stderr)
        return 2
    connection = HTTPConnection("127.0.0.1", int(port), timeout=SECONDS)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        print(answer.read(1000).decode(errors="replace"))
    except (OSError, HTTPException) as error:
        print(f"nothing answers on port {port}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0 if answer.status == 200 else 1


def _own_port() -> str | None:
    return os.environ.get("TANDEM_HEALTH_PORT") or os.environ.get("TANDEM_API_PORT")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
