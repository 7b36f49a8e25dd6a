"""What an operator may set of the order service, beyond the blocks both services share."""

from datetime import timedelta

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from contracts.chassis.settings import ApiSettings, Block, KafkaSettings, PostgresSettings


class OrderPostgresSettings(PostgresSettings):
    url: str = "postgresql://tandem@127.0.0.1:5432/orders"


class OrderApiSettings(ApiSettings):
    port: int = 3232
    orders_wait_seconds: float = Field(default=20.0, gt=0)
    """When new orders wait longer than this to get under way, further ones are answered 503 until they do
    not; so after an overload all is normal again in about as long. Not during an outage."""


class OrderKafkaSettings(KafkaSettings):
    group: str = "order-service"


class PaymentSettings(Block):
    """The payment provider; a simulated one in the embedded stack."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_", use_attribute_docstrings=True, frozen=True)

    payments_url: str = "http://127.0.0.1:3234/payments"
    payments_timeout_seconds: float = Field(default=15.0, gt=0)
    """For a whole call. An activity makes as many as it needs and is heard of meanwhile, so silence of the
    provider is an error that counts and never a lost attempt."""
    payments_slots: int = Field(default=40, ge=1)
    """Calls at a time in one worker, and connections: no more can wait for a provider that hangs. At 50 ms a
    call they make 800 a second, far more than the rest of a worker gets done."""


class DeadlineSettings(Block):
    """How long the order waits for others before a person has to look."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_ORDER_", use_attribute_docstrings=True, frozen=True)

    cancel_answer_seconds: float = Field(default=3600.0, gt=0)
    """A cancel that the fulfillment has not answered by then needs attention."""

    @property
    def cancel_answer(self) -> timedelta:
        return timedelta(seconds=self.cancel_answer_seconds)
