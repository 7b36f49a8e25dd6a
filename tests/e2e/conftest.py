"""The whole system as `tandem up` runs it, in folders of its own, and the people who use it."""

from collections.abc import Iterator

import pytest

from deploy.local.stack import Stack
from tests.e2e.people import Engineer, Operator, Shop


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), settings={"TANDEM_TELEMETRY_EXPORTER": "file"}) as stack:
        yield stack


@pytest.fixture(scope="session")
def rough_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A second one, whose processes are killed, stopped and started again."""
    with Stack(tmp_path_factory.mktemp("rough")) as stack:
        yield stack


@pytest.fixture
def shop(stack: Stack) -> Shop:
    return Shop(stack.url("order_service"))


@pytest.fixture
def operator(stack: Stack) -> Operator:
    return Operator(stack.url("fulfillment_service"))


@pytest.fixture
def engineer(stack: Stack) -> Engineer:
    return Engineer(stack)
