"""Which fault an error is, how often a provider is asked, and what a parked step waits for. Pure."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutType
from temporalio.exceptions import TimeoutError as LateError
from temporalio.testing import ActivityEnvironment

from contracts.chassis.errors import (
    Away,
    Conflict,
    Invalid,
    Misunderstood,
    NotFound,
    Refused,
    Unavailable,
)
from contracts.chassis.faults import Failure, Fault, failure_of
from contracts.chassis.temporal import Policy, patience, why
from contracts.chassis.temporal.translation import translated
from contracts.chassis.troubles import Open, Undo
from contracts.order import PaymentStatus, Stage
from contracts.values import Code
from fulfillment_service.events import HandOverRefused, LabelRefused, LabelVoided
from fulfillment_service.fulfillment import Fulfillment, evolved
from fulfillment_service.fulfillment import Step as ParcelStep
from fulfillment_service.fulfillment import compensation as parcel_compensation
from fulfillment_service.fulfillment import steps as parcel_steps
from fulfillment_service.fulfillment import wishes as parcel_wishes
from fulfillment_service.settings import CarrierSettings
from order_service.events import CaptureRefused, PaymentCaptured, PaymentDeclined, PaymentVoided, VoidRefused
from order_service.order import RENEW, Order, Step, compensation, exceptions, payment, steps, wishes
from order_service.settings import PaymentSettings
from tests.unit import parcels
from tests.unit.orders import (
    NOW,
    after,
    authorized,
    authorizing,
    capturing,
    completed,
    confirmed,
    paid,
    placed,
    renewed,
    renewing,
    undone,
)

DOWN = Failure(fault="dependency-down", kind="UNAVAILABLE", attempts=12)
NOT_UNDERSTOOD = Failure(fault="bad-data", kind="INTERNAL")
BUG = Failure(fault="bug", kind="KeyError", attempts=3)


# Which fault it is.


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (Unavailable(), "dependency-down"),
        (Away(), "dependency-down"),
        (Conflict(), "transient"),
        (Refused(), "refusal"),
        (Invalid(), "bad-data"),
        (NotFound(), "bad-data"),
        (Misunderstood(), "bad-data"),
        (KeyError("somebody's name"), "bug"),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Exception) else None,
)
def test_each_error_is_one_fault(error: Exception, fault: Fault):
    """By its class; its text is told to nobody."""
    assert failure_of(error, 2) == Failure(fault=fault, kind=failure_of(error).kind, attempts=2)
    assert "somebody" not in failure_of(error).kind


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (
            translated(Refused(code=Code.NOT_FOUND), is_local=False),
            Failure(fault="bad-data", kind="NOT_FOUND"),
        ),
        (translated(Refused(), is_local=False), Failure(fault="refusal", kind="NOT_ALLOWED_NOW")),
        (translated(KeyError("x"), is_local=True), Failure(fault="bug", kind="KeyError")),
        (
            LateError("late", type=TimeoutType.START_TO_CLOSE, last_heartbeat_details=[]),
            Failure(fault="transient", kind="TimeoutError"),
        ),
    ],
    ids=["erased", "refused", "bug", "timeout"],
)
def test_what_temporal_reports_is_the_same_fault(cause: BaseException, expected: Failure):
    """Wrapped as a normal activity's failure is."""
    error = ActivityError(
        "failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="",
        activity_type="a",
        activity_id="1",
        retry_state=RetryState.NON_RETRYABLE_FAILURE,
    )
    error.__cause__ = cause
    assert why(error) == expected


# How often a provider is asked.


async def _attempt(
    error: Exception | None, attempt: int, *, uncounted: int = 0, attempts: int = 12
) -> tuple[BaseException | None, list[Any]]:
    """What one attempt ends with, and what the next one will find."""
    beats: list[Any] = []

    async def asks() -> None:
        async with patience(attempts):
            if error is not None:
                raise error

    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: beats.extend(details)
    found = [uncounted] if uncounted else []
    environment.info = replace(environment.info, attempt=attempt, heartbeat_details=found)
    run: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]] = environment.run
    try:
        await run(asks)
    except Exception as raised:
        return raised, beats
    return None, beats


