"""The key rings that containers and clusters are given as files."""

from pathlib import Path

import pytest

from contracts.chassis.settings import TemporalSettings
from contracts.chassis.temporal import key_ring
from deploy import keys


def test_the_rings_are_made_once_and_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A second call keeps them, since without them nobody reads what was sealed; others may not read them."""
    folder = tmp_path / "new" / "rings"
    assert keys.main([str(folder)]) == 0
    first = {file.name: file.read_text() for file in folder.iterdir()}
    assert keys.main([str(folder)]) == 0
    assert {file.name: file.read_text() for file in folder.iterdir()} == first
    assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())
    monkeypatch.setenv("TANDEM_SECRETS_DIR", str(folder))
    settings = TemporalSettings()
    key_id, sealed = key_ring("orders", settings).encrypt(b"address")
    assert key_ring("orders", settings).decrypt(key_id, sealed) == b"address"
    with pytest.raises(ValueError, match="not what its key sealed"):
        key_ring("fulfillments", settings).decrypt(key_id, sealed)
