"""Orders under random decisions: what must hold whatever happens, in whatever order, how often ever."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.chassis.errors import Refused
from contracts.envelope import FINAL, ReceiptStatus
from contracts.order import PaymentStatus, Stage
from contracts.values import Hold, Outcome
from order_service.events import (
    CaptureRequested,
    FulfillmentInstructed,
    HoldPlaced,
    HoldReleased,
    OrderCancelled,
    OrderConfirmed,
    OrderEvent,
    OrderFailed,
    OrderShipped,
    PaymentAuthorizationRequested,
    PaymentCaptured,
    PaymentVoided,
    StockHeld,
    StockReleased,
    VoidRequested,
)
from order_service.order import Order, Step, evolve, exceptions, horizon, payment, steps, wishes
from order_service.order.wishes import Changes
from tests.unit.orders import PLACED, SOON, answer, completion, hold

Decision = Callable[[Order], list[OrderEvent]]

_THOROUGH = settings(max_examples=200, deadline=None)

_COMMANDS = [f"c-{number}" for number in range(6)]
_command = st.sampled_from(_COMMANDS)
_STATUSES: tuple[ReceiptStatus, ...] = ("ACCEPTED", "EFFECTIVE", "REJECTED", "SUPERSEDED")
_OUTCOMES: tuple[Outcome, ...] = ("SHIPPED", "CANCELLED", "FAILED")
_status = st.sampled_from(_STATUSES)
_outcome = st.sampled_from(_OUTCOMES)


def _pays(order: Order) -> list[OrderEvent]:
    """The provider authorizes what is asked for, each time under another name."""
    n = order.authorization.n if order.authorization else 0
    now = order.renew_at or SOON
    return payment.authorized(order, reference=f"auth_{n}", expires_at=now + timedelta(days=7), now=now)


def _does_not_pay(order: Order) -> list[OrderEvent]:
    return payment.declined(order, reason="card_declined", now=order.renew_at or SOON)


def _steps() -> st.SearchStrategy[Decision]:
    fixed: list[Decision] = [
        lambda order: steps.hold_stock(order, short_of=None),
        payment.request_authorization,
        _pays,
        steps.confirm,
        steps.fulfillment_started,
        payment.request_capture,
        payment.captured,
        lambda order: payment.capture_refused(order, reason="no"),
        payment.request_void,
        payment.voided,
        lambda order: payment.void_refused(order, reason="no"),
        steps.undone,
        lambda order: steps.elapse(order, order.alarm or SOON),
    ]
    rare: list[Decision] = [
        lambda order: steps.hold_stock(order, short_of="TEAPOT"),
        _does_not_pay,
        lambda order: payment.capture_refused(order, reason="expired"),
    ]
    return st.sampled_from(fixed * 2 + rare)


def _completion(drawn: tuple[Outcome, int]) -> Decision:
    outcome, n = drawn
    return lambda order: steps.complete(order, completion(outcome, n))


def _answer(drawn: tuple[str, ReceiptStatus, int | None]) -> Decision:
    command_id, status, version = drawn
    return lambda order: steps.answered(order, answer(command_id, status, address_version=version))


def _wish(drawn: tuple[str, str]) -> Decision:
    command_id, name = drawn

    def decide(order: Order) -> list[OrderEvent]:
        match name:
            case "cancel":
                return wishes.request_cancel(order, command_id=command_id, answer_by=SOON)
            case "pause":
                return wishes.pause(order, hold=hold(command_id), command_id=command_id)
            case "resume":
                return wishes.resume(order, handle=None, command_id=command_id)
            case "hold":
                # Of two commands one has an end.
                number = int(command_id[-1])
                until = SOON + timedelta(minutes=number) if number % 2 else None
                asked = Hold(handle=f"own.{command_id}", until=until)
                return wishes.place_hold(order, hold=asked, command_id=command_id)
            case "release":
                return wishes.release(order, handle=None, command_id=command_id)
            case _:
                return wishes.update(order, Changes(contact=True, country="USA"), command_id=command_id)

    return decide


_NAMES = ("cancel", *("pause", "resume", "update", "hold", "release", "release") * 3)
"""A cancel ends most stories, so it is rare."""


def _going_on(drawn: tuple[Outcome, bool, bool]) -> Decision:
    """The next thing a worker would do; without it chance hardly ever gets beyond the stock."""
    outcome, in_stock, pays = drawn

    def decide(order: Order) -> list[OrderEvent]:
        for step in _worker(order, outcome, in_stock, pays):
            if facts := step(order):
                return facts
        return []

    return decide


_often = st.sampled_from((*[True] * 9, False))
_progress = st.tuples(_outcome, _often, _often).map(_going_on)
decisions: st.SearchStrategy[list[Decision]] = st.lists(
    st.one_of(
        _progress,
        _progress,
        _progress,
        _progress,
        _steps(),
        _steps(),
        _steps(),
        st.tuples(_outcome, st.sampled_from((0, 1, 2))).map(_completion),
        st.tuples(_command, _status, st.sampled_from((None, None, 2, 5))).map(_answer),
        st.tuples(_command, st.sampled_from(_NAMES)).map(_wish),
    ),
    min_size=20,
    max_size=40,
)


class Life:
    """An order, everything that happened to it, and the receipts of the wishes that were granted."""

    def __init__(self) -> None:
        self.order = evolve(None, PLACED)
        self.facts: list[OrderEvent] = [PLACED]
        self.receipts: dict[str, ReceiptStatus] = {}
        self.wished: dict[str, str] = {}

    def meets(self, decide: Decision) -> bool:
        """The decision's facts are added; a refusal adds nothing and is False."""
        try:
            facts = decide(self.order)
        except Refused:
            return False
        before, self.order = self.order, self._added(facts)
        for advance in wishes.advances(before, self.order, facts):
            # As `receipts.advance` does: what is final stays.
            if self.receipts.get(advance.command_id) in ("RECEIVED", "ACCEPTED"):
                self.receipts[advance.command_id] = advance.status
        return True

    def is_wished(self, wish: tuple[str, str]) -> None:
        """A wish is served once and has a receipt from then on."""
        command_id, name = wish
        if command_id not in self.receipts:
            granted = self.meets(_wish(wish))
            self.receipts[command_id] = wishes.status_of(self.order, command_id) if granted else "REJECTED"
            self.wished[command_id] = name

    def _added(self, facts: list[OrderEvent]) -> Order:
        for fact in facts:
            self.facts.append(fact)
            self.order = evolve(self.order, fact)
        return self.order

    def count(self, kind: type[OrderEvent]) -> int:
        return sum(isinstance(fact, kind) for fact in self.facts)


