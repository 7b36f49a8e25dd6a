"""What an operator may set of the order service, beyond the blocks both services share."""

from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.chassis.settings import ApiSettings, KafkaSettings, PostgresSettings


class OrderPostgresSettings(PostgresSettings):
    url: str = "postgresql://tandem@127.0.0.1:5432/orders"


class OrderApiSettings(ApiSettings):
    port: int = 3232


class OrderKafkaSettings(KafkaSettings):
    group: str = "order-service"


class PaymentSettings(BaseSettings):
    """The payment provider; a simulated one in the embedded stack."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_", use_attribute_docstrings=True, frozen=True)

    payments_url: str = "http://127.0.0.1:3234/payments"
    payments_timeout_seconds: float = 30.0
    """Below the 40 seconds of an activity, so that a silent provider is an error and no lost attempt."""
