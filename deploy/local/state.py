"""The one folder a stack keeps everything in, and what it tells others about itself there."""

import base64
import fcntl
import json
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

_MARK = ".tandem-state"
_CONTENT = ("postgres", "postgres.new", "temporal", "kafka", "kafka-apache", "sandbox", "logs", "secrets",
            "telemetry", "containers", "env.json", "migrated.json", "temporal.toml", "supervisor.lock",
            _MARK)  # fmt: skip
NAMESPACES = ("orders", "fulfillments")


def cache_folder() -> Path:
    """Where this machine keeps what was fetched or built once, for all stacks and clones."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem"


def default_folder() -> Path:
    """`.tandem` in the repository, or what TANDEM_STATE_DIR says."""
    return Path(os.environ.get("TANDEM_STATE_DIR") or ROOT / ".tandem").absolute()


class State:
    """Paths in the folder, its key rings, and the description of the running stack."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.logs = self.folder / "logs"
        self.description = self.folder / "env.json"
        self.temporal_config = self.folder / "temporal.toml"
        self.spans = self.folder / "telemetry" / "spans.jsonl"
        self.containers = self.folder / "containers"
        """Is there once `up --docker` was: data are in volumes then."""

    def make(self) -> None:
        """The folder exists and is marked as ours."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(exist_ok=True)
        self.spans.parent.mkdir(exist_ok=True)
        (self.folder / _MARK).touch()

    def lock(self) -> IO[str] | None:
        """The lock of the folder, or None when another stack holds it; released when the file is closed."""
        file = (self.folder / "supervisor.lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        return file

    def owner(self) -> int | None:
        """The pid of the supervisor that holds the folder."""
        path = self.folder / "supervisor.lock"
        if not path.exists():
            return None
        with path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                with suppress(ValueError):
                    return int(file.read())
        return None

    def key_rings(self) -> dict[str, str]:
        """The codec's key rings as environment, made once and kept: without them payloads are lost."""
        path = self.folder / "secrets" / "codec.json"
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            rings = {f"TANDEM_CODEC_{namespace.upper()}_KEYS": new_ring() for namespace in NAMESPACES}
            write_atomically(path, json.dumps(rings))
        return json.loads(path.read_text())

    def write_temporal_config(self, address: str) -> None:
        """Temporal's own configuration leads both profiles to `address`."""
        profiles = (
            f'[profile.{namespace}]\naddress = "{address}"\nnamespace = "{namespace}"\n'
            for namespace in NAMESPACES
        )
        write_atomically(self.temporal_config, "\n".join(profiles))

    def describe(self, description: dict[str, Any]) -> None:
        write_atomically(self.description, json.dumps(description, indent=2))

    def described(self) -> dict[str, Any]:
        """What the stack last said about itself; empty when it never ran."""
        try:
            return json.loads(self.description.read_text())
        except (OSError, ValueError):
            return {}

    def remove(self) -> None:
        """Everything a stack put into the folder is gone. Raises ValueError when it is no state folder."""
        if not (self.folder / _MARK).exists():
            raise ValueError(f"{self.folder} is not a state folder of Tandem")
        for name in _CONTENT:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()


def new_ring() -> str:
    """A key ring of one fresh key."""
    return f"local-1:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def write_atomically(path: Path, text: str) -> None:
    """The file holds `text`, readable by its owner only; nobody ever sees half of it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
