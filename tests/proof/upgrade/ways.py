"""Every state in which an order may wait for long, how it gets there, and what sets it free."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from contracts import fulfillment
from contracts import order as contract
from contracts.chassis.breakers import BELIEVED_SECONDS
from tests.e2e.people import ENDED, eventually
from tests.proof.upgrade.people import People, is_fine

Json = dict[str, Any]

STEPS = ("pick:1", "pick:2", "pick:3", "quality", "pack", "hand-over")
PATIENCE_SECONDS = 120
MOMENTS_SECONDS = 20
"""Enough for others to come, and few enough to wait for."""

Do = Callable[[People, str], object]


@dataclass(frozen=True)
class Way:
    """One way to wait."""

    name: str
    comes: Do
    """It has got there, or is made to."""
    goes_on: Do
    """Nothing keeps it any more."""
    ends: str = "SHIPPED"
    order: Json = field(default_factory=dict[str, Any])
    first: Do | None = None
    """Done before anybody works for the order."""
    has_parcel: bool = True
    """Its parcel's workflow runs."""
    between: Do | None = None
    """Done when the ones have gone who worked for it and the others have not come."""
    is_late: bool = False
    """It comes there only when all others wait: it would not wait for long, or keep them from coming."""
    has_call: bool = False
    """Its order waits for the answer to a call, and so is never at rest."""
    new_steps: int = 1
    """So many steps that `releases.NEXT` adds to an order are still before it."""


def _manual(
    name: str,
    step: str,
    comes: Do,
    goes_on: Do,
    ends: str = "SHIPPED",
    *,
    between: Do | None = None,
    is_late: bool = False,
) -> Way:
    """Everything before this step is done."""

    def there(people: People, order_id: str) -> None:
        people.operator.works(order_id, *STEPS[: STEPS.index(step)])
        people.operator.comes_to(order_id, step)
        comes(people, order_id)

    order = {"scenario": "manual"}
    return Way(name, there, goes_on, ends, order=order, between=between, is_late=is_late)


def _nothing(people: People, order_id: str) -> None:
    """It waits as it is."""


def _works_on(step: str) -> Do:
    return lambda people, order_id: people.operator.works(order_id, *STEPS[STEPS.index(step) :])


def _holds(people: People, order_id: str) -> None:
    body = {"reason": "FRAUD_RISK", "handle": "review"}
    is_fine(people.shop.http.post(f"/orders/{order_id}/holds", json=body))


def _releases(people: People, order_id: str) -> None:
    is_fine(people.shop.http.delete(f"/orders/{order_id}/holds", params={"handle": "review"}))


def _is_paused(people: People, order_id: str) -> None:
    """Its parcel is."""
    people.operator.sees(order_id, PATIENCE_SECONDS, status="PAUSED")


def _pauses(people: People, order_id: str) -> None:
    is_fine(people.operator.pause(order_id))
    _is_paused(people, order_id)


def _resumes(people: People, order_id: str) -> None:
    is_fine(people.operator.resume(order_id))
    _works_on("pick:2")(people, order_id)


def _holds_for_an_hour(people: People, order_id: str) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    is_fine(people.operator.holds(order_id, "QUALITY", handle="lid", until=until.isoformat()))
    _is_paused(people, order_id)


def _lifts(people: People, order_id: str) -> None:
    is_fine(people.operator.releases(order_id, "lid"))
    _works_on("quality")(people, order_id)


def _holds_for_moments(people: People, order_id: str) -> None:
    """Nobody lifts it."""
    until = datetime.now(UTC) + timedelta(seconds=MOMENTS_SECONDS)
    is_fine(people.operator.holds(order_id, "QUALITY", until=until.isoformat()))


def _is_free(people: People, order_id: str) -> None:
    """No hold stands any more."""
    eventually(
        lambda: people.operator.parcel(order_id),
        lambda seen: seen.get("status") not in (None, "PAUSED"),
        within_seconds=PATIENCE_SECONDS,
    )


def _time_frees(people: People, order_id: str) -> None:
    _is_free(people, order_id)
    _works_on("quality")(people, order_id)


def _shop_pauses(people: People, order_id: str) -> None:
    """The order has it, and has to ask its parcel."""
    is_fine(people.shop.pause(order_id))


def _shop_resumes(people: People, order_id: str) -> None:
    _is_paused(people, order_id)
    is_fine(people.shop.resume(order_id))
    _is_free(people, order_id)
    _works_on("pick:2")(people, order_id)


def _asks_to_cancel(people: People, order_id: str) -> None:
    is_fine(people.shop.cancel(order_id))
    people.operator.sees(order_id, PATIENCE_SECONDS, status="CANCEL_REQUESTED")


def _answers(word: str) -> Do:
    def answers(people: People, order_id: str) -> None:
        [asked] = people.operator.parcel(order_id)["cancellationRequests"]
        is_fine(people.operator.answers(order_id, asked["commandId"], word))
        if word == "reject":
            _works_on("pick:2")(people, order_id)

    return answers


def _is_in_trouble(people: People, order_id: str) -> None:
    """The order waits for a person."""
    eventually(lambda: people.troubles(people.shop.http, order_id), bool, within_seconds=PATIENCE_SECONDS)


def _parcel_is_in_trouble(people: People, order_id: str) -> None:
    parcel = fulfillment.fulfillment_id(order_id, 1)
    eventually(lambda: people.troubles(people.operator.http, parcel), bool, within_seconds=PATIENCE_SECONDS)