@pytest.mark.parametrize(
    ("error", "last"),
    [
        pytest.param(Unavailable(), 12, id="no answer"),
        pytest.param(Conflict(), 12, id="lost a race"),
        pytest.param(KeyError("x"), 3, id="a mistake of ours"),
        pytest.param(Misunderstood(), 1, id="not understood"),
        pytest.param(Refused(), 1, id="refused"),
    ],
)
async def test_the_last_try_says_why(error: Exception, last: int):
    """Until then Temporal tries again; then it is final, with its fault and how often it was tried."""
    if last > 1:
        assert (await _attempt(error, last - 1))[0] is error
    raised, _ = await _attempt(error, last)
    assert isinstance(raised, ApplicationError)
    assert raised.non_retryable
    assert why(raised) == failure_of(error, last)


async def test_what_is_known_to_be_away_costs_no_try():
    """However often; only the real tries count, those that were cut off among them."""
    away = Away()
    assert await _attempt(away, 100, uncounted=90) == (away, [91])
    unheard = Unavailable()
    assert (await _attempt(unheard, 101, uncounted=91))[0] is unheard
    assert isinstance((await _attempt(Unavailable(), 103, uncounted=91))[0], ApplicationError)


async def test_tries_that_are_all_cut_off_end_too():
    """An activity that never comes to its end is not begun a thirteenth time."""
    raised, _ = await _attempt(None, 13)
    assert isinstance(raised, ApplicationError)
    assert why(raised) == Failure(fault="transient", kind="TimeoutError", attempts=12)


async def test_an_attempt_of_several_slow_calls_is_heard_of_all_the_while():
    """So that only a dead worker loses one; what did not count stays known, and silence begins at its end."""
    beats: list[Any] = []
    heard = asyncio.Event()

    def hears(*details: Any) -> None:
        beats.append(details)
        if len(beats) == 3:
            heard.set()

    async def calls() -> None:
        async with patience():
            await heard.wait()

    environment = ActivityEnvironment()
    environment.on_heartbeat = hears
    environment.info = replace(
        environment.info, attempt=8, heartbeat_details=[7], heartbeat_timeout=timedelta(seconds=0.01)
    )
    run: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]] = environment.run
    before = asyncio.all_tasks()
    await run(calls)
    assert set(beats) == {(7,)}
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before


def test_whatever_asks_a_provider_is_to_be_heard_of():
    """It may take as many calls as it needs, and a worker that died is noticed long before they would end."""
    terms = Policy.PROVIDER.value
    assert terms.heartbeat is not None
    assert terms.heartbeat < terms.start_to_close / 2
    one_call = max(PaymentSettings().payments_timeout_seconds, CarrierSettings().carrier_timeout_seconds)
    # An authorization of unknown answer, two voids and a capture, each looked up before it is made.
    assert terms.start_to_close.total_seconds() > 2 * 4 * one_call


# Orders.


def parked(order: Order, failure: Failure = DOWN, step_key: str | None = None) -> Order:
    return after(order, exceptions.park(order, step_key or order.step, failure))


def resolve(order: Order, how: Any = "retry") -> list[Any]:
    return exceptions.resolve(order, how=how, code=None, step_key=None, now=NOW)


def test_a_parked_step_needs_a_person_and_is_told_once():
    """The order's own step stays the same."""
    order = parked(authorizing())
    assert (order.status, order.attention, order.step) == (
        "NEEDS_ATTENTION", Code.STEP_PARKED, Step.AUTHORIZE,
    )  # fmt: skip
    assert order.parked(Step.AUTHORIZE) == Open("authorize", Code.STEP_PARKED, "dependency-down")
    assert exceptions.park(order, Step.AUTHORIZE, DOWN) == []


def test_another_fault_of_the_same_step_is_news():
    """It is still one exception."""
    order = parked(parked(authorizing()), BUG)
    assert [trouble.fault for trouble in order.troubles] == ["bug"]


def test_a_step_that_went_on_meanwhile_is_not_parked():
    """The failure is that of an older attempt."""
    assert exceptions.park(authorized(), Step.AUTHORIZE, DOWN) == []


def test_an_answer_after_all_ends_the_exception():
    """Before the answer's own fact, so that a last fact stays the last one."""
    order = parked(authorizing())
    facts = payment.authorized(order, reference="auth_1", expires_at=NOW, now=NOW)
    told = exceptions.passed(order, facts)
    assert [type(fact).__name__ for fact in told][:2] == ["ExceptionResolved", "PaymentAuthorized"]
    assert after(order, told).attention is None
    assert exceptions.passed(order, []) == []


def test_a_retry_lifts_it():
    """The same step then begins again."""
    order = parked(authorizing())
    order = after(order, resolve(order))
    assert (order.troubles, order.step) == ((), Step.AUTHORIZE)
    assert resolve(order) == []


