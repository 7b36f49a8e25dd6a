"""The table of exceptions follows the facts of the streams, in their transactions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from contracts.chassis.event_store import Recorded
from contracts.chassis.exceptions import Trouble, raise_, resolve
from contracts.chassis.faults import Fault, Resolution
from contracts.chassis.postgres import Connection
from contracts.chassis.troubles import ExceptionRaised, ExceptionResolved, Open
from contracts.values import Code


async def follow(
    connection: Connection,
    recorded: Recorded[Any],
    subject: str,
    *,
    resolutions: Callable[[Open], Sequence[Resolution]],
    provider_key: Callable[[str], str | None],
) -> None:
    """The table agrees with the fact; most facts are about something else."""
    match recorded.fact:
        case ExceptionRaised() as fact:
            opened = Open(fact.step_key, fact.code, fact.fault)
            key = provider_key(fact.step_key)
            evidence = {"attempts": fact.attempts, "error": fact.error, "providerKey": key}
            trouble = Trouble(
                stream=recorded.stream,
                subject=subject,
                code=fact.code,
                fault=fact.fault,
                reason=_reason(fact),
                step=fact.step_key,
                evidence={name: value for name, value in evidence.items() if value is not None},
                resolutions=resolutions(opened),
                id=recorded.event_id,
                raised_at=recorded.recorded_at,
            )
            await raise_(connection, trouble)
        case ExceptionResolved() as fact:
            await resolve(
                connection,
                recorded.stream,
                fact.code,
                step=fact.step_key,
                resolution=fact.resolution,
                by=recorded.actor,
            )
        case _:
            return


def _reason(fact: ExceptionRaised) -> str:
    tries = f", tried {fact.attempts} times" if fact.attempts > 1 else ""
    return f"{_CODES.get(fact.code, fact.code)}: {_FAULTS[fact.fault]}{tries}"


_CODES: Mapping[Code, str] = {
    Code.STEP_PARKED: "the step does not go on",
    Code.CANCEL_UNANSWERED: "a cancel was not answered in time",
    Code.CAPTURE_FAILED: "the parcel has left and its money is not taken",
    Code.VOID_FAILED: "the reserved money is not given back",
    Code.LABEL_REFUSED: "there is no label",
    Code.HAND_OVER_REFUSED: "the carrier does not take the parcel",
}
_FAULTS: Mapping[Fault, str] = {
    "transient": "answers were lost or late",
    "dependency-down": "the other side does not answer",
    "refusal": "the other side says no",
    "bad-data": "the other side does not understand what was sent",
    "bug": "an error of our own",
    "mismatch": "two records do not agree",
}
