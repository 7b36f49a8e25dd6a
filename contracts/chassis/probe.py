"""`python -m contracts.chassis.probe [PORT]`: exits 0 when the process on that port says that it is ready.

The health check of a container: ready means that every watched loop made progress, not that a port is open.
A socket and no HTTP library, because it starts every few seconds: 30 ms in place of 110.
"""

import os
import socket
import sys

SECONDS = 3
_REQUEST = b"GET /health/ready HTTP/1.0\r\n\r\n"


def main(arguments: list[str]) -> int:
    """Asks `/health/ready`; the port is the argument, else that of the role the environment sets up."""
    port = arguments[0] if arguments else _own_port()
    if not port or not port.isdecimal():
        print("no port to ask: give one, or set TANDEM_HEALTH_PORT or TANDEM_API_PORT", file=sys.stderr)
        return 2
    try:
        answer = _ask(int(port))
    except OSError as error:
        print(f"nothing answers on port {port}: {error}", file=sys.stderr)
        return 1
    print(answer.rpartition("\r\n\r\n")[2] or answer)
    return 0 if answer.split(" ")[1:2] == ["200"] else 1


def _own_port() -> str | None:
    return os.environ.get("TANDEM_HEALTH_PORT") or os.environ.get("TANDEM_API_PORT")


def _ask(port: int) -> str:
    """The whole answer. Raises OSError when there is none in time."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(_REQUEST)
        parts: list[bytes] = []
        while part := connection.recv(4096):
            parts.append(part)
    return b"".join(parts).decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
