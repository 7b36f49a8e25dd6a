"""Records as Kafka brings them, and an effect that says in which order it had them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from contracts.chassis.kafka.records import IncomingRecord
from contracts.chassis.postgres import Connection, Database
from contracts.envelope import Event, to_record

NAMES = UUID(int=0)
TOPIC = "orders.events.v1"


class Applied:
    """What had an effect, written in the effect's own transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.failing: set[str] = set()

    async def prepare(self) -> None:
        await self._database.execute("create table applied (position serial, what text)")

    async def effect(self, connection: Connection, event: Event) -> None:
        what = f"{event.correlation_id}:{event.sequence}"
        await connection.execute("insert into applied (what) values (%s)", (what,))
        if what in self.failing:
            raise ZeroDivisionError

    async def all(self) -> list[str]:
        return [
            row["what"] for row in await self._database.fetch("select what from applied order by position")
        ]


def record(
    order: str, sequence: int, offset: int, name: str | None = None, data: dict[str, Any] | None = None
) -> IncomingRecord:
    event = Event(
        id=uuid5(NAMES, name or f"{order}/{sequence}"),
        type="tandem.order.order-placed.v1",
        source="/orders",
        subject=f"order-{order}",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        sequence=sequence,
        correlation_id=order,
        data=data or {},
    )
    message = to_record(event)
    return IncomingRecord(
        TOPIC, 0, offset, order.encode(), dict(message.headers), bytes(message.value or b"")
    )


def stranger(order: str, offset: int) -> IncomingRecord:
    return IncomingRecord(TOPIC, 0, offset, order.encode(), {"odd\x00": b"\xff\x00"}, b"\x00not json")