def lived(each: list[Decision]) -> Life:
    life = Life()
    for decide in each:
        life.meets(decide)
    return life


@_THOROUGH
@given(decisions)
def test_money_is_captured_or_voided_and_never_both(each: list[Decision]):
    """At most one capture, of a parcel that shipped; what is captured is never voided, nothing is twice."""
    life = lived(each)
    assert life.count(PaymentCaptured) <= 1
    assert life.count(CaptureRequested) == 0 or life.count(OrderShipped) == 1
    asked: dict[int, str] = {}
    gone: list[str] = []
    for fact in life.facts:
        match fact:
            case VoidRequested():
                asked[fact.n] = fact.reference
            case PaymentVoided():
                gone.append(asked[fact.n])
            case _:
                pass
    assert len(gone) == len(set(gone))
    if life.count(PaymentCaptured):
        assert [fact.reference for fact in life.facts if isinstance(fact, CaptureRequested)][-1] not in gone


@_THOROUGH
@given(decisions)
def test_money_is_reserved_as_long_as_a_parcel_may_ship(each: list[Decision]):
    """From the first authorization to the parcel's end one stands; only what was replaced is voided."""
    life = Life()
    for decide in each:
        before = len(life.facts)
        newest = life.order.reference
        life.meets(decide)
        order = life.order
        if order.is_waiting_for_parcel:
            assert order.reference is not None
            new = life.facts[before:]
            assert not any(isinstance(fact, VoidRequested) and fact.reference == newest for fact in new)
        if order.step is Step.END and order.payment is not PaymentStatus.CAPTURED:
            assert order.authorizations == ()


@_THOROUGH
@given(decisions)
def test_stock_is_held_once_and_released_at_most_once(each: list[Decision]):
    """What shipped is never released, what was released never ships."""
    life = lived(each)
    assert life.count(StockHeld) <= 1
    assert life.count(StockReleased) + life.count(OrderShipped) <= life.count(StockHeld)


@_THOROUGH
@given(decisions)
def test_an_order_ends_once_and_nothing_moves_behind_its_end(each: list[Decision]):
    """No step adds anything to an order that ended; its stage and outcome stay."""
    life, ended_as = Life(), None
    for decide in each:
        life.meets(decide)
        if ended_as is not None:
            assert (life.order.stage, life.order.outcome) == ended_as
        if life.order.step is Step.END:
            ended_as = (life.order.stage, life.order.outcome)
    assert life.count(OrderCancelled) + life.count(OrderFailed) + life.count(OrderShipped) <= 1
    assert (life.order.outcome is not None) == (life.order.step is Step.END)


