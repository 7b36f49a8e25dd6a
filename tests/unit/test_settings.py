"""Settings come from variables and, where TANDEM_SECRETS_DIR names a folder, from files in it."""

from pathlib import Path

import pytest
from pydantic_settings.exceptions import SettingsError

from contracts.chassis.settings import KafkaSettings, TemporalSettings
from order_service.settings import OrderPostgresSettings, PaymentSettings


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TANDEM_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_file_named_like_the_variable_holds_its_value(secrets: Path):
    """In small letters, without the line end; blocks of a service read them as those of the chassis do."""
    (secrets / "tandem_postgres_url").write_text("postgresql://order_api:secret@db/orders\n")
    (secrets / "tandem_codec_orders_keys").write_text("one:key")
    (secrets / "tandem_kafka_password").write_text("pass")
    (secrets / "tandem_payments_url").write_text("https://payments.example")
    assert OrderPostgresSettings().url == "postgresql://order_api:secret@db/orders"
    assert TemporalSettings().codec_orders_keys.get_secret_value() == "one:key"
    password = KafkaSettings().password
    assert password is not None
    assert password.get_secret_value() == "pass"
    assert PaymentSettings().payments_url == "https://payments.example"


def test_the_variable_itself_wins(secrets: Path, monkeypatch: pytest.MonkeyPatch):
    """What an operator sets by hand is not overruled by a mounted file."""
    (secrets / "tandem_kafka_servers").write_text("file:9092")
    monkeypatch.setenv("TANDEM_KAFKA_SERVERS", "hand:9092")
    assert KafkaSettings().servers == "hand:9092"


def test_a_folder_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A secret that was not mounted must not become a default in silence."""
    monkeypatch.setenv("TANDEM_SECRETS_DIR", str(tmp_path / "missing"))
    with pytest.raises(SettingsError, match="TANDEM_SECRETS_DIR"):
        KafkaSettings()
