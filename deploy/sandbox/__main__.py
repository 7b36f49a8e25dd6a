"""python -m deploy.sandbox --port 3234 --state DIR"""

import argparse
import sqlite3
import sys
from pathlib import Path

from deploy.sandbox.server import serve


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.sandbox", description="Simulated payment and carrier providers over HTTP."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3234, help="0 takes any free port and prints it")
    parser.add_argument("--state", type=Path, required=True, help="folder of the ledgers; survives a kill")
    arguments = parser.parse_args()
    try:
        serve(arguments.host, arguments.port, arguments.state)
    except OSError as error:
        print(f"provider sandbox: {error}. Choose another --port or --state.", file=sys.stderr)
        return 1
    except sqlite3.Error as error:
        print(
            f"provider sandbox: {arguments.state}: {error}. Another sandbox may hold this folder.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