@_THOROUGH
@given(decisions)
def test_an_end_means_that_money_and_stock_are_settled(each: list[Decision]):
    """CANCELLED and FAILED hold neither money nor stock; a shipped order that ended is paid."""
    order = lived(each).order
    if order.stage in (Stage.CANCELLED, Stage.FAILED):
        assert order.payment in (PaymentStatus.NONE, PaymentStatus.VOIDED)
        assert order.stock in ("none", "released")
    if order.outcome == "SHIPPED":
        assert (order.payment, order.stock) == (PaymentStatus.CAPTURED, "shipped")


@_THOROUGH
@given(decisions)
def test_nothing_begins_while_a_hold_stands(each: list[Decision]):
    """Neither the stock, nor the payment, nor the parcel; what was begun is kept up."""
    holds: set[str] = set()
    for fact in lived(each).facts:
        match fact:
            case HoldPlaced():
                holds.add(fact.hold.handle)
            case HoldReleased():
                holds.remove(fact.handle)
            case _:
                is_renewal = isinstance(fact, PaymentAuthorizationRequested) and fact.n > 1
                begins = isinstance(fact, StockHeld | PaymentAuthorizationRequested | OrderConfirmed)
                assert not (holds and begins and not is_renewal)


@_THOROUGH
@given(decisions)
def test_an_alarm_that_was_heard_is_over(each: list[Decision]):
    """What is due at a moment is recorded then and not before; the next alarm is later."""
    order = lived(each).order
    for _ in range(10):
        if (alarm := order.alarm) is None:
            return
        assert steps.elapse(order, alarm - timedelta(microseconds=1)) == []
        facts = steps.elapse(order, alarm)
        assert facts
        order = reduce(evolve, facts, order)
        assert order.alarm is None or order.alarm > alarm
    raise AssertionError("the alarm never ends")


@_THOROUGH
@given(decisions)
def test_provider_keys_are_never_used_twice(each: list[Decision]):
    """Each intent has a name of its own."""
    keys: list[str] = []
    for fact in lived(each).facts:
        if isinstance(fact, PaymentAuthorizationRequested | CaptureRequested | VoidRequested):
            keys.append(fact.provider_key)
    assert len(keys) == len(set(keys))


@_THOROUGH
@given(decisions)
def test_the_status_follows_the_precedence_of_its_overlays(each: list[Decision]):
    """An open cancel first, then attention, then a hold, then the stage; a final stage hides the cancel."""
    order = lived(each).order
    is_over = order.stage in (Stage.CANCELLED, Stage.FAILED, Stage.SHIPPED)
    if order.cancels and not is_over:
        assert order.status == "CANCEL_REQUESTED"
    else:
        shown = "PAUSED" if order.holds and not order.is_undone else order.stage.value
        assert order.status == ("NEEDS_ATTENTION" if order.attention else shown)


@_THOROUGH
@given(decisions, _outcome, st.booleans(), st.booleans())
def test_following_the_next_step_always_leads_to_the_end(
    each: list[Decision], outcome: Outcome, in_stock: bool, pays: bool
):
    """From wherever chance has led, a worker that does what `step` asks for ends the order, holds lifted."""
    life = lived(each)
    _brings_to_the_end(life, outcome, in_stock, pays)
    assert life.order.step is Step.END
    assert life.order.outcome is not None
    assert life.order.attention is None
    assert life.order.lane == ()


def _brings_to_the_end(life: Life, outcome: Outcome, in_stock: bool, pays: bool) -> None:
    """A worker does what is next, and somebody lifts the holds that stand against it."""
    for _ in range(30):
        if life.order.is_stopped:
            life.meets(_wish(("let-go", "release")))
        for decide in _worker(life.order, outcome, in_stock, pays):
            life.meets(decide)


def _worker(order: Order, outcome: Outcome, in_stock: bool, pays: bool) -> Iterator[Decision]:
    """What the workflow does at a step, the outside world answering; a renewal goes on beside it."""
    answer = _pays if pays or order.step is Step.CAPTURE else _does_not_pay
    if order.is_renewing:
        yield from (answer, payment.request_void, payment.voided)
    match order.step:
        case Step.HOLD_STOCK:
            yield lambda order: steps.hold_stock(order, short_of=None if in_stock else "TEAPOT")
        case Step.AUTHORIZE:
            yield from (payment.request_authorization, answer)
        case Step.CONFIRM:
            yield steps.confirm
        case Step.START_FULFILLMENT:
            yield steps.fulfillment_started
        case Step.AWAIT_OUTCOME:
            yield lambda order: steps.complete(order, completion(outcome))
        case Step.CAPTURE:
            yield from (payment.request_capture, answer, payment.request_capture, payment.captured)
        case Step.UNDO:
            yield from (payment.request_void, payment.voided, steps.undone)
        case Step.END:
            return


