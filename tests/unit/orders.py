"""Orders in the states the tests begin with, each made by the decisions that lead there."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce

from contracts.envelope import CommandOutcome, ReceiptStatus
from contracts.order import FulfillmentCompleted as Completion
from contracts.values import Address, Code, Hold, HoldReason, LineItem, Outcome
from order_service.events import OrderEvent, OrderPlaced
from order_service.order import Order, evolve, payment, steps, wishes

ORDER_ID = "ORD-1703123456789-ABC123DEF"
STREAM = f"order-{ORDER_ID}"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
EXPIRES_AT = NOW + timedelta(days=7)
RENEW_AT = NOW + timedelta(days=6)
LATER = NOW + timedelta(days=13)
"""When an authorization ends that replaces the first one."""
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
    return after(in_stock(), payment.request_authorization(in_stock()))


def authorized() -> Order:
    facts = payment.authorized(authorizing(), reference="auth_1", expires_at=EXPIRES_AT, now=NOW)
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
    return after(shipped, payment.request_capture(shipped))


def paid() -> Order:
    return after(capturing(), payment.captured(capturing()))


def given_back(order: Order) -> Order:
    """No authorization stands any more."""
    while facts := payment.request_void(order):
        order = after(order, facts)
        order = after(order, payment.voided(order))
    return order


def undone(order: Order) -> Order:
    """Everything taken back, up to the end."""
    order = given_back(order)
    return after(order, steps.undone(order))


def renewing(order: Order | None = None) -> Order:
    """Time to renew has come: another authorization is asked for, and the provider has not answered."""
    order = order or under_way()
    assert order.renew_at is not None
    return after(order, steps.elapse(order, order.renew_at))


def renewed(order: Order | None = None) -> Order:
    """The next authorization stands, and the one before is still to be voided."""
    order = renewing(order)
    assert order.renew_at is not None
    assert order.open_authorization is not None
    reference = f"auth_{order.open_authorization.n}"
    facts = payment.authorized(order, reference=reference, expires_at=LATER, now=order.renew_at)
    return after(order, facts)


def unpaid(order: Order | None = None) -> Order:
    """The next authorization was declined, so the parcel is held."""
    order = renewing(order)
    assert order.renew_at is not None
    return after(order, payment.declined(order, reason="card_declined", now=order.renew_at))


def short_of_stock() -> Order:
    return after(placed(), steps.hold_stock(placed(), short_of="TEAPOT"))


def declined() -> Order:
    return after(authorizing(), payment.declined(authorizing(), reason="card_declined", now=NOW))


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
    "renewing": renewing,
    "renewed": renewed,
    "unpaid": unpaid,
    "renewing a held order": lambda: renewing(held(authorized())),
    "unpaid before the parcel": lambda: unpaid(held(authorized())),
    "shipped while renewing": lambda: completed("SHIPPED", renewing()),
    "shipped when renewed": lambda: completed("SHIPPED", renewed()),
    "parcel cancelled while renewing": lambda: completed("CANCELLED", renewing()),
    "parcel cancelled when renewed": lambda: completed("CANCELLED", renewed()),
    "cancelled while renewing": lambda: cancelling(renewing(held(authorized()))),
    "held and cancelled": lambda: cancelling(held(authorized())),
}
