"""What an order and its parcel can go through, each told once to its end, or to where it waits."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

from temporalio.client import WorkflowExecutionStatus

from contracts import fulfillment
from contracts import order as contract
from contracts.chassis import exceptions
from contracts.chassis.breakers import set_by_hand
from contracts.chassis.knocks import DueKnock
from contracts.chassis.temporal import Delivery
from contracts.envelope import Wish, WishPayload
from contracts.order import Payment
from contracts.values import Address, Hold, HoldReason
from order_service.bootstrap import intake_of, journal_of
from order_service.bootstrap.relay import HOME
from order_service.demo import Scenario, demo_order, mode_of
from order_service.order import Step
from tests.integration.fulfillment.house import eventually
from tests.integration.pair import Pair
from tests.proof.corpus.histories import commands

STEPS = ("pick:1", "pick:2", "pick:3", "quality", "pack", "hand-over")
ELSEWHERE = Address(street="1 Other Lane", city="Elsewhere", state="NC", zip_code="54321", country="USA")


@dataclass
class Scene:
    """One order, and whatever may happen to it."""

    pair: Pair
    name: str
    order_id: str = ""

    async def placed(
        self, scenario: Scenario = "happy", *, token: str = "tok_ok", zip_code: str = "", start: bool = True
    ) -> None:
        order = demo_order(scenario)
        address = order.shipping_address
        address = address.model_copy(update={"zip_code": zip_code or address.zip_code})
        if scenario in ("happy", "manual"):
            order = order.model_copy(update={"payment": Payment(token=token)})
        granted = await intake_of(journal_of(self.pair.database)).place(
            order.model_copy(update={"shipping_address": address}),
            command_id=self.name,
            actor="shop",
            request_hash=self.name,
            mode=mode_of(scenario),
            pace_seconds=0,
        )
        self.order_id = str((granted.answer or {})["orderId"])
        if start:
            await self.started()

    async def started(self) -> None:
        knock = DueKnock(contract.workflow_id(self.order_id))
        await Delivery(self.pair.client, HOME.target).deliver(knock)

    async def at(self, step_key: str) -> None:
        """Everything before this step is done, and this one is in hand."""
        await self.pair.comes_to(self.order_id, Step.AWAIT_OUTCOME)
        for each in STEPS[: STEPS.index(step_key)]:
            await self.pair.completes(self.order_id, each)
        if step_key == "hand-over":
            await eventually(lambda: self.pair.effects("carrier", self.order_id), what="the label")
        else:
            await self.pair.begins(self.order_id, step_key)

    async def goes_on(self, step_key: str) -> None:
        for each in STEPS[STEPS.index(step_key) :]:
            await self.pair.completes(self.order_id, each)

    async def wishes(self, name: str, wish: Wish | None = None) -> None:
        await self.pair.workflow(self.order_id).signal(name, wish or Wish())

    async def tells_parcel(self, name: str, wish: Wish | None = None) -> None:
        await self.pair.parcel(self.order_id).signal(name, wish or Wish())

    async def is_shown(self, status: str) -> None:
        """The parcel has this status in the eyes of its workflow."""

        async def is_so() -> bool:
            view = await self.pair.parcel(self.order_id).query(fulfillment.FulfillmentApi.status)
            return view.status == status

        await eventually(is_so, what=status)

    async def ends(self, outcome: str) -> None:
        found = await self.pair.workflow(self.order_id).result()
        assert found == outcome, f"{self.name} ended {found}"


Story = Callable[[Scene], Awaitable[None]]


def _automatic(
    outcome: str, scenario: Scenario = "happy", *, token: str = "tok_ok", zip_code: str = ""
) -> Story:
    async def story(scene: Scene) -> None:
        await scene.placed(scenario, token=token, zip_code=zip_code)
        await scene.ends(outcome)

    return story


def _cancelled_at(step_key: str, *, token: str = "tok_ok", zip_code: str = "") -> Story:
    async def story(scene: Scene) -> None:
        await scene.placed("manual", token=token, zip_code=zip_code)
        await scene.at(step_key)
        await scene.wishes("cancelOrder", Wish(reason="changed my mind"))
        if step_key.startswith("pick") or step_key in ("quality", "pack"):
            await scene.tells_parcel("completeStep", Wish(payload=WishPayload(step_key=step_key)))
        await scene.ends("CANCELLED")

    return story


def _failed_at(step_key: str) -> Story:
    async def story(scene: Scene) -> None:
        await scene.placed("manual")
        await scene.at(step_key)
        await scene.tells_parcel("failStep", Wish(payload=WishPayload(step_key=step_key)))
        await scene.ends("FAILED")

    return story


def _paused_at(step_key: str) -> Story:
    async def story(scene: Scene) -> None:
        await scene.placed("manual")
        await scene.at(step_key)
        await scene.wishes("pauseOrderFulfillment", Wish(reason="count the stock"))
        await scene.is_shown("PAUSED")
        await scene.wishes("resumeOrderFulfillment")
        await scene.pair.goes_on(scene.order_id)
        await scene.goes_on(step_key)
        await scene.ends("SHIPPED")

    return story


def _readdressed_at(step_key: str, by: str) -> Story:
    async def story(scene: Scene) -> None:
        await scene.placed("manual")
        await scene.at(step_key)
        wish = Wish(payload=WishPayload(address=ELSEWHERE))
        await (
            scene.wishes("updateOrder", wish)
            if by == "order"
            else scene.tells_parcel("updateShippingAddress", wish)
        )

        async def is_known() -> bool:
            view = await scene.pair.parcel(scene.order_id).query(fulfillment.FulfillmentApi.status)
            return view.address_version == 2

        await eventually(is_known, what="the other address")
        await scene.goes_on(step_key)
        await scene.ends("SHIPPED")

    return story


async def _held_before_it_begins(scene: Scene) -> None:
    await _held(scene)
    await scene.wishes("releaseHold")
    await scene.ends("SHIPPED")


async def _cancelled_while_held(scene: Scene) -> None:
    await _held(scene)
    await scene.wishes("cancelOrder", Wish(reason="waited too long"))
    await scene.ends("CANCELLED")


async def _held(scene: Scene) -> None:
    await scene.placed(start=False)
    hold = Hold(handle="review", reason=HoldReason.FRAUD_RISK)
    await scene.pair.wishes(
        scene.order_id, "applyHold", f"{scene.name}/hold", Wish(payload=WishPayload(hold=hold))
    )


async def _held_for_a_moment(scene: Scene) -> None:
    await scene.placed("manual")
    await scene.at("pick:1")
    hold = Hold(handle="moment", until=datetime.now(UTC) + timedelta(seconds=5))
    await scene.tells_parcel("applyHold", Wish(payload=WishPayload(hold=hold)))
    await scene.is_shown("PAUSED")
    await scene.tells_parcel("completeStep", Wish(payload=WishPayload(step_key="pick:1")))
    await scene.pair.goes_on(scene.order_id)
    await scene.goes_on("pick:2")
    await scene.ends("SHIPPED")


async def _held_twice(scene: Scene) -> None:
    await scene.placed("manual")
    await scene.at("quality")
    for handle in ("one", "two"):
        await scene.tells_parcel("applyHold", Wish(payload=WishPayload(hold=Hold(handle=handle))))
    await scene.tells_parcel("completeStep", Wish(payload=WishPayload(step_key="quality")))
    await scene.is_shown("PAUSED")
    await scene.tells_parcel("releaseHold", Wish(payload=WishPayload(handle="one")))
    await scene.tells_parcel("releaseHold", Wish(payload=WishPayload(handle="two")))
    await scene.pair.goes_on(scene.order_id)
    await scene.goes_on("pack")
    await scene.ends("SHIPPED")


async def _label_refused_then_another_address(scene: Scene) -> None:
    await scene.placed("label-refused")
    await eventually(lambda: _has_parcel(scene), what="the parcel")
    await scene.is_shown("EXCEPTION")
    await scene.tells_parcel("updateShippingAddress", Wish(payload=WishPayload(address=ELSEWHERE)))
    await scene.ends("SHIPPED")


async def _label_refused_then_cancelled(scene: Scene) -> None:
    await scene.placed("label-refused")
    await eventually(lambda: _has_parcel(scene), what="the parcel")
    await scene.is_shown("EXCEPTION")
    await scene.tells_parcel("resolveException")
    await scene.wishes("cancelOrder")
    await scene.ends("CANCELLED")


async def _has_parcel(scene: Scene) -> bool:
    return (await scene.pair.order(scene.order_id)).step is Step.AWAIT_OUTCOME


async def _strange_signals(scene: Scene) -> None:
    """What anybody may send who has the `temporal` command line."""
    await scene.placed("manual")
    await scene.at("pick:1")
    workflow, parcel = scene.pair.workflow(scene.order_id), scene.pair.parcel(scene.order_id)
    for handle in (workflow, parcel):
        await handle.signal("knock")
        await handle.signal("nonsense", {"what": 1})
        await handle.signal("knock", args=[1, 2, 3])
    await workflow.signal("pauseOrderFulfillmentSignal", "a bare reason")
    await workflow.signal("cancelOrder", {"reason": 7, "payload": "no payload"})
    await parcel.signal("updateShippingAddress", ELSEWHERE.model_dump(by_alias=True))
    await parcel.signal("applyHold", {"payload": {"hold": "none"}})
    await scene.is_shown("PAUSED")
    await parcel.signal("resumeFulfillmentSignal")
    await scene.pair.goes_on(scene.order_id)
    await scene.goes_on("pick:1")
    await scene.ends("SHIPPED")


async def _the_same_wish_twice(scene: Scene) -> None:
    await scene.placed("manual")
    await scene.at("pick:2")
    for _ in range(2):
        await scene.wishes("pauseOrderFulfillment", Wish(command_id=f"{scene.name}/pause"))
    await scene.is_shown("PAUSED")
    for _ in range(2):
        await scene.wishes("resumeOrderFulfillment", Wish(command_id=f"{scene.name}/resume"))
    await scene.pair.goes_on(scene.order_id)
    await scene.goes_on("pick:2")
    await scene.ends("SHIPPED")


async def _revived(scene: Scene) -> None:
    """Both workflows are ended from outside and go on from their streams in other runs."""
    await scene.placed("manual")
    await scene.at("pick:2")
    await scene.pair.workflow(scene.order_id).terminate("by accident")
    await scene.pair.parcel(scene.order_id).terminate("by accident")
    await scene.started()
    await scene.wishes("pauseOrderFulfillment")  # which finds no parcel, so the order asks for it again
    await eventually(lambda: _runs_again(scene), what="the parcel's other run")
    await scene.is_shown("PAUSED")
    await scene.wishes("resumeOrderFulfillment")
    await scene.pair.goes_on(scene.order_id)
    await scene.goes_on("pick:2")
    await scene.ends("SHIPPED")


async def _runs_again(scene: Scene) -> bool:
    described = await scene.pair.parcel(scene.order_id).describe()
    return described.status is WorkflowExecutionStatus.RUNNING


async def _in_another_run(scene: Scene) -> None:
    """Both histories grow so long that they are left behind."""
    await scene.placed("manual")
    await scene.at("pick:1")
    await scene.tells_parcel("applyHold", Wish(payload=WishPayload(hold=Hold(handle="long"))))
    await scene.tells_parcel("completeStep", Wish(payload=WishPayload(step_key="pick:1")))
    await scene.is_shown("PAUSED")
    for handle in (scene.pair.workflow(scene.order_id), scene.pair.parcel(scene.order_id)):
        first = (await handle.describe()).run_id
        while (await handle.describe()).run_id == first:
            await handle.signal("knock")
            await asyncio.sleep(0.2)
    await scene.tells_parcel("releaseHold")
    await scene.pair.goes_on(scene.order_id)
    await scene.goes_on("pick:2")
    await scene.ends("SHIPPED")


async def _renewed(scene: Scene) -> None:
    """The authorization ends soon: it is replaced while the parcel is picked, and the first one is voided."""
    await scene.placed("manual", token="tok_expires_20")
    await scene.at("pick:1")

    async def is_renewed() -> bool:
        return (await scene.pair.effects("payments", scene.order_id))[-1:] == ["void"]

    await eventually(is_renewed, what="another authorization")
    await scene.goes_on("pick:1")
    await scene.ends("SHIPPED")


async def _capture_is_refused(scene: Scene) -> None:
    """It waits for a day and a person; the history is of an order that is still open."""
    await scene.placed(token="tok_capture_refused")

    async def is_refused() -> bool:
        return (await scene.pair.order(scene.order_id)).attention is not None

    await eventually(is_refused, what="a capture that is refused")


async def _parked_at_its_payment(scene: Scene) -> None:
    """The provider's tries are spent; a person has it asked again."""
    await scene.placed(token="tok_500_4")

    async def is_parked() -> bool:
        return bool(await exceptions.page(scene.pair.database, subject=scene.order_id))

    await eventually(is_parked, what="a payment that waits for a person")
    await scene.wishes("resolveException")
    assert await scene.pair.workflow(scene.order_id).result() == "SHIPPED"