_DONE: dict[str, Decision] = {
    "cancel": lambda order: wishes.request_cancel(order, command_id="x", answer_by=SOON),
    "pause": lambda order: wishes.pause(order, hold=hold("new"), command_id="x"),
    "resume": lambda order: wishes.resume(order, handle=None, command_id="x"),
    "hold": lambda order: wishes.place_hold(order, hold=hold("new"), command_id="x"),
    "release": lambda order: wishes.release(order, handle=None, command_id="x"),
    "updateAddress": lambda order: wishes.update(order, Changes(country="USA"), command_id="x"),
    "updateContact": lambda order: wishes.update(order, Changes(contact=True), command_id="x"),
    "updateInstructions": lambda order: wishes.update(order, Changes(instructions=True), command_id="x"),
    "resolveException": lambda order: exceptions.probe(order, "retry"),
    "skipException": lambda order: exceptions.probe(order, "skip"),
}
"""What each action of the horizon is when somebody does it."""


def _tried(decide: Decision, order: Order) -> tuple[list[OrderEvent], Refused | None]:
    try:
        return decide(order), None
    except Refused as refused:
        return [], refused


@_THOROUGH
@given(decisions)
def test_what_the_horizon_says_is_what_the_command_does(each: list[Decision]):
    """Allowed, it adds facts, or passes on where the fulfillment answers; else it is refused just so."""
    foretold(lived(each).order)


def foretold(order: Order) -> None:
    """Each action that is told is what its command then does."""
    told = horizon.actions(order)
    assert [action.name for action in told] == list(_DONE)
    for action in told:
        facts, refused = _tried(_DONE[action.name], order)
        if refused is not None:
            assert (action.allowed, action.code, action.cut_off) == (False, refused.code, refused.cut_off)
            continue
        assert (action.allowed, action.code) == (bool(facts), None)
        is_passed_on = any(isinstance(fact, FulfillmentInstructed) for fact in facts)
        assert action.answered_by == ("fulfillment" if is_passed_on else "order")


@_THOROUGH
@given(decisions)
def test_what_the_horizon_says_a_cancel_costs_is_what_it_costs(each: list[Decision]):
    """When the parcel is given up too: so many reservations are voided, and so many pieces restocked."""
    life = lived(each)
    [cancel] = [action for action in horizon.actions(life.order) if action.name == "cancel"]
    if not cancel.allowed or life.order.step is Step.CAPTURE:
        return
    before = len(life.facts)
    life.meets(_DONE["cancel"])
    _brings_to_the_end(life, "CANCELLED", in_stock=True, pays=True)
    assert life.order.stage is Stage.CANCELLED
    added = life.facts[before:]
    cost = cancel.cost or horizon.Cost()
    voided = any(isinstance(fact, PaymentVoided) for fact in added)
    released = any(isinstance(fact, StockReleased) for fact in added)
    assert (cost.payment == "void", cost.restock_items > 0) == (voided, released)


Wished = tuple[str, str]
"""A command id, and what is wished."""
_happenings: st.SearchStrategy[Decision | Wished] = st.one_of(
    _progress,
    _steps(),
    st.tuples(_command, _status, st.none()).map(_answer),
    st.tuples(_command, st.sampled_from(_NAMES)),
)


@_THOROUGH
@given(st.lists(_happenings, min_size=5, max_size=40), _outcome)
def test_every_wish_has_a_final_receipt_when_the_order_has_ended(
    each: list[Decision | Wished], outcome: Outcome
):
    """No receipt stays open behind the end, and no cancel is effective on an order that shipped."""
    life = Life()
    for thing in each:
        if callable(thing):
            life.meets(thing)
        else:
            life.is_wished(thing)
    _brings_to_the_end(life, outcome, in_stock=True, pays=True)
    assert life.order.step is Step.END
    assert {*life.receipts.values()} <= FINAL
    if life.order.outcome == "SHIPPED":
        assert {life.receipts[wish] for wish, name in life.wished.items() if name == "cancel"} <= {"REJECTED"}
