"""What an operator may set of the fulfillment service, beyond the blocks both services share."""

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from contracts.chassis.settings import ApiSettings, Block, KafkaSettings, PostgresSettings
from contracts.values import Reference, WarehouseMode


class FulfillmentPostgresSettings(PostgresSettings):
    url: str = Field(default="postgresql://tandem@127.0.0.1:5432/fulfillments", repr=False)


class FulfillmentApiSettings(ApiSettings):
    port: int = Field(default=3233, ge=0, le=65535)


class FulfillmentKafkaSettings(KafkaSettings):
    group: str = "fulfillment-service"


class CarrierSettings(Block):
    """The carrier; a simulated one in the embedded stack."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_", use_attribute_docstrings=True, frozen=True)

    carrier_name: Reference = "sandbox"
    """What a standing hold on this carrier names."""
    carrier_url: str = "http://127.0.0.1:3234/carrier"
    carrier_timeout_seconds: float = Field(default=10.0, gt=0)
    """For a whole call: a lookup before it has its own."""
    carrier_slots: int = Field(default=40, ge=1)
    """Calls at a time in one worker, and connections: no more can wait for a carrier that hangs."""


class WarehouseSettings(Block):
    """The simulated warehouse, where an order says nothing else."""

    model_config = SettingsConfigDict(
        env_prefix="TANDEM_WAREHOUSE_", use_attribute_docstrings=True, frozen=True
    )

    mode: WarehouseMode = "automatic"
    """`manual` waits for an operator's word at each step."""
    pace_seconds: float = Field(default=0.0, ge=0, le=3600)
    """How long a step takes in automatic mode."""
    pick_seconds: float = Field(default=120.0, ge=0)
    """How long a person should need in manual mode, for one line; the estimated time is made of these."""
    quality_seconds: float = Field(default=60.0, ge=0)
    pack_seconds: float = Field(default=120.0, ge=0)
    label_seconds: float = Field(default=5.0, ge=0)
    hand_over_seconds: float = Field(default=600.0, ge=0)
    """Until the driver comes."""
    name: Reference = "main"
    """What a standing hold on this warehouse names."""
    cancel_policy: Literal["accept", "ask"] = "accept"
    """With `ask` an operator accepts or rejects what the order wants cancelled; nothing begins meanwhile."""
    cancel_answer_seconds: float = Field(default=3600.0, gt=0)
    """A request that nobody answers for so long is an exception."""
    drain_per_second: float = Field(default=20.0, gt=0)
    """So many parcels go on each second after a standing hold was lifted, where nobody says otherwise."""

    @property
    def manual_budgets(self) -> dict[str, float]:
        """The seconds for each kind of step."""
        return {
            "pick": self.pick_seconds,
            "quality": self.quality_seconds,
            "pack": self.pack_seconds,
            "label": self.label_seconds,
            "hand-over": self.hand_over_seconds,
        }
