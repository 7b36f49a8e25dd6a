"""`python -m deploy.keys FOLDER`: a key ring for each namespace's codec, as files for TANDEM_SECRETS_DIR."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.local.state import NAMESPACES, new_ring, write_atomically


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.keys", description="Makes the codec's key rings.")
    parser.add_argument("folder", type=Path, help="where they go; a ring that is there already is kept")
    folder: Path = parser.parse_args(arguments).folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for namespace in NAMESPACES:
        ring = folder / f"tandem_codec_{namespace}_keys"
        if ring.exists():
            print(f"{ring} is kept")
        else:
            write_atomically(ring, new_ring())
            print(f"{ring} is new: without it nobody reads this namespace's payloads, so keep a copy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
