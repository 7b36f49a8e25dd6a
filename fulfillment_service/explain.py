"""Why a parcel does not move, or that it does: out of its view, its facts and what Temporal says. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from contracts import fulfillment as contract
from contracts.chassis.explanation import (
    Call,
    Evidence,
    Explanation,
    Inspection,
    Kind,
    Machine,
    Next,
    Reason,
    Told,
    Unblock,
    clock,
    explained,
    machinery,
)
from contracts.chassis.postgres import Row
from contracts.chassis.troubles import TRIED_AGAIN
from contracts.fulfillment import HAND_OVER, PACK, QUALITY, Stage
from fulfillment_service.fulfillment.wishes import STANDING

ASKS = {
    "book_label": "the carrier",
    "void_label": "the carrier",
    "hand_over": "the carrier",
    "signalOrderWorkflow": "the order's workflow",
    "queryOrderStatus": "the order's workflow",
}
_OPERATOR = "an operator"


def explain(
    row: Row, evidence: Evidence, inspection: Inspection, notes: Mapping[str, str] | None = None
) -> Explanation:
    """What it waits for, since when, what happens next, and who can change it.

    `notes` is what was said when standing holds were placed, by their handles."""
    document: dict[str, Any] = row["document"]
    is_ended = row["step"] == "end"
    machine = Machine(contract.TASK_QUEUE, is_needed=not is_ended, asks=ASKS)
    own = [] if is_ended else [*_decisions(row, evidence, notes or {}), *_work(row, evidence)]
    return explained(
        _stands(row, document, is_ended=is_ended),
        [*own, *machinery(evidence, inspection, machine)],
        since=evidence.facts[-1].at if evidence.facts else row["updated_at"],
        then=None if is_ended else _then(row, evidence),
        now=evidence.now,
    )


def _stands(row: Row, document: dict[str, Any], *, is_ended: bool) -> str:
    named = f"Parcel {row['fulfillment_id']}"
    if is_ended:
        why = f" ({document['failure']})" if document["failure"] else ""
        return f"{named} has ended {row['status']}{why} and waits for nothing"
    step = document["currentStep"]
    where = f"at {step}" if document["stepOpen"] else f"before {step}"
    return f"{named} is {row['status']}" + (f" {where}" if step else "")


def _decisions(row: Row, evidence: Evidence, notes: Mapping[str, str]) -> Iterator[Reason]:
    """What a person has decided, or has to decide."""
    document, name = row["document"], row["fulfillment_id"]
    for trouble in document["exceptions"]:
        yield _trouble(name, trouble, evidence)
    if row["status"] == "CANCEL_REQUESTED" and not document["cancellationRequests"]:
        return
    for request in document["cancellationRequests"]:
        yield _asked(name, request, evidence)
    if document["failure"] is None:
        for hold in document["holds"]:
            yield _standing(hold, evidence, notes) if hold.get("standing") else _hold(name, hold, evidence)


def _hold(name: str, hold: dict[str, Any], evidence: Evidence) -> Reason:
    handle = hold["handle"]
    placed = evidence.last("HoldPlaced", handle=handle)
    by = hold.get("holder") or (placed.actor if placed else None)
    who = f"{by} or {_OPERATOR}" if by else _OPERATOR
    lift = _call(who, f"lift {handle}", "DELETE", f"/fulfillments/{name}/holds?handle={handle}")
    said = _said(placed.note if placed else None)
    return _held("HOLD", f"the hold {handle}", hold, by=by, placed=placed, said=said, lift=lift)


def _standing(hold: dict[str, Any], evidence: Evidence, notes: Mapping[str, str]) -> Reason:
    handle = hold["handle"].removeprefix(STANDING)
    said = f", which stops everything that matches it{_said(notes.get(handle))}"
    lift = _call(_OPERATOR, "lift it for all", "DELETE", f"/standing-holds/{handle}")
    placed, by = evidence.last("HoldPlaced", handle=hold["handle"]), hold.get("holder")
    what = f"the standing hold {handle}"
    return _held("STANDING_HOLD", what, hold, by=by, placed=placed, said=said, lift=lift)


def _held(
    kind: Kind,
    what: str,
    hold: dict[str, Any],
    *,
    by: str | None,
    placed: Told | None,
    said: str,
    lift: Unblock,
) -> Reason:
    until = datetime.fromisoformat(hold["until"]) if hold.get("until") else None
    ends = f" until {clock(until)}" if until else ""
    return Reason(
        kind,
        f"{what} ({hold['reason']})" + (f" by {by}" if by else "") + ends + said,
        since=placed.at if placed else None,
        until=until,
        code=hold["reason"],
        next=Next(what=f"{what} ends", at=until) if until else None,
        unblock=(lift,),
    )


def _said(note: str | None) -> str:
    return f': "{note}"' if note else ""


def _asked(name: str, request: dict[str, Any], evidence: Evidence) -> Reason:
    about = request["commandId"]
    asked = evidence.last("CancelAsked", command_id=about)
    until = datetime.fromisoformat(request["answerBy"]) if request.get("answerBy") else None
    path = f"/fulfillments/{name}/cancellation-requests/{about}"
    return Reason(
        "CANCEL_ANSWER",
        f"{_OPERATOR} to accept or to reject the cancel {about}"
        + (f", by {clock(until)} at the latest" if until else ""),
        since=asked.at if asked else None,
        until=until,
        code="CANCEL_REQUESTED",
        next=Next(what="an unanswered cancel becomes an exception", at=until) if until else None,
        unblock=(
            _call(_OPERATOR, "accept the cancel", "POST", f"{path}/accept"),
            _call(_OPERATOR, "reject it", "POST", f"{path}/reject"),
        ),
    )


def _trouble(name: str, trouble: dict[str, Any], evidence: Evidence) -> Reason:
    raised = evidence.last("ExceptionRaised", code=trouble["code"], step_key=trouble["stepKey"])
    path = f"/fulfillments/{name}/exceptions/resolve"
    ways = [_call(_OPERATOR, "have it tried again", "POST", path)]
    if trouble["code"] == "STEP_PARKED" and trouble["stepKey"].startswith("void-"):
        skip = Call(service="fulfillment", method="POST", path=path, body={"resolution": "skip"})
        ways.append(Unblock(who=_OPERATOR, how="leave it out, once the carrier knows no label", call=skip))
    if trouble["code"] == "LABEL_REFUSED":
        ways.append(
            _call(_OPERATOR, "give another address", "PATCH", f"/fulfillments/{name}/shipping-address")
        )
    again = trouble["code"] == "STEP_PARKED" and trouble["fault"] in TRIED_AGAIN
    ways.append(_call(_OPERATOR, "cancel the parcel", "POST", f"/fulfillments/{name}/cancel"))
    return Reason(
        "ATTENTION",
        f"a person to look at the exception {trouble['code']} at {trouble['stepKey']}",
        since=raised.at if raised else None,
        code=trouble["code"],
        next=Next(what=f"{trouble['stepKey']} is tried again after a pause that grows") if again else None,
        unblock=tuple(ways),
    )


def _work(row: Row, evidence: Evidence) -> Iterator[Reason]:
    """In manual mode a person says when a step is done."""
    document, name, step = row["document"], row["fulfillment_id"], row["document"]["currentStep"]
    if document["mode"] != "manual" or step is None:
        return
    hands_over = step == HAND_OVER and not document["stepOpen"] and not _is_stopped(document)
    if not (hands_over or (document["stepOpen"] and _is_by_hand(step))):
        return
    begun = evidence.last("StepStarted", step_key=step)
    path = f"/fulfillments/{name}/steps/{step}"
    yield Reason(
        "OPERATOR",
        f"{_OPERATOR} to complete {step}",
        since=begun.at if begun else evidence.facts[-1].at,
        code=step,
        unblock=(
            _call(_OPERATOR, f"complete {step}", "POST", f"{path}/complete"),
            _call(_OPERATOR, "say that it cannot be done", "POST", f"{path}/fail"),
        ),
    )


def _then(row: Row, evidence: Evidence) -> Next:
    """What follows when nothing is waited for."""
    document, step = row["document"], row["document"]["currentStep"]
    if step is None:
        end = Stage.FAILED if document["failure"] else Stage.CANCELLED
        return Next(what=f"label and shelf are settled, and the parcel is {end}")
    begun = evidence.last("StepStarted", step_key=step)
    if document["stepOpen"] and _is_by_hand(step) and document["mode"] == "automatic" and begun:
        return Next(what=f"{step} is done", at=begun.at + timedelta(seconds=document["paceSeconds"]))
    if document["stepOpen"] and _is_by_hand(step):
        return Next(what=f"the step after {step} begins once that is done and nothing stands against it")
    if document["stepOpen"]:
        return Next(what=f"{step} is carried out")
    return Next(what=f"{step} begins" + (" once nothing stands against it" if _is_stopped(document) else ""))


def _is_stopped(document: dict[str, Any]) -> bool:
    return bool(document["holds"] or document["exception"] or document["cancellationRequests"])


def _is_by_hand(step: str) -> bool:
    return step in (QUALITY, PACK) or step.startswith("pick:")


def _call(who: str, how: str, method: str, path: str) -> Unblock:
    return Unblock(who=who, how=how, call=Call(service="fulfillment", method=method, path=path))
