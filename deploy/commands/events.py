"""`tandem events …`: what happened, read from Kafka as any other subscriber would."""

# aiokafka has no types of its own.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.commands import options, rest
from deploy.commands.rest import Json, say

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, ConsumerRecord

app = options.group("events", "Read what both services tell the world.")

TOPICS = {"orders": "orders.events.v1", "fulfillments": "fulfillments.events.v1"}
_ANSWER_SECONDS = 5
_POLL_MS = 200
_TAIL = options.examples(
    "tandem events tail",
    "tandem events tail --topic orders --from-start --no-follow --json",
    "tandem events tail --order ORD-… --from-start",
)


@app.callback()
def events() -> None:
    """Read what both services tell the world."""


@dataclass(frozen=True)
class Wanted:
    """Which records, of all that the broker has."""

    topics: list[str]
    from_start: bool = False
    order: str | None = None
    limit: int | None = None
    follow: bool = True


@app.command(epilog=_TAIL)
def tail(
    *,
    topic: Annotated[
        list[str] | None, typer.Option(help="orders, fulfillments or a topic's name; both if left out.")
    ] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="All that Kafka keeps, too.")] = False,
    order: Annotated[str | None, typer.Option(help="Only of this order.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    follow: Annotated[bool, typer.Option(help="Wait for what comes, or end with what is there.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    kafka: Annotated[
        str | None,
        typer.Option(
            envvar="TANDEM_KAFKA_SERVERS", help="HOST:PORT of the broker.", show_default="running stack"
        ),
    ] = None,
) -> None:
    """Print events as they come, until Ctrl-C; those of one order in the order they happened."""
    servers = kafka or rest.address("TANDEM_KAFKA_SERVERS")
    wanted = Wanted([TOPICS.get(name, name) for name in topic or TOPICS], from_start, order, limit, follow)
    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(_tail(servers, wanted, lambda record: _show(record, as_json)))
        except ConnectionError:
            rest.unreachable("Kafka broker", servers, as_json)


async def _tail(servers: str, wanted: Wanted, show: "Callable[[ConsumerRecord[Any, Any]], None]") -> None:
    """Every wanted record was shown. Raises ConnectionError when the broker does not answer."""
    # 0.2 s that only this command needs.
    from aiokafka import AIOKafkaConsumer  # noqa: PLC0415
    from aiokafka.errors import KafkaError  # noqa: PLC0415

    # Without a group: a group would take the records away from somebody else.
    consumer = AIOKafkaConsumer(
        *wanted.topics,
        bootstrap_servers=servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest" if wanted.from_start else "latest",
        request_timeout_ms=_ANSWER_SECONDS * 1000,
        fetch_max_wait_ms=100,
    )
    shown = 0
    try:
        await asyncio.wait_for(consumer.start(), _ANSWER_SECONDS)
        async with aclosing(_records(consumer, wanted)) as records:
            async for record in records:
                show(record)
                shown += 1
                if shown == wanted.limit:
                    return
    except (KafkaError, OSError, TimeoutError) as error:
        raise ConnectionError from error
    finally:
        await consumer.stop()


async def _records(
    consumer: "AIOKafkaConsumer", wanted: Wanted
) -> "AsyncGenerator[ConsumerRecord[Any, Any]]":
    partitions = list(consumer.assignment())
    ends = await consumer.end_offsets(partitions)
    while wanted.follow or any([await consumer.position(each) < ends[each] for each in partitions]):
        batches = await consumer.getmany(timeout_ms=_POLL_MS)
        found = [record for batch in batches.values() for record in batch]
        # Partitions are independent of each other; by time, the two topics read as one story.
        for record in sorted(found, key=lambda record: record.timestamp):
            if wanted.order is None or record.key == wanted.order.encode():
                yield record


def _show(record: "ConsumerRecord[Any, Any]", as_json: bool) -> None:
    seen = _event(record)
    if as_json:
        rest.print_json(seen)
        return
    data = seen.get("data", {})
    say(
        f"{seen.get('time', '-')} {seen.get('type', 'not an event of ours')} {seen.get('subject', '-')}"
        f" #{seen.get('sequence', '-')} {data.get('status', '')} {data.get('percent', 0)} %"
    )


def _event(record: "ConsumerRecord[Any, Any]") -> Json:
    """The event and where it was found; a record that is none shows only its place."""
    from contracts.envelope import from_record  # noqa: PLC0415

    place = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": record.key.decode(errors="replace") if record.key else None,
    }
    try:
        event = from_record(dict(record.headers), record.value or b"", record.key)
    except ValueError:
        return place
    return {**place, **event.model_dump(mode="json", exclude_none=True)}
