"""What each step of an order's way adds to it. A step that the stream already records adds nothing."""

from datetime import datetime

from contracts.chassis.troubles import resolved
from contracts.envelope import FINAL, CommandOutcome
from contracts.order import FulfillmentCompleted as Completion
from contracts.values import Code
from order_service.events import (
    AddressChanged,
    ExceptionRaised,
    FulfillmentAnswered,
    FulfillmentCompleted,
    FulfillmentRequested,
    FulfillmentStarted,
    FulfillmentUnderWay,
    HoldReleased,
    OrderCancelled,
    OrderConfirmed,
    OrderEvent,
    OrderFailed,
    OrderShipped,
    StockHeld,
    StockRefused,
    StockReleased,
)
from order_service.order.payment import ask_authorization
from order_service.order.state import Order, Step


def hold_stock(order: Order, *, short_of: str | None) -> list[OrderEvent]:
    """All lines are held, or none is because of the article that is short."""
    if order.step is not Step.HOLD_STOCK or order.is_stopped:
        return []
    return [StockHeld()] if short_of is None else [StockRefused(sku=short_of)]


def confirm(order: Order) -> list[OrderEvent]:
    """The order is confirmed and its parcel asked for: the boundary after which the fulfillment decides."""
    if order.step is not Step.CONFIRM or order.is_stopped:
        return []
    return [
        OrderConfirmed(),
        FulfillmentRequested(n=1, holds=order.held, address_version=order.address_version),
    ]


def fulfillment_started(order: Order) -> list[OrderEvent]:
    """The fulfillment exists; asking it twice to start adds nothing."""
    if order.fulfillment_started or not order.is_requested:
        return []
    return [FulfillmentStarted(n=order.fulfillment_n), FulfillmentUnderWay()]


def elapse(order: Order, now: datetime) -> list[OrderEvent]:
    """What time has changed by now: a hold is over, an answer missing, an authorization to be renewed."""
    if order.alarm is None or order.alarm > now:
        return []
    facts: list[OrderEvent] = []
    if not order.is_undone:
        over = [hold.handle for hold in order.holds if hold.is_over(now)]
        facts += [HoldReleased(handle=handle) for handle in over]
    is_late = any(_is_due(cancel.answer_by, now) for cancel in order.unanswered)
    if is_late and not order.has(Code.CANCEL_UNANSWERED):
        facts.append(ExceptionRaised(step_key=order.step, code=Code.CANCEL_UNANSWERED))
    if order.is_waiting_for_parcel and not order.is_renewing and _is_due(order.renew_at, now):
        facts.append(ask_authorization(order))
    return facts


def _is_due(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now


def answered(order: Order, news: CommandOutcome) -> list[OrderEvent]:
    """The fulfillment's answer is recorded, and the address it accepted, whoever asked for that."""
    facts: list[OrderEvent] = []
    if _moves_a_wish(order, news):
        facts.append(
            FulfillmentAnswered(
                command_id=news.command_id, status=news.status, code=news.code, cut_off=news.cut_off
            )
        )
        if all(cancel.command_id == news.command_id for cancel in order.unanswered):
            facts += _all_answered(order)
    if accepts_address(order, news) and news.address and news.address_version:
        facts.append(AddressChanged(version=news.address_version, country=news.address.country))
    return facts


def _all_answered(order: Order) -> list[OrderEvent]:
    """Nobody has to ask the fulfillment about a cancel any more."""
    return [*resolved([each for each in order.troubles if each.code is Code.CANCEL_UNANSWERED])]


def _moves_a_wish(order: Order, news: CommandOutcome) -> bool:
    """The first answer to a wish that waits, or the end of one that had only been accepted.

    RECEIVED is no answer: a person over there still decides."""
    if news.status == "RECEIVED":
        return False
    waits = any(wish.command_id == news.command_id for wish in order.lane)
    was_accepted = any(wish.command_id == news.command_id for wish in order.accepted)
    return waits or (was_accepted and news.status in FINAL)


def accepts_address(order: Order, news: CommandOutcome) -> bool:
    """True when the news brings an address version that the order does not have yet."""
    return (
        news.address is not None
        and news.address_version is not None
        and news.address_version > order.address_version
    )


def complete(order: Order, news: Completion) -> list[OrderEvent]:
    """How the fulfillment ended is recorded once, and a shipped parcel makes a shipped order.

    A quick parcel ends before its start has returned: that it started is recorded first."""
    if order.completion is not None or not order.is_requested or news.n != order.fulfillment_n:
        return []
    completed = FulfillmentCompleted(n=news.n, outcome=news.outcome, version=news.version, code=news.code)
    shipped = [OrderShipped()] if news.outcome == "SHIPPED" else []
    return [*fulfillment_started(order), completed, *shipped, *_all_answered(order)]


def undone(order: Order) -> list[OrderEvent]:
    """Money and stock are settled, and only now the order says that it ended, and why."""
    if order.step is not Step.UNDO or order.authorizations or order.open_authorization:
        return []
    facts: list[OrderEvent] = []
    if order.stock in ("held", "confirmed"):
        facts.append(StockReleased())
    return [*facts, *resolved(order.troubles), _end(order)]


def _end(order: Order) -> OrderEvent:
    if order.failure is not None:
        return OrderFailed(code=order.failure)
    if order.completion == "FAILED":
        return OrderFailed(code=Code.FULFILLMENT_FAILED)
    if order.completion == "CANCELLED" and not order.cancels:
        return OrderCancelled(code=Code.FULFILLMENT_CANCELLED)
    return OrderCancelled(code=Code.CANCELLED_ON_REQUEST)
