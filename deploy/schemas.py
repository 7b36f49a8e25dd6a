"""Writes what the services promise as documents: JSON Schemas, OpenAPI and AsyncAPI, in `contracts/schemas`.

`python -m deploy.schemas` writes them anew, on purpose; a contract test fails while they differ.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import fulfillment_service.bootstrap.api
import order_service.bootstrap.api
from contracts import fulfillment, order
from contracts.chassis.parking import dead_letters
from contracts.envelope import CommandOutcome, Receipt, Wish
from fulfillment_service.settings import FulfillmentApiSettings
from order_service.settings import OrderApiSettings

FOLDER = Path(__file__).parent.parent / "contracts" / "schemas"

_MESSAGES: tuple[type[BaseModel], ...] = (
    Wish,
    Receipt,
    CommandOutcome,
    order.FulfillmentCompleted,
    order.OrderEventData,
    order.OrderProgressView,
    order.OrderStatusView,
    order.PlaceOrder,
    order.UpdateOrder,
    fulfillment.FulfillmentEventData,
    fulfillment.FulfillmentProgressView,
    fulfillment.FulfillmentStatusView,
    fulfillment.StartFulfillment,
)

_CLOUD_EVENT = {
    "type": "object",
    "description": "CloudEvents 1.0 in Kafka's binary content mode.",
    "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_sequence"],
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {
            "type": "string",
            "format": "uuid",
            "description": "The event's id; the same in a repetition.",
        },
        "ce_type": {"type": "string"},
        "ce_source": {"type": "string"},
        "ce_subject": {"type": "string", "description": "The stream the fact belongs to."},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_sequence": {"type": "string", "pattern": "^[0-9]+$", "description": "Gapless within a subject."},
        "ce_correlationid": {"type": "string", "description": "The order id; also the record's key."},
        "ce_causationid": {"type": "string"},
        "ce_traceparent": {"type": "string"},
        "content-type": {"const": "application/json"},
    },
}

_DEAD_LETTER = {
    "type": "object",
    "description": "Beside the headers of the record as it came, which is the payload.",
    "required": [
        "dlq_id", "dlq_reason", "dlq_consumer", "dlq_topic", "dlq_partition", "dlq_offset", "dlq_key",
        "dlq_first_failed_at",
    ],
    "properties": {
        "dlq_id": {"type": "string", "description": "Its number in `GET /ops/parked` of that consumer."},
        "dlq_reason": {"type": "string"},
        "dlq_consumer": {"type": "string", "description": "Who could not apply it."},
        "dlq_topic": {"type": "string"},
        "dlq_partition": {"type": "string", "pattern": "^[0-9]+$"},
        "dlq_offset": {"type": "string", "pattern": "^[0-9]+$"},
        "dlq_key": {"type": "string", "description": "The order id; the letter's own key is `dlq:` and it."},
        "dlq_first_failed_at": {"type": "string", "format": "date-time"},
    },
}  # fmt: skip


def documents() -> dict[str, dict[str, Any]]:
    """Every document by its file name."""
    return {
        "messages.json": _json_schema(_MESSAGES),
        "order-service.openapi.json": order_service.bootstrap.api.application(OrderApiSettings()).openapi(),
        "fulfillment-service.openapi.json": fulfillment_service.bootstrap.api.application(
            FulfillmentApiSettings()
        ).openapi(),
        "events.asyncapi.json": _asyncapi(),
    }


def text_of(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _json_schema(models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    wanted = [(model, "validation") for model in models]
    _, schema = models_json_schema(wanted, by_alias=True, title="Tandem messages")  # type: ignore[arg-type]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _asyncapi() -> dict[str, Any]:
    """Both topics, with one message for each kind of fact."""
    data = (order.OrderEventData, fulfillment.FulfillmentEventData)
    sides = (
        (order.TOPIC, order.EVENT_TYPE_PREFIX, order.FACTS, "OrderEventData"),
        (fulfillment.TOPIC, fulfillment.EVENT_TYPE_PREFIX, fulfillment.FACTS, "FulfillmentEventData"),
    )
    messages: dict[str, Any] = {}
    channels: dict[str, Any] = {}
    for topic, prefix, facts, payload in sides:
        names = [order.event_type(fact, prefix) for fact in facts]
        for name in names:
            messages[name] = {
                "name": name,
                "contentType": "application/json",
                "headers": {"$ref": "#/components/schemas/CloudEvent"},
                "payload": {"$ref": f"#/components/schemas/{payload}"},
            }
        channels[topic] = {
            "address": topic,
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        }
        channels[dead_letters(topic)] = {
            "address": dead_letters(topic),
            "description": "What a reader of ours could not apply; see `GET /ops/parked`.",
            "messages": {"deadLetter": {"$ref": "#/components/messages/deadLetter"}},
        }
    messages["deadLetter"] = {"headers": {"$ref": "#/components/schemas/DeadLetter"}}
    schemas = json.loads(json.dumps(_json_schema(data)["$defs"]).replace("#/$defs/", "#/components/schemas/"))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tandem events",
            "version": "1",
            "description": "One public event for each fact, keyed by order id, in the order of its stream.",
        },
        "channels": channels,
        "operations": {
            f"publish-{topic}": {"action": "send", "channel": {"$ref": f"#/channels/{topic}"}}
            for topic in channels
        },
        "components": {
            "messages": messages,
            "schemas": {**schemas, "CloudEvent": _CLOUD_EVENT, "DeadLetter": _DEAD_LETTER},
        },
    }


def main() -> int:
    """The folder holds every document as the code has it now."""
    FOLDER.mkdir(exist_ok=True)
    for name, document in documents().items():
        (FOLDER / name).write_text(text_of(document))
        sys.stdout.write(f"wrote contracts/schemas/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