async def _parked_at_its_label(scene: Scene) -> None:
    """The same for the carrier."""
    await scene.placed(zip_code="50004")
    parcel = f"{scene.order_id}-1"

    async def is_parked() -> bool:
        return bool(await exceptions.page(scene.pair.warehouse, subject=parcel))

    await eventually(is_parked, what="a label that waits for a person")
    await scene.tells_parcel("resolveException")
    assert await scene.pair.workflow(scene.order_id).result() == "SHIPPED"


async def _asked_to_cancel(scene: Scene, answer: str) -> None:
    """The warehouse's rule is that a person answers; see `ASKING`."""
    await scene.placed("manual")
    await scene.at("pick:1")
    await scene.wishes("cancelOrder", Wish(reason="changed my mind"))

    [request] = await eventually(lambda: _requests(scene), what="a cancel that waits for its answer")
    await scene.tells_parcel(answer, Wish(payload=WishPayload(request=request)))


async def _requests(scene: Scene) -> Sequence[str]:
    view = await scene.pair.parcel(scene.order_id).query(fulfillment.FulfillmentApi.status)
    return view.cancellation_requests


async def _cancelled_when_a_person_agrees(scene: Scene) -> None:
    await _asked_to_cancel(scene, "acceptCancellation")
    await scene.tells_parcel("completeStep", Wish(payload=WishPayload(step_key="pick:1")))
    await scene.ends("CANCELLED")


