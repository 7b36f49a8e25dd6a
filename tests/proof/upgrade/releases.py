"""The releases: this code, and copies of it with edits as a next release would make them."""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.state import ROOT

PACKAGES = ("contracts", "order_service", "fulfillment_service")
_GUARD = re.compile(r'workflow\.patched\("[a-z]+"\)')


@dataclass(frozen=True)
class Edit:
    """Lines that stand behind one line of a file, or in its place where it is to be another."""

    file: str
    line: str
    """Once in the file, without what it is indented by; so are the others, and they are indented as it is."""
    behind: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()

    def made(self, text: str) -> str:
        """The text with the edit. Raises ValueError where the line is not there, or more than once."""
        lines = text.split("\n")
        places = [place for place, line in enumerate(lines) if line.strip() == self.line]
        if len(places) != 1:
            raise ValueError(
                f"{self.file} has {len(places)} lines {self.line!r}: edit tests/proof/upgrade/releases.py"
            )
        [place] = places
        margin = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
        found = [margin + line if line else "" for line in self.instead or (self.line, *self.behind)]
        return "\n".join([*lines[:place], *found, *lines[place + 1 :]])


MORE_TOLD: Sequence[Edit] = (
    # A fact, its public event, and the activity that writes it.
    Edit(
        "order_service/events.py",
        '"""Paid for and in stock: the held stock is confirmed."""',
        ("", "screened_by: str | None = None"),
    ),
    Edit("order_service/order/steps.py", "OrderConfirmed(),", instead=('OrderConfirmed(screened_by="us"),',)),
    Edit("contracts/order.py", "customer_id: str", ("screened_by: str | None = None",)),
    Edit(
        "order_service/publishing.py",
        "customer_id=state.customer_id,",
        ('screened_by=getattr(recorded.fact, "screened_by", None),',),
    ),
    # What one workflow tells the other, and what each is told by its activities.
    Edit("contracts/fulfillment.py", "customer_ref: Reference", ("insured_minor: int | None = None",)),
    Edit(
        "order_service/activities/__init__.py",
        "customer_ref=order.customer_id,",
        ("insured_minor=order.total_minor,",),
    ),
    Edit("fulfillment_service/events.py", "customer_ref: str", ("insured_minor: int | None = None",)),
    Edit("fulfillment_service/fulfillment/state.py", "customer_ref: str", ("insured_minor: int | None",)),
    Edit(
        "fulfillment_service/fulfillment/steps.py",
        "customer_ref=request.customer_ref,",
        ("insured_minor=request.insured_minor,",),
    ),
    Edit(
        "contracts/order.py",
        '"""The last version of the fulfillment\'s stream."""',
        ("carrier: str | None = None",),
    ),
    Edit(
        "fulfillment_service/activities/__init__.py",
        "n=state.n, outcome=state.outcome, version=change.version, code=code_of(state)",
        instead=(
            "n=state.n,",
            "outcome=state.outcome,",
            "version=change.version,",
            "code=code_of(state),",
            "carrier=state.carrier,",
        ),
    ),
    Edit("order_service/activities/snapshot.py", "steps_done: int = 0", ("is_screened: bool = False",)),
    Edit("order_service/activities/snapshot.py", "steps_done=order.steps_done,", ("is_screened=True,",)),
    Edit("fulfillment_service/activities/snapshot.py", "steps_done: int = 0", ("is_weighed: bool = False",)),
    Edit("fulfillment_service/activities/snapshot.py", "steps_done=state.steps_done,", ("is_weighed=True,",)),
)
"""Optional fields in facts, events, messages and results, and the activities that fill them."""


def _new_activity(file: str, name: str, beside: str, argument: str, body: str) -> Sequence[Edit]:
    return (
        Edit(file, f"self.{beside},", (f"self.{name},",)),
        Edit(
            file,
            f"async def {beside}(self, {argument}) -> Snapshot:",
            instead=(
                f"async def {name}(self, {argument}) -> Snapshot:",
                f"    {body}",
                "",
                "@activity.defn",
                f"async def {beside}(self, {argument}) -> Snapshot:",
            ),
        ),
    )


def _guarded(patch: str, step: str) -> tuple[str, ...]:
    return (f'if workflow.patched("{patch}"):', f"    self._see(await {step})")


_SCREEN = "stored(OrderActivities.screen, self._order_id)"
_WEIGH = "stored(FulfillmentActivities.weigh, self._fulfillment_id)"
_ORDERS, _PARCELS = "order_service/workflow.py", "fulfillment_service/workflow.py"

MORE_DONE: Sequence[Edit] = (
    *_new_activity(
        "order_service/activities/__init__.py",
        "screen",
        "confirm",
        "order_id: str",
        "return snapshot(await self._stream.read(order_id))",
    ),
    Edit(_ORDERS, "await self._confirm()", instead=(*_guarded("screened", _SCREEN), "await self._confirm()")),
    Edit(_ORDERS, "await self._capture()", instead=(*_guarded("checked", _SCREEN), "await self._capture()")),
    *_new_activity(
        "fulfillment_service/activities/__init__.py",
        "weigh",
        "settle",
        "fulfillment_id: str",
        "return await self.load(fulfillment_id)",
    ),
    Edit(_PARCELS, "await self._receive()", _guarded("received", _WEIGH)),
    Edit(
        _PARCELS,
        "await self._book_label()",
        instead=(*_guarded("weighed", _WEIGH), "await self._book_label()"),
    ),
)
"""New steps of both workflows, early and late ones, each behind a patch of its own."""


@dataclass(frozen=True)
class Release:
    """Code that can be run."""

    name: str
    edits: Sequence[Edit] = ()
    is_guarded: bool = True
    """Without, its workflows do what is new in orders that began before it, too: what nobody may release."""

    def files(self) -> Iterator[tuple[str, str]]:
        """Each file that is another one than here, with its text."""
        for file in dict.fromkeys(edit.file for edit in self.edits):
            text = (ROOT / file).read_text()
            for edit in self.edits:
                text = edit.made(text) if edit.file == file else text
            yield file, text if self.is_guarded else _GUARD.sub("True", text)

    def made(self, folder: Path) -> Path:
        """Where its packages are."""
        if not self.edits:
            return ROOT
        home = folder / self.name
        for package in PACKAGES:
            # With what is compiled: whatever was not edited need not be compiled again.
            shutil.copytree(ROOT / package, home / package, symlinks=False)
        for file, text in self.files():
            (home / file).write_text(text)
        return home


HERE = Release("here")
"""This code."""
PLAIN = Release("plain", MORE_TOLD)
"""Its workflows give the same commands."""
NEXT = Release("next", (*MORE_TOLD, *MORE_DONE))
"""Its workflows have new steps."""
BAD = Release("bad", (*MORE_TOLD, *MORE_DONE), is_guarded=False)
"""The same ones, and somebody forgot the orders that are out."""