def test_a_cancel_has_a_parked_step_tried_at_once():
    """Whether the money is reserved decides how the order is undone."""
    order = parked(authorizing())
    order = after(order, wishes.request_cancel(order, command_id="c", answer_by=None))
    assert (order.troubles, order.step) == ((), Step.AUTHORIZE)


def test_an_authorization_of_unknown_answer_is_not_left_out():
    """Money may be reserved; what the provider did not understand is declined."""
    with pytest.raises(Refused, match="nobody knows"):
        resolve(parked(authorizing()), "skip")
    facts = resolve(parked(authorizing(), NOT_UNDERSTOOD), "skip")
    assert PaymentDeclined(n=1, reason="skipped") in facts


def test_a_capture_that_is_settled_outside_ends_the_order():
    """A person says so, and the fact says that it was a person."""
    order = parked(capturing())
    facts = resolve(order, "skip")
    assert facts[1:] == [PaymentCaptured(n=1, outside=True)]
    assert after(order, facts).outcome == "SHIPPED"


def test_a_capture_that_is_not_understood_is_asked_for_under_another_name():
    """The provider did nothing, so the next one is a new call."""
    facts = exceptions.park(capturing(), Step.CAPTURE, NOT_UNDERSTOOD)
    assert facts[0] == CaptureRefused(n=1, reason="misunderstood")
    order = after(capturing(), facts)
    assert (order.attention, order.troubles[0].fault) == (Code.CAPTURE_FAILED, "bad-data")
    assert [fact.n for fact in payment.request_capture(order)] == [2]  # type: ignore[union-attr]


def cancelled() -> Order:
    """Authorized, to be undone, and the provider was asked to void."""
    order = after(authorized(), wishes.request_cancel(authorized(), command_id="c", answer_by=None))
    return after(order, payment.request_void(order))


def test_a_void_that_is_settled_outside_lets_the_order_end():
    """Refused or parked: the reservation is gone, a person says so."""
    refused = after(cancelled(), payment.void_refused(cancelled(), reason="no"))
    for order in (refused, parked(cancelled())):
        facts = resolve(order, "skip")
        assert facts[1:] == [PaymentVoided(n=1, outside=True)]
        settled = after(order, facts)
        assert (settled.payment, settled.step) == (PaymentStatus.VOIDED, Step.UNDO)
        assert after(settled, steps.undone(settled)).stage is Stage.CANCELLED


def test_without_anything_to_void_the_undo_is_not_left_out():
    """The stock has to come back."""
    order = after(placed(), wishes.request_cancel(placed(), command_id="c", answer_by=None))
    with pytest.raises(Refused):
        resolve(parked(order, BUG), "skip")


def test_a_renewal_is_parked_beside_the_steps():
    """The parcel goes on; the exception is over with the renewal."""
    order = parked(renewing(), DOWN, RENEW)
    assert (order.step, order.parked(RENEW) is not None) == (Step.AWAIT_OUTCOME, True)
    assert order.parked(order.step) is None
    facts = payment.declined(order, reason="no", now=NOW)
    assert after(order, exceptions.passed(order, facts)).attention is None


def test_an_outdated_authorization_may_be_left_to_lapse():
    """Its void is parked, and nobody needs it."""
    order = renewed()
    order = parked(after(order, payment.request_void(order)), DOWN, RENEW)
    facts = resolve(order, "skip")
    assert VoidRefused(n=1, reason="skipped") in facts
    assert not after(order, facts).is_renewing


def test_what_the_parcel_has_to_answer_is_not_resolved_here():
    """A cancel is accepted or rejected over there."""
    order = replace(confirmed(), troubles=(Open("await-outcome", Code.CANCEL_UNANSWERED),))
    with pytest.raises(Refused):
        resolve(order)


@pytest.mark.parametrize("how", ["retry", "skip"])
def test_other_exceptions_stay(how: Any):
    """Only the one of that code and step is meant."""
    order = parked(authorizing())
    other = exceptions.resolve(order, how=how, code=Code.VOID_FAILED, step_key="undo", now=NOW)
    assert other == []


# What an undo does.