async def _not_cancelled_when_a_person_does_not(scene: Scene) -> None:
    await _asked_to_cancel(scene, "rejectCancellation")

    async def is_answered() -> bool:
        return not await _requests(scene)

    await eventually(is_answered, what="its answer")
    await scene.goes_on("pick:1")
    await scene.ends("SHIPPED")


async def _breaker_is_open(scene: Scene) -> None:
    """Nobody asks the provider until the breaker is closed; the order goes on by itself."""
    database = scene.pair.database
    with patch("contracts.chassis.breakers.TRIPPED_SECONDS", 1.0):
        await set_by_hand(database, "payments", "OPEN", reason="maintenance", actor="ada")
        await scene.placed()
        workflow = scene.pair.workflow(scene.order_id)

        async def is_kept() -> bool:
            pending = (await workflow.describe()).raw_description.pending_activities
            return [each.last_failure.application_failure_info.type for each in pending] == ["CIRCUIT_OPEN"]

        await eventually(is_kept, what="the order that is kept waiting")
        await set_by_hand(database, "payments", "CLOSED", reason="done", actor="ada")
        await scene.ends("SHIPPED")


async def _nothing_is_heard(scene: Scene) -> None:
    """The safety net: after ten minutes, which are two seconds here, the order asks its parcel."""
    with patch("order_service.workflow.SAFETY_NET", timedelta(seconds=2)):
        await scene.placed("manual")
        await scene.at("pick:1")
        workflow = scene.pair.workflow(scene.order_id)

        async def has_asked() -> bool:
            return "local queryFulfillmentStatus" in commands(await workflow.fetch_history())

        await eventually(has_asked, what="a question to the parcel")
        await scene.goes_on("pick:1")
        await scene.ends("SHIPPED")


