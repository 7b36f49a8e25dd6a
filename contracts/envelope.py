"""One Kafka record is one CloudEvent; one wish travels in one envelope."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self, cast
from uuid import UUID

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    model_validator,
)

from contracts.values import Address, Code, Hold, HoldReason, Message, Reference, Text200, Text500

WishName = Literal[
    "pauseFulfillment",
    "resumeFulfillment",
    "cancelFulfillment",
    "updateShippingAddress",
    "applyHold",
    "releaseHold",
    "completeStep",
    "failStep",
    "resolveException",
    "acceptCancellation",
    "rejectCancellation",
    "cancelOrder",
    "updateOrder",
    "pauseOrderFulfillment",
    "resumeOrderFulfillment",
    "placeOrder",
]
ReceiptStatus = Literal["RECEIVED", "ACCEPTED", "REJECTED", "EFFECTIVE", "SUPERSEDED"]
FINAL: frozenset[ReceiptStatus] = frozenset(("REJECTED", "EFFECTIVE", "SUPERSEDED"))


_COMMAND_ID = re.compile(r"[\x21-\x7e]{1,100}")
CommandId = Annotated[str, StringConstraints(pattern=rf"^{_COMMAND_ID.pattern}$", strict=True)]
"""Visible ASCII, because it becomes a key in the database."""


class WishPayload(Message):
    """What a wish carries beside its name; each wish uses the fields it needs."""

    address: Address | None = None
    hold: Hold | None = None
    handle: Reference | None = None
    """The hold to lift; absent lifts all that the same side placed."""
    step_key: Reference | None = None
    request: CommandId | None = None
    """The cancel that an operator accepts or rejects."""
    address_version: Annotated[int, Field(ge=1)] | None = None
    resolution: Literal["retry", "skip"] | None = None
    """What is to be done about an exception; absent means that it is tried again."""
    code: Code | None = None
    """The exception's code; absent means any."""


class Wish(Message):
    """A command somebody sends. Everything in it may be missing: a bare Temporal signal is a wish too."""

    command_id: CommandId | None = None
    issued_at: datetime | None = None
    actor: Reference | None = None
    reason: Text500 | None = None
    note: Text500 | None = None
    payload: WishPayload = WishPayload()
    malformed: bool = False
    """True when the sender's payload could not be understood; such a wish is refused, never dropped."""

    @model_validator(mode="wrap")
    @classmethod
    def _tolerant(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Takes the seed's bare payloads (a string is a reason, an address an address) and never fails."""
        try:
            return handler(_enveloped(value))
        except (ValidationError, ValueError, TypeError):
            return cls.model_construct(
                command_id=_command_id_of(value),
                issued_at=None,
                actor=None,
                reason=None,
                note=None,
                payload=WishPayload(),
                malformed=True,
            )


def _enveloped(value: Any) -> Any:
    if value is None:
        return {}
    if isinstance(value, str):
        return {"reason": value} if value.strip() else {}
    if isinstance(value, Mapping) and "street" in value:
        return {"payload": {"address": cast("object", value)}}
    return cast("object", value)


def _command_id_of(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return None
    named = cast("Mapping[str, object]", value)
    found = named.get("commandId", named.get("command_id"))
    return found if isinstance(found, str) and _COMMAND_ID.fullmatch(found) else None


def none_if_malformed(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """For signal payloads that are no wishes: a payload that does not parse is None, never an error."""
    try:
        return handler(value)
    except (ValidationError, ValueError, TypeError):
        return None


class Receipt(Message):
    """What became of a wish."""

    command_id: str
    status: ReceiptStatus
    code: Code | None = None
    """Why it was rejected."""
    detail: str | None = None
    cut_off: str | None = None
    """The fact after which such a wish is refused for good."""
    first_version: int | None = None
    last_version: int | None = None
    """The facts it led to: versions of the stream, both included."""

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


class CommandOutcome(Message):
    """The other service's answer to a wish, or its news of an accepted address change."""

    command_id: str
    status: ReceiptStatus
    code: Code | None = None
    detail: Text200 | None = None
    cut_off: str | None = None
    address_version: int | None = None
    address: Address | None = None
    """Only with an accepted address change; encrypted by the payload codec on its way."""


class Event(Message):
    """One public event: the attributes of a CloudEvents 1.0 event and its data, without anything personal."""

    id: UUID
    type: str
    source: str
    subject: str
    """The stream the fact belongs to."""
    time: datetime
    sequence: int
    """The stream's version of this fact; without gaps, so a reader can tell what it has not seen yet."""
    correlation_id: str
    """The order id; also the record's key."""
    causation_id: str | None = None
    traceparent: str | None = None
    data: dict[str, Any]


def to_record(event: Event) -> KafkaMessage:
    """The event in Kafka's binary content mode: `ce_` headers, JSON value, keyed by the order id."""
    attributes: dict[str, Any] = {
        "id": str(event.id),
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": event.time,
        "sequence": str(event.sequence),
        "correlationid": event.correlation_id,
        "causationid": event.causation_id,
        "traceparent": event.traceparent,
        "datacontenttype": "application/json",
        "partitionkey": event.correlation_id,
    }
    present = {name: value for name, value in attributes.items() if value is not None}
    return to_binary(CloudEvent(present, event.data), JSONFormat())


def from_record(headers: Mapping[str, bytes], value: bytes, key: bytes | None = None) -> Event:
    """The event a Kafka record carries. Raises ValueError when it is none."""
    try:
        read = from_binary(KafkaMessage(dict(headers), key, value), JSONFormat(), CloudEvent)
        attributes = read.get_attributes()
        return Event(
            id=attributes["id"],
            type=attributes["type"],
            source=attributes["source"],
            subject=attributes["subject"],
            time=attributes["time"],
            sequence=attributes["sequence"],
            correlation_id=attributes["correlationid"],
            causation_id=attributes.get("causationid"),
            traceparent=attributes.get("traceparent"),
            data=read.get_data(),  # type: ignore[arg-type]  # validated by pydantic, one line above ValueError
        )
    except (CloudEventValidationError, KeyError, UnicodeDecodeError, ValueError) as error:
        raise ValueError("the record is not a Tandem CloudEvent") from error


def hold_of(wish: Wish, command_id: str) -> Hold:
    """The hold a pause or hold wish asks for; a pause without one is OPERATOR_PAUSE, named by its command."""
    handle = re.sub(r"[^A-Za-z0-9_.:-]", ".", command_id)[:64]
    return wish.payload.hold or Hold(
        handle=handle if handle[0].isalnum() else f"x{handle[1:]}", reason=HoldReason.OPERATOR_PAUSE
    )
