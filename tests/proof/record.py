"""A run as it was recorded, by a simulation or from real processes: all that the checks may look at."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Service = Literal["orders", "fulfillments"]
Message = Literal["pause", "resume", "hold", "release", "cancel", "address", "timed-hold", "freeze"]
"""`timed-hold` is one with an end; `freeze` is a standing hold on an article of the order."""
Door = Literal["order-rest", "parcel-rest", "order-signal", "parcel-signal"]
Told = Literal["receipt", "sent", "nobody"]
"""What the sender learnt: a receipt at once, that the signal was taken, or that there is nobody to ask."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One stored fact, by the names it has on disk."""

    service: Service
    stream: str
    version: int
    type: str
    data: Mapping[str, Any]
    command_id: str | None
    at: datetime
    place: int = 0
    """Where it stands among all facts of the run, of both services, when that is known."""
    trace: str | None = None
    """The trace it was stored in, where that is recorded."""


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """What became of a command, in one service's store."""

    service: Service
    command_id: str
    name: str
    stream: str
    status: str
    code: str | None = None
    cut_off: str | None = None
    first_version: int | None = None
    last_version: int | None = None
    """The facts that it led to at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a door said to one try of a request."""

    status: int
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, from the first try to the answer that counts, or to the end of the run."""

    service: Service
    method: str
    path: str
    key: str
    invoked_at: float
    returned_at: float | None
    tries: int
    answers: Sequence[Answer]
    """Of every try that was answered; the last one counts."""
    command_id: str | None = None
    told: str | None = None
    """The status of the receipt in the answer."""
    code: str | None = None
    is_there: bool = True
    """Whoever asked had seen before that what the path names exists."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a reconciler found, and what it did about it."""

    service: Service
    kind: str
    subject: str
    action: str


@dataclass(frozen=True, slots=True)
class Effect:
    """One line of a provider's ledger that had an effect."""

    operation: Literal["authorize", "capture", "void", "book", "hand-over", "void-label"]
    about: str
    """The order's id at the payment provider, the fulfillment's at the carrier."""
    reference: str
    amount_minor: int = 0
    address: Mapping[str, Any] | None = None
    """As far as the ledger keeps it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A wish that somebody sent."""

    message: Message
    door: Door
    told: Told
    command_id: str | None = None
    """None for a bare signal, whose id the workflow gives."""
    address: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A workflow at the end of the run."""

    workflow_id: str
    status: str
    outcome: str | None
    events: int = 0
    """How long its history is, where that is recorded."""
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Level:
    """One article's stock."""

    sku: str
    initial: int
    available: int
    held: int
    shipped: int


@dataclass(frozen=True, slots=True)
class Published:
    """One record of a topic."""

    topic: str
    stream: str
    sequence: int
    event_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that somebody asked for, as often as it took to be told."""

    key: str
    command_id: str
    told: Sequence[str]
    """The order ids of the answers that accepted it."""


@dataclass(frozen=True, slots=True)
class View:
    """One row of a projection, and what the log folds to."""

    service: Service
    subject: str
    shown: Mapping[str, Any] | None
    folded: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of a table of exceptions: what waits for a person, or did."""

    service: Service
    stream: str
    code: str
    step: str | None
    is_open: bool
    is_mismatch: bool = False
    """Raised by who saw it from beside the stream, which has no fact of it."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault of the run, and what shows that it did strike."""

    number: int
    kind: str
    victim: str
    fired: bool
    evidence: Mapping[str, Any]
    skipped: str | None = None
    """Why this machine cannot have it."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a log that says what no log may say."""

    file: str
    text: str


@dataclass
class Record:
    """Everything of one run."""

    facts: list[Fact] = field(default_factory=list[Fact])
    receipts: list[ReceiptRow] = field(default_factory=list[ReceiptRow])
    effects: list[Effect] = field(default_factory=list[Effect])
    """In the order in which they happened at each provider."""
    sent: list[Sent] = field(default_factory=list[Sent])
    workflows: list[Ended] = field(default_factory=list[Ended])
    stock: list[Level] = field(default_factory=list[Level])
    addresses: dict[tuple[str, int], Mapping[str, Any]] = field(
        default_factory=dict[tuple[str, int], Mapping[str, Any]]
    )
    """The kept addresses, by stream and version."""
    personal: set[str] = field(default_factory=set[str])
    """What names a person of this run: nothing of it may be on a topic."""
    published: list[Published] = field(default_factory=list[Published])
    """What the topics hold, in the order of each partition."""
    applied: list[tuple[Service, str, int]] = field(default_factory=list[tuple[Service, str, int]])
    """Who took in which fact: service, stream, version."""
    troubles: list[str] = field(default_factory=list[str])
    """What no run may show: replays that differ, workflow code that raises, ways without an end."""
    undelivered: int = 0
    """Knocks that nobody got."""
    waiting: list[str] = field(default_factory=list[str])
    """What else has not moved on in the end: unpublished rows, parked records, open exceptions."""
    placed: list[Placed] = field(default_factory=list[Placed])
    views: list[View] = field(default_factory=list[View])
    exceptions: list[Waiting] = field(default_factory=list[Waiting])
    """What the tables of exceptions hold."""
    asked: list[Asked] = field(default_factory=list[Asked])
    """Every request to a door."""
    reconciled: list[Reconciled] = field(default_factory=list[Reconciled])
    struck: list[Struck] = field(default_factory=list[Struck])
    """The faults of the run."""
    lines: list[LogLine] = field(default_factory=list[LogLine])
    """Lines of logs in which a person of this run is named."""

    def streams(self, prefix: str = "") -> Iterator[tuple[str, Sequence[Fact]]]:
        """Each stream whose name begins like that, with its facts, oldest first."""
        found: dict[str, list[Fact]] = {}
        for fact in self.facts:
            if fact.stream.startswith(prefix):
                found.setdefault(fact.stream, []).append(fact)
        for stream, facts in found.items():
            yield stream, sorted(facts, key=lambda fact: fact.version)

    def about(self, orders: Sequence[str]) -> "Record":
        """What of it is about these orders; the stock, which is about all of them, is left out."""

        def ours(stream: str) -> bool:
            return stream.partition("-")[2].startswith(tuple(orders))

        return Record(
            facts=[each for each in self.facts if ours(each.stream)],
            receipts=[each for each in self.receipts if ours(each.stream)],
            effects=[each for each in self.effects if each.about.startswith(tuple(orders))],
            addresses=self.addresses,
            personal=self.personal,
            published=[each for each in self.published if ours(each.stream)],
            applied=[each for each in self.applied if ours(each[1])],
            exceptions=[each for each in self.exceptions if ours(each.stream)],
        )

    @property
    def orders(self) -> Iterator[tuple[str, Sequence[Fact]]]:
        return self.streams("order-")

    @property
    def parcels(self) -> Iterator[tuple[str, Sequence[Fact]]]:
        return self.streams("fulfillment-")

    def effects_on(self, about: str, *operations: str) -> list[Effect]:
        return [each for each in self.effects if each.about == about and each.operation in operations]
