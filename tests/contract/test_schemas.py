"""The published documents say what the code does, and both services implement their contracts."""

import inspect
import json
from collections.abc import Iterable

import jsonschema
import pytest

import fulfillment_service.events
import order_service.events
from contracts import fulfillment, order
from deploy import schemas
from fulfillment_service.workflow import FulfillmentWorkflow
from order_service.workflow import OrderWorkflow


@pytest.mark.parametrize("name", schemas.documents())
def test_a_published_document_is_what_the_code_promises(name: str):
    """When this fails, the promise changed: look at the difference, then run `python -m deploy.schemas`."""
    assert (schemas.FOLDER / name).read_text() == schemas.text_of(schemas.documents()[name])


def test_nothing_else_is_published():
    """A document nobody writes any more is deleted."""
    assert {path.name for path in schemas.FOLDER.iterdir()} == set(schemas.documents())


def test_the_message_schemas_are_valid_json_schema():
    """Integrators feed them to any JSON Schema tool."""
    document = json.loads((schemas.FOLDER / "messages.json").read_text())
    jsonschema.Draft202012Validator.check_schema(document)


@pytest.mark.parametrize(
    ("promised", "stored"),
    [
        (order.FACTS, order_service.events.FACTS),
        (fulfillment.FACTS, fulfillment_service.events.FACTS),
    ],
)
def test_every_fact_has_its_public_event(promised: Iterable[str], stored: Iterable[type]):
    """A fact that nobody promised would leave a gap in the sequence that readers count on."""
    assert sorted(promised) == sorted(fact.__name__ for fact in stored)


@pytest.mark.parametrize(
    ("promise", "workflow"),
    [(order.OrderApi, OrderWorkflow), (fulfillment.FulfillmentApi, FulfillmentWorkflow)],
)
def test_a_workflow_keeps_its_contract(promise: type, workflow: type):
    """No abstract method is left, and every signal and query has the promised name."""
    assert not inspect.isabstract(workflow)
    for name, method in inspect.getmembers(promise, inspect.isfunction):
        for mark in ("__temporal_signal_definition", "__temporal_query_definition"):
            promised = getattr(method, mark, None)
            kept = getattr(getattr(workflow, name), mark, None)
            if promised is not None:
                assert kept is not None, name
                assert kept.name == promised.name
    types = [getattr(each, "__temporal_workflow_definition").name for each in (promise, workflow)]
    assert types[0] == types[1]
