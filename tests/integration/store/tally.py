"""The smallest domain there is: streams that count, whose state is the sum of what was added."""

from collections.abc import Awaitable, Callable, Sequence

from contracts.chassis import outbox
from contracts.chassis.event_store import Cause, Change, EventStore, Fact, Journal
from contracts.chassis.outbox import OutboxRecord
from contracts.chassis.postgres import Connection, Database

TOPIC = "tally.events.v1"
CAUSE = Cause("tester", "command-1")


class Added(Fact):
    amount: int = 1


TallyChange = Change[int, Added]
Tally = Journal[int, Added]
STORE = EventStore((Added,))


def evolve(total: int | None, fact: Added) -> int:
    return (total or 0) + fact.amount


def bucket_of(key: str) -> int:
    return sum(key.encode()) % 16


async def publish(connection: Connection, change: TallyChange) -> None:
    """Each fact becomes one record that says which version it is."""
    records = [
        OutboxRecord(bucket_of(change.stream), change.stream, TOPIC, {}, str(each.version).encode())
        for each in change.recorded
    ]
    await outbox.add(connection, records)


async def nothing_follows(connection: Connection, change: TallyChange) -> None:
    """For tests of the store alone."""


def tally(
    database: Database, follow: Callable[[Connection, TallyChange], Awaitable[None]] = nothing_follows
) -> Tally:
    return Journal(database, STORE, evolve=evolve, follow=follow)


def adding(*amounts: int) -> Callable[[Connection, int | None], Awaitable[Sequence[Added]]]:
    """A decision that adds these, whatever the state."""

    async def decide(connection: Connection, total: int | None) -> Sequence[Added]:
        return [Added(amount=amount) for amount in amounts]

    return decide