def _is_cancelled_in_vain(people: People, order_id: str) -> None:
    """The parcel is taken apart, and the money is not given back."""
    _is_paused(people, order_id)
    _asks_to_cancel(people, order_id)
    _answers("accept")(people, order_id)
    _is_in_trouble(people, order_id)


def _is_asked_for_money(people: People, order_id: str) -> None:
    """The provider has it and is silent; what it is asked from now on it does not hear."""
    _releases(people, order_id)
    eventually(
        lambda: people.engineer.effects("payments", order_id),
        lambda done: done == ["authorize"],
        within_seconds=PATIENCE_SECONDS,
    )
    people.turns_breaker("trip")


def _waits_for_payments(activity: str, comes: Do) -> Do:
    """The breaker is open, and the call is tried again later."""

    def there(people: People, order_id: str) -> None:
        people.turns_breaker("trip")
        # Nobody tells when all workers have seen it: they believe for so long what they saw before.
        time.sleep(2 * BELIEVED_SECONDS)
        comes(people, order_id)
        calling = partial(people.temporal.is_calling, "orders", contract.workflow_id(order_id), activity)
        eventually(calling, bool, within_seconds=PATIENCE_SECONDS)

    return there


def _retries(people: People, order_id: str) -> None:
    _retried(people, order_id, people.shop.http, order_id)


def _parcel_retries(people: People, order_id: str) -> None:
    _retried(people, order_id, people.operator.http, fulfillment.fulfillment_id(order_id, 1))


def _retried(people: People, order_id: str, http: Any, subject: str) -> None:
    """Each time that it waits for a person, until it has ended.

    An attempt that a slow machine lost counts as well, so one retry may not see the provider recover."""

    def seen() -> Json:
        people.retries(http, subject)
        return people.shop.status(order_id)

    def has_ended(seen: Json) -> bool:
        return seen["stage"] in ENDED and seen["currentStep"] == "end"

    eventually(seen, has_ended, within_seconds=PATIENCE_SECONDS)


WAYS: Sequence[Way] = (
    Way(
        "held before its stock is",
        _nothing,
        _releases,
        first=_holds,
        has_parcel=False,
        new_steps=2,
    ),
    Way(
        "its parcel paused before there is one",
        _is_paused,
        lambda people, order_id: is_fine(people.shop.resume(order_id)),
        first=_shop_pauses,
    ),
    Way(
        "its payment's tries spent",
        _is_in_trouble,
        _retries,
        order={"token": "tok_500_3"},
        has_parcel=False,
        new_steps=2,
    ),
    *(_manual(f"waiting for {step}", step, _nothing, _works_on(step)) for step in STEPS),
    _manual("paused with pick:2 in hand", "pick:2", _pauses, _resumes),
    _manual("held for an hour at quality", "quality", _holds_for_an_hour, _lifts),
    _manual("held for moments at quality", "quality", _holds_for_moments, _time_frees, is_late=True),
    _manual("its pause in the lane", "pick:2", _nothing, _shop_resumes, between=_shop_pauses),
    _manual("its cancel asked for, then rejected", "pick:2", _asks_to_cancel, _answers("reject")),
    _manual(
        "its cancel asked for, then accepted", "pick:2", _asks_to_cancel, _answers("accept"), ends="CANCELLED"
    ),
    Way(
        "its label refused",
        _parcel_is_in_trouble,
        lambda people, order_id: is_fine(people.shop.readdress(order_id, zip_code="54321")),
        order={"zip_code": "00001"},
    ),
    Way("its label's tries spent", _parcel_is_in_trouble, _parcel_retries, order={"zip_code": "50003"}),
    Way("its hand-over's tries spent", _parcel_is_in_trouble, _parcel_retries, order={"zip_code": "50103"}),
    Way(
        "its capture refused",
        _is_in_trouble,
        _retries,
        order={"token": "tok_capture_refused_1"},
        has_parcel=False,
        new_steps=0,
    ),
    Way(
        "its capture's tries spent",
        _is_in_trouble,
        _retries,
        order={"token": "tok_capture_500_3"},
        has_parcel=False,
        new_steps=0,
    ),
    Way(
        "its void's tries spent",
        _is_cancelled_in_vain,
        _retries,
        ends="CANCELLED",
        order={"token": "tok_void_500_3"},
        first=_shop_pauses,
        has_parcel=False,
        new_steps=0,
    ),
)  # fmt: skip
"""Whoever works, they wait side by side."""

UNANSWERED: Sequence[Way] = (
    Way(
        "its payment done and not heard of",
        _is_asked_for_money,
        _nothing,
        order={"token": "tok_timeout_done_90000"},
        first=_holds,
        has_parcel=False,
        is_late=True,
        has_call=True,
        new_steps=2,
    ),
    Way(
        "its payment behind an open breaker",
        _waits_for_payments("authorize", _releases),
        _nothing,
        first=_holds,
        has_parcel=False,
        is_late=True,
        has_call=True,
        new_steps=2,
    ),
)
"""Their calls are out; nobody else's money moves meanwhile."""

RENEWED = Way(
    "its authorization to be renewed behind an open breaker",
    _waits_for_payments("renew", _is_paused),
    lambda people, order_id: is_fine(people.shop.resume(order_id)),
    order={"token": "tok_expires_70"},
    first=_shop_pauses,
    is_late=True,
    has_call=True,
)
"""One more of them, which takes a minute to get there."""
