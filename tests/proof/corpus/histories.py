"""The file of a release: written from what Temporal keeps, and read for replays."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory

from contracts.chassis.temporal import PayloadCodec

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Recorded:
    """One run of one workflow, and the story it is from."""

    story: str
    workflow: str
    """`order` or `parcel`, and which run of it."""
    history: WorkflowHistory

    def __str__(self) -> str:
        return f"{self.story}, {self.workflow}"


def write(release: str, recorded: Sequence[Recorded]) -> Path:
    path = FOLDER / f"{release}.jsonl.gz"
    lines = [
        json.dumps(
            {
                "story": each.story,
                "workflow": each.workflow,
                "id": each.history.workflow_id,
                "history": each.history.to_json_dict(),
            },
            separators=(",", ":"),
        )
        for each in recorded
    ]
    # Without a time in its head, so that the same histories are the same file.
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    return path


def read(path: Path) -> list[Recorded]:
    if not path.exists():
        return []
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    found = [json.loads(line) for line in lines]
    return [
        Recorded(each["story"], each["workflow"], WorkflowHistory.from_json(each["id"], each["history"]))
        for each in found
    ]


def releases() -> list[Path]:
    return sorted(FOLDER.glob("*.jsonl.gz"))


async def scrubbed(
    history: WorkflowHistory, codec: PayloadCodec, order_id: str, as_id: str
) -> WorkflowHistory:
    """The same history in plain text, about another order id, and without who ran it where."""
    for event in history.events:
        for payload in _payloads(event):
            [plain] = await codec.decode([payload])
            payload.CopyFrom(plain)
            payload.data = payload.data.replace(order_id.encode(), as_id.encode())
        for message in _messages(event):
            for field, value in message.ListFields():
                if field.name in ("identity", "request_id", "worker_version", "first_execution_run_id"):
                    message.ClearField(field.name)
                elif isinstance(value, str) and order_id in value:
                    setattr(message, field.name, value.replace(order_id, as_id))
    return WorkflowHistory(history.workflow_id.replace(order_id, as_id), history.events)


def commands(history: WorkflowHistory) -> list[str]:
    """What the workflow told the server to do, in order; times, ids and contents left out."""
    told: list[str] = []
    for event in history.events:
        name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
        if name == "ACTIVITY_TASK_SCHEDULED":
            told.append(event.activity_task_scheduled_event_attributes.activity_type.name)
        elif name == "MARKER_RECORDED":
            told.append(f"local {_of_marker(event)}")
        elif name.startswith(
            ("TIMER_STARTED", "TIMER_CANCELED", "WORKFLOW_EXECUTION_C", "WORKFLOW_EXECUTION_F")
        ):
            told.append(name.lower())
    return told


def activities(recorded: Sequence[Recorded]) -> Counter[str]:
    """How often each activity was asked for."""
    told = [name.removeprefix("local ") for each in recorded for name in commands(each.history)]
    return Counter(told)


def signals(recorded: Sequence[Recorded]) -> set[str]:
    return {
        event.workflow_execution_signaled_event_attributes.signal_name
        for each in recorded
        for event in each.history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    }


def endings(recorded: Sequence[Recorded]) -> Counter[str]:
    """How the runs ended; `open` for those that had not."""
    last = [EventType.Name(each.history.events[-1].event_type) for each in recorded]
    prefix = "EVENT_TYPE_WORKFLOW_EXECUTION_"
    return Counter(name.removeprefix(prefix) if name.startswith(prefix) else "open" for name in last)


def _of_marker(event: Any) -> str:
    details = event.marker_recorded_event_attributes.details
    [told] = details["data"].payloads if "data" in details else [None]
    return str(json.loads(told.data)["activity_type"]) if told else "marker"


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is None or isinstance(message, Payload):
            continue
        if field.message_type.GetOptions().map_entry:
            within: list[Any] = [each for each in value.values() if isinstance(each, Message)]
        else:
            within = list(value) if field.is_repeated else [value]
        for each in within:
            yield from _messages(each)


def _payloads(message: Message) -> list[Payload]:
    return [each for each in _messages(message) if isinstance(each, Payload)]
