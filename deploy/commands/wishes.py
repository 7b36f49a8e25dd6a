"""One way to send a wish and to show what became of it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, get_args

import typer

from deploy.commands.options import Key, Timeout
from deploy.commands.rest import OTHERWISE, Json, refused
from deploy.commands.shown import answer_lines, rehearsal_lines
from deploy.commands.subjects import Subject, Thing
from deploy.commands.watching import FINAL, wait_for_receipt

HoldReason = Literal[
    "OPERATOR_PAUSE", "CUSTOMER_REQUEST", "AWAITING_PAYMENT", "INCORRECT_ADDRESS", "INVENTORY", "QUALITY",
    "CARRIER", "FRAUD_RISK", "OTHER",
]  # fmt: skip
Reason = Annotated[
    HoldReason,
    typer.Option(
        "--reason",
        case_sensitive=False,
        metavar="REASON",
        help=f"Why it may not move, one of: {', '.join(get_args(HoldReason))}.",
    ),
]
Because = Annotated[str | None, typer.Option("--reason", help="Why, for the audit trail.")]
Note = Annotated[
    str | None, typer.Option("--note", help="For people; kept apart from the facts, so it may name somebody.")
]
Handle = Annotated[
    str | None,
    typer.Option("--handle", metavar="NAME", help="The name to lift it by; the command's id if left out."),
]
Lifted = Annotated[
    str | None, typer.Option("--handle", metavar="NAME", help="Only the hold of this name; all if left out.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would happen, fact by fact; nothing does.")
]
_DURATION = r"([0-9]{1,5}[smhd])+"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str) -> str:
    """The moment that an ISO time stands for, or a duration from now such as `2h` or `1d12h`."""
    if re.fullmatch(_DURATION, text):
        spans = {_UNITS[unit]: int(count) for count, unit in re.findall(r"([0-9]+)([smhd])", text)}
        return (datetime.now(UTC) + timedelta(**spans)).isoformat()
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter("expected a duration such as 30m, 2h, 1d12h, or an ISO time") from error


Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        parser=moment,
        metavar="TIME|2h",
        help="Lifted by itself then: an ISO time, or 30m, 2h, 1d.",
    ),
]


def given(**fields: str | None) -> Json | None:
    """The fields of a body that were given; None when none was."""
    return {name: value for name, value in fields.items() if value is not None} or None


@dataclass(frozen=True, kw_only=True)
class Sending:
    """How a wish is sent, and whether its receipt is followed."""

    dry_run: DryRun = False
    wait: Annotated[
        bool, typer.Option("--wait", help="Show its receipt until it is EFFECTIVE, or is refused.")
    ] = False
    timeout: Timeout = 60.0
    key: Key = None

    def send(self, about: Subject, method: str, path: str, body: object = None, **query: object) -> None:
        """The wish is sent, and what became of it is shown."""
        door = about.door
        answer = door.ask(
            method,
            about.path + path,
            body=body,
            query={**query, "dryRun": "true" if self.dry_run else None},
            headers={"Idempotency-Key": self.key},
        )
        if self.dry_run:
            about.show(answer, rehearsal_lines)
        elif self.wait and answer["status"] not in FINAL:
            end_with(about, wait_for_receipt(door, answer["commandId"], timeout=self.timeout))
        else:
            about.show(answer, answer_lines)


def end_with(about: Subject, receipt: Json) -> None:
    """The final receipt is shown to a program; one that has no effect ends the process with its own code."""
    if receipt["status"] == "REJECTED":
        refused(_standing(about) | receipt, about.as_json)
    about.show(receipt, lambda _: [])
    if receipt["status"] == "SUPERSEDED":
        raise typer.Exit(OTHERWISE)


def _standing(about: Subject) -> Json:
    """Where the thing stands and what is possible now, as a refusal says it."""
    if not isinstance(about, Thing):
        return {}
    seen = about.read()
    names = {"currentStatus": "status", "currentStep": "currentStep", "allowedActions": "allowedActions"}
    return {name: seen.get(source) for name, source in names.items()}
