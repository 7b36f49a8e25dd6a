"""Orders in the states the tests begin with, each made by the decisions that lead there."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce

from contracts.envelope import CommandOutcome, ReceiptStatus
from contracts.order import FulfillmentCompleted as Completion
from contracts.values import Address, Code, Hold, HoldReason, LineItem, Outcome
from order_service.events import OrderEvent, OrderPlaced
from order_service.order import Order, evolve, steps, wishes

ORDER_ID = "ORD-1703123456789-ABC123DEF"
STREAM = f"order-{ORDER_ID}"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
EXPIRES_AT = datetime(2026, 1, 8, tzinfo=UTC)
ADDRESS = Address(street="456 New Street", city="New City", state="NC", zip_code="54321", country="USA")

PLACED = OrderPlaced(
    order_id=ORDER_ID,
    customer_id="c-1",
    lines=(LineItem(sku="TEAPOT", quantity=2, unit_price_minor=4900),),
    currency="USD",
    total_minor=9800,
    country="USA",
    service_level="standard",
)


def after(order: Order, facts: Sequence[OrderEvent]) -> Order:
    return reduce(evolve, facts, order)


def placed() -> Order:
    return evolve(None, PLACED)


def in_stock() -> Order:
    return after(placed(), steps.hold_stock(placed(), short_of=None))


def authorizing() -> Order:
    """The provider was asked and has not answered."""
    return after(in_stock(), steps.request_authorization(in_stock()))


def authorized() -> Order:
    facts = steps.authorized(authorizing(), reference="auth_1", expires_at=EXPIRES_AT)
    return after(authorizing(), facts)


def confirmed() -> Order:
    """The parcel is asked for; from here on the fulfillment decides about it."""
    return after(authorized(), steps.confirm(authorized()))


def under_way() -> Order:
    return after(confirmed(), steps.fulfillment_started(confirmed()))


def completed(outcome: Outcome, order: Order | None = None) -> Order:
    order = order or under_way()
    return after(order, steps.complete(order, completion(outcome)))


def capturing() -> Order:
    shipped = completed("SHIPPED")
    return after(shipped, steps.request_capture(shipped))


def paid() -> Order:
    return after(capturing(), steps.captured(capturing()))


def undone(order: Order) -> Order:
    """Everything taken back, up to the end."""
    order = after(order, steps.request_void(order))
    return after(order, steps.undone(order))


def short_of_stock() -> Order:
    return after(placed(), steps.hold_stock(placed(), short_of="TEAPOT"))


def declined() -> Order:
    return after(authorizing(), steps.declined(authorizing(), reason="card_declined"))


def cancelling(order: Order, command_id: str = "cancel-1") -> Order:
    return after(order, wishes.request_cancel(order, command_id=command_id, answer_by=SOON))


def paused(order: Order, command_id: str = "pause-1") -> Order:
    return after(order, wishes.pause(order, hold=hold(command_id), command_id=command_id))


def held(order: Order, handle: str = "q-1", until: datetime | None = None) -> Order:
    """The order itself may not go on."""
    asked = Hold(handle=handle, reason=HoldReason.FRAUD_RISK, until=until)
    return after(order, wishes.place_hold(order, hold=asked, command_id=handle))


def heard(order: Order, news: CommandOutcome) -> Order:
    return after(order, steps.answered(order, news))


def hold(handle: str = "h-1", reason: HoldReason = HoldReason.OPERATOR_PAUSE) -> Hold:
    return Hold(handle=handle, reason=reason)


def completion(outcome: Outcome, n: int = 1) -> Completion:
    return Completion(n=n, outcome=outcome, version=9)


def answer(
    command_id: str, status: ReceiptStatus, code: Code | None = None, address_version: int | None = None
) -> CommandOutcome:
    return CommandOutcome(
        command_id=command_id,
        status=status,
        code=code,
        address_version=address_version,
        address=ADDRESS if address_version else None,
    )


EVERY_STATE: dict[str, Callable[[], Order]] = {
    "placed": placed,
    "in stock": in_stock,
    "authorizing": authorizing,
    "authorized": authorized,
    "confirmed": confirmed,
    "under way": under_way,
    "shipped": lambda: completed("SHIPPED"),
    "capturing": capturing,
    "paid": paid,
    "short of stock": short_of_stock,
    "declined": declined,
    "parcel cancelled": lambda: completed("CANCELLED"),
    "parcel failed": lambda: completed("FAILED"),
    "cancelled early": lambda: undone(cancelling(authorized())),
    "cancelled late": lambda: undone(completed("CANCELLED", cancelling(under_way()))),
    "failed": lambda: undone(short_of_stock()),
    "cancelling before payment": lambda: cancelling(in_stock()),
    "cancelling while authorizing": lambda: cancelling(authorizing()),
    "cancelling under way": lambda: cancelling(under_way()),
    "paused": lambda: paused(under_way()),
    "held before stock": lambda: held(placed()),
    "held before payment": lambda: held(in_stock()),
    "held while authorizing": lambda: held(authorizing()),
    "held before the parcel": lambda: held(authorized()),
    "held and cancelled": lambda: cancelling(held(authorized())),
}