async def _waits_at(scene: Scene, step_key: str) -> None:
    await scene.placed("manual")
    await scene.at(step_key)


def _open_at(step_key: str) -> Story:
    return lambda scene: _waits_at(scene, step_key)


ASKING: Mapping[str, Story] = {
    "is cancelled when a person agrees": _cancelled_when_a_person_agrees,
    "is not cancelled when a person does not agree": _not_cancelled_when_a_person_does_not,
}
"""Lived through where the warehouse's rule is to ask a person."""
ALONE: Mapping[str, Story] = {
    "waits for an open breaker": _breaker_is_open,
    "asks its parcel when nothing is heard": _nothing_is_heard,
}
"""What these change is changed for all who run beside them, so none does."""
_PICKED: Sequence[str] = ("pick:1", "pick:2", "quality", "pack", "hand-over")
STORIES: dict[str, Story] = {
    "ships": _automatic("SHIPPED"),
    "is declined": _automatic("FAILED", "declined"),
    "has no funds": _automatic("FAILED", token="tok_insufficient_funds"),
    "is out of stock": _automatic("FAILED", "out-of-stock"),
    "pays with a cut answer": _automatic("SHIPPED", "payment-timeout"),
    "pays at the third try": _automatic("SHIPPED", "payment-flaky"),
    "pays slowly": _automatic("SHIPPED", token="tok_slow_300"),
    "is captured at the second try": _automatic("SHIPPED", token="tok_capture_500_1"),
    "is captured with a cut answer": _automatic("SHIPPED", token="tok_capture_timeout_done"),
    "has its label at the second try": _automatic("SHIPPED", zip_code="50001"),
    "has its label with a cut answer": _automatic("SHIPPED", "label-timeout"),
    "is handed over with a cut answer": _automatic("SHIPPED", zip_code="50401"),
    "is handed over at the second try": _automatic("SHIPPED", zip_code="50101"),
    **{f"is cancelled at {step_key}": _cancelled_at(step_key) for step_key in _PICKED},
    "is cancelled, voided at the second try": _cancelled_at("pick:1", token="tok_void_500_1"),
    "is cancelled, voided with a cut answer": _cancelled_at("pick:1", token="tok_void_timeout_done"),
    "is cancelled, label voided at the second try": _cancelled_at("hand-over", zip_code="50201"),
    "is cancelled, label voided with a cut answer": _cancelled_at("hand-over", zip_code="50402"),
    **{f"fails at {step_key}": _failed_at(step_key) for step_key in ("pick:1", "pack")},
    **{f"is paused at {step_key}": _paused_at(step_key) for step_key in ("pick:2", "hand-over")},
    **{
        f"is readdressed at {each} by its order": _readdressed_at(each, "order")
        for each in ("pick:1", "hand-over")
    },
    **{f"is readdressed at {each} by hand": _readdressed_at(each, "hand") for each in ("pack", "hand-over")},
    "is held before it begins": _held_before_it_begins,
    "is cancelled while held": _cancelled_while_held,
    "is held for a moment": _held_for_a_moment,
    "is held twice": _held_twice,
    "has its label refused, then another address": _label_refused_then_another_address,
    "has its label refused, then is cancelled": _label_refused_then_cancelled,
    "hears strange signals": _strange_signals,
    "hears each wish twice": _the_same_wish_twice,
    "is revived": _revived,
    "goes on in another run": _in_another_run,
    "is renewed": _renewed,
    "waits for its capture": _capture_is_refused,
    "is parked at its payment, then tried again": _parked_at_its_payment,
    "is parked at its label, then tried again": _parked_at_its_label,
    **{f"waits at {step_key}": _open_at(step_key) for step_key in ("pick:1", "hand-over")},
    **ASKING,
    **ALONE,
}
