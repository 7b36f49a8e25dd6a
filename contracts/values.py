"""Money, addresses, lines and identifiers: the words both services share."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic.alias_generators import to_camel


class Message(BaseModel):
    """Anything on the wire: camelCase JSON, snake_case Python, unknown fields ignored, never changed."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True,
        extra="ignore", frozen=True,
    )  # fmt: skip


class Code(StrEnum):
    """Every error and reason code a client may meet; new ones are only ever added."""

    INTERNAL = "INTERNAL"
    INVALID_REQUEST = "INVALID_REQUEST"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    KEY_REUSED = "KEY_REUSED"
    VERSION_MISMATCH = "VERSION_MISMATCH"
    UNAVAILABLE = "UNAVAILABLE"
    OVERLOADED = "OVERLOADED"
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
    TOO_SLOW = "TOO_SLOW"
    CIRCUIT_OPEN = "CIRCUIT_OPEN"
    UNKNOWN_SKU = "UNKNOWN_SKU"
    NOT_ALLOWED_NOW = "NOT_ALLOWED_NOW"
    NOT_UNDERSTOOD = "NOT_UNDERSTOOD"
    ALREADY_ENDED = "ALREADY_ENDED"
    CANCEL_IN_PROGRESS = "CANCEL_IN_PROGRESS"
    HAND_OVER_IN_PROGRESS = "HAND_OVER_IN_PROGRESS"
    ADDRESS_CUTOFF_PASSED = "ADDRESS_CUTOFF_PASSED"
    COUNTRY_CANNOT_CHANGE = "COUNTRY_CANNOT_CHANGE"
    HOLD_NOT_FOUND = "HOLD_NOT_FOUND"
    ON_HOLD = "ON_HOLD"
    STEP_NOT_OPEN = "STEP_NOT_OPEN"
    TOO_MANY_WISHES = "TOO_MANY_WISHES"
    STANDING_HOLD = "STANDING_HOLD"
    HANDLE_TAKEN = "HANDLE_TAKEN"
    CANCEL_REJECTED = "CANCEL_REJECTED"
    CANCEL_UNANSWERED = "CANCEL_UNANSWERED"
    NO_SUCH_REQUEST = "NO_SUCH_REQUEST"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    PAYMENT_DECLINED = "PAYMENT_DECLINED"
    CAPTURE_FAILED = "CAPTURE_FAILED"
    VOID_FAILED = "VOID_FAILED"
    LABEL_REFUSED = "LABEL_REFUSED"
    HAND_OVER_REFUSED = "HAND_OVER_REFUSED"
    STEP_FAILED = "STEP_FAILED"
    CANCELLED_ON_REQUEST = "CANCELLED_ON_REQUEST"
    FULFILLMENT_CANCELLED = "FULFILLMENT_CANCELLED"
    FULFILLMENT_FAILED = "FULFILLMENT_FAILED"
    STORE_BEHIND = "STORE_BEHIND"
    STEP_PARKED = "STEP_PARKED"
    ALREADY_CLAIMED = "ALREADY_CLAIMED"
    DOES_NOT_ADD_UP = "DOES_NOT_ADD_UP"


class HoldReason(StrEnum):
    """Why a parcel or an order may not move."""

    OPERATOR_PAUSE = "OPERATOR_PAUSE"
    CUSTOMER_REQUEST = "CUSTOMER_REQUEST"
    AWAITING_PAYMENT = "AWAITING_PAYMENT"
    INCORRECT_ADDRESS = "INCORRECT_ADDRESS"
    INVENTORY = "INVENTORY"
    QUALITY = "QUALITY"
    CARRIER = "CARRIER"
    FRAUD_RISK = "FRAUD_RISK"
    OTHER = "OTHER"


def _storable(text: str) -> str:
    """PostgreSQL's jsonb takes neither NUL nor a lone surrogate: refuse both where they come in."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain NUL or lone surrogate characters")
    return text


def _real_integer(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("must be a whole number")


Reference = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$", strict=True)]
"""An opaque name given by a shop: letters, digits and `_ . : -`; never a person's name or mail."""
Sku = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9_-]{0,39}$", strict=True)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$", strict=True)]
"""ISO 4217."""
Minor = Annotated[int, BeforeValidator(_real_integer), Field(ge=0, le=99_999_999)]
"""An amount in the currency's smallest unit, such as cents."""
Quantity = Annotated[int, BeforeValidator(_real_integer), Field(ge=1, le=999)]


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")


def _no_number(value: Any) -> Any:
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("must be a moment with its offset, such as 2026-01-31T12:00:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_no_number)]
"""RFC 3339 with an offset; a bare number is none, for nobody knows whether it counts seconds."""

_Trimmed = StringConstraints(strip_whitespace=True, min_length=1, strict=True)
Text100 = Annotated[str, _Trimmed, StringConstraints(max_length=100), AfterValidator(_storable)]
Text200 = Annotated[str, _Trimmed, StringConstraints(max_length=200), AfterValidator(_storable)]
Text500 = Annotated[str, _Trimmed, StringConstraints(max_length=500), AfterValidator(_storable)]


class Money(Message):
    minor: Minor
    currency: Currency


class Address(Message):
    """Where a parcel goes. Personal: kept only in a service's own PII table."""

    street: Text200
    city: Text100
    state: Text100
    zip_code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 -]{1,11}$", strict=True)]
    country: Text100


class Line(Message):
    """So many pieces of one article."""

    sku: Sku
    quantity: Quantity


class LineItem(Line):
    """A line with the price it was sold for."""

    unit_price_minor: Minor


class Hold(Message):
    """One reason not to move. Several may stand at once; each is lifted by its handle."""

    handle: Reference
    reason: HoldReason = HoldReason.OPERATOR_PAUSE
    holder: Reference | None = None
    """Who placed it."""
    until: Moment | None = None
    """It is lifted by itself at this time."""
    standing: bool = False
    """It freezes everything that matches, and is lifted only for all of it at once."""

    def is_over(self, now: datetime) -> bool:
        return self.until is not None and self.until <= now


Outcome = Literal["SHIPPED", "CANCELLED", "FAILED"]
WarehouseMode = Literal["automatic", "manual"]

# Not \d, which also takes the digits of other scripts, and for fullmatch: `$` lets a line break pass.
ORDER_ID = re.compile(r"ORD-[0-9]{13}-[A-Z0-9]{9}")
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_COMMANDS = UUID("6f1f7f0c-6d0a-5d3c-9c51-3a1f3f0f4c55")


def order_id(now: datetime, token: int) -> str:
    """`ORD-<epoch ms>-<9 of [A-Z0-9]>`; `token` is any number of at least 47 random bits."""
    characters: list[str] = []
    for _ in range(9):
        token, place = divmod(token, len(_ALPHABET))
        characters.append(_ALPHABET[place])
    return f"ORD-{int(now.astimezone(UTC).timestamp() * 1000):013d}-{''.join(characters)}"


def command_id(path: str, idempotency_key: str) -> str:
    """The same path and Idempotency-Key are the same command, in every process and for ever."""
    return str(uuid5(_COMMANDS, f"{path}\n{idempotency_key}"))