@pytest.mark.parametrize(
    ("order", "plan"),
    [
        (placed(), []),
        (authorizing(), [Undo("void-payment", "unknown"), Undo("release-stock", "planned")]),
        (authorized(), [Undo("void-payment", "planned"), Undo("release-stock", "planned")]),
        (renewed(), [*[Undo("void-payment", "planned")] * 2, Undo("release-stock", "planned")]),
        (parked(cancelled()), [Undo("void-payment", "waits"), Undo("release-stock", "planned")]),
        (undone(completed("CANCELLED")), [Undo("void-payment", "done"), Undo("release-stock", "done")]),
        (paid(), []),
    ],
    ids=["placed", "authorizing", "authorized", "renewed", "parked", "undone", "paid"],
)
def test_the_plan_is_the_way_back(order: Order, plan: list[Undo]):
    """Money before stock, the reverse of how they came; nothing once the parcel has left."""
    assert compensation.plan(order) == plan


@pytest.mark.parametrize(
    ("stage", "actions"),
    [
        ("WAITING", []),
        ("quality", ["restock"]),
        ("READY_TO_SHIP", ["void-label", "unpack", "restock"]),
        ("SHIPPED", []),
    ],
)
def test_the_parcels_plan_is_the_way_back(stage: str, actions: list[str]):
    """Label, box, shelf."""
    plan = parcel_compensation.plan(parcels.until(stage))
    assert [step.action for step in plan] == actions
    assert {step.state for step in plan} <= {"planned"}


# Parcels.


def parked_parcel(f: Fulfillment, failure: Failure = DOWN) -> Fulfillment:
    return evolved(f, parcel_steps.park(f, f.step, failure))


def test_a_parcel_is_parked_in_the_same_words():
    """Its step waits, whether the carrier was asked or not."""
    f = parked_parcel(parcels.until("label"))
    assert (f.status, f.parked) == ("EXCEPTION", Open("label:1", Code.STEP_PARKED, "dependency-down"))
    assert parcel_steps.park(f, f.step, DOWN) == []
    assert parcel_steps.park(f, ParcelStep.HAND_OVER, DOWN) == []


def test_a_label_after_all_ends_the_exception():
    """The carrier has answered."""
    f = parked_parcel(parcels.until("label"))
    assert f.label is not None
    facts = parcel_steps.label_booked(f, f.label, tracking_reference="T", cost_minor=1, currency="USD")
    assert evolved(f, parcel_steps.passed(f, facts)).troubles == ()


def test_a_label_that_is_not_understood_is_refused():
    """So that another address makes another label."""
    f = parcels.until("label")
    facts = parcel_steps.park(f, f.step, NOT_UNDERSTOOD)
    assert facts[0] == LabelRefused(n=1, code="misunderstood")
    f = evolved(f, facts)
    f = evolved(f, parcel_wishes.change_address(f, command_id="a"))
    assert (f.troubles, f.doing) == ((), "label:2")


def test_a_hand_over_that_is_not_understood_leaves_the_parcel_here():
    """A person looks at once, and wishes are heard again."""
    f = parcels.until("HandOverStarted")
    facts = parcel_steps.park(f, f.step, NOT_UNDERSTOOD)
    assert facts[0] == HandOverRefused(code="misunderstood")
    assert evolved(f, facts).trouble == Open("hand-over", Code.HAND_OVER_REFUSED, "bad-data")


def test_a_label_that_the_carrier_forgot_may_be_left_out():
    """Its void is parked; the parcel is taken apart without it, and the fact says who said so."""
    f = parcels.until("READY_TO_SHIP")
    f = parked_parcel(evolved(f, parcel_wishes.request_cancel(f, command_id="c")))
    assert f.doing == "void-label:1"
    assert [each.state for each in parcel_compensation.plan(f)] == ["waits", "planned", "planned"]
    facts = parcel_wishes.resolve_exception(f, how="skip")
    assert facts[1:] == [LabelVoided(n=1, cost_minor=1, currency="USD", outside=True)]
    f = evolved(f, facts)
    f = evolved(f, parcel_steps.settle(f))
    assert (f.stage, f.troubles) == ("CANCELLED", ())


@pytest.mark.parametrize("stage", ["quality", "label", "HandOverStarted"])
def test_no_other_step_of_a_parcel_is_left_out(stage: str):
    """It could not ship without it."""
    with pytest.raises(Refused):
        parcel_wishes.resolve_exception(parked_parcel(parcels.until(stage), BUG), how="skip")


def test_a_cancel_ends_the_parcels_exceptions():
    """What is parked is tried at once, and nobody has to look."""
    f = parked_parcel(parcels.until("label"))
    f = evolved(f, parcel_wishes.request_cancel(f, command_id="c"))
    assert (f.troubles, f.step) == ((), ParcelStep.BOOK_LABEL)
