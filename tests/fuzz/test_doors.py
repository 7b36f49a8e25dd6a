"""Whatever is asked of a door, it answers as its OpenAPI document says, and never with a 5xx."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, cast

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode

from tests.fuzz.asking import SEED, TIMES, Asked, Case, asking, fuzzing, operations_of, schema_of
from tests.integration.doors import Service

pytestmark = pytest.mark.timeout(600)
FEWEST = 2_500
"""Requests to each door by its document alone, in CI."""
FEWEST_CHAINED = 200
"""And in chains of them."""
SERVICES: tuple[Service, ...] = ("orders", "fulfillments")


@pytest.fixture(scope="module")
def asked(orders_url: str, fulfillments_url: str) -> Iterator[Asked]:
    with asking(orders_url, fulfillments_url) as asked:
        yield asked


def _fuzzer(asked: Asked, service: Service, operation: Any, mode: GenerationMode) -> Callable[[int], bool]:
    @fuzzing(6)
    @given(case=operation.as_strategy(generation_mode=mode), aim=st.integers(0, 999))
    def ask(case: Case, aim: int) -> None:
        asked.ask_about(service, case, aim)

    def fuzz(seed: int) -> bool:
        """False when there is no such case: any text is a path, so none can be wrong."""
        try:
            hypothesis.seed(seed)(ask)()
        except Unsatisfiable:
            return False
        return True

    return fuzz


@pytest.mark.parametrize("service", SERVICES)
def test_a_door_answers_as_it_says(asked: Asked, service: Service, capsys: pytest.CaptureFixture[str]):
    """Each operation with what it takes and what it does not: no 5xx, and the promised answer."""
    operations = operations_of(service)
    fuzzers = [_fuzzer(asked, service, each, mode) for each in operations for mode in GenerationMode]
    # All of them once, and then as many as it takes.
    fuzzers = [fuzz for fuzz in fuzzers if fuzz(SEED)]
    for seed, fuzz in ((seed, fuzz) for seed in count(SEED + 1) for fuzz in fuzzers):
        if asked.total(service) >= FEWEST * TIMES:
            break
        fuzz(seed)
    with capsys.disabled():
        print(f"\n{service}: {len(operations)} operations, {asked.summary(service)}")


@pytest.mark.parametrize("service", SERVICES)
def test_a_chain_of_requests_is_answered_as_the_document_says(
    asked: Asked, service: Service, capsys: pytest.CaptureFixture[str]
):
    """What one answer names, such as an order or a command, the next request is about."""

    class Chain(schema_of(service).as_state_machine()):
        def call(self, case: Case, **_: Any) -> Response:
            return cast("Any", Response).from_any(asked.ask(service, case))

        def validate_response(self, response: Response, case: Case, *_: Any, **__: Any) -> None:
            """Done while it was asked."""

    before = asked.total(service)
    Chain.run(settings=fuzzing(25, stateful_step_count=12, derandomize=True))
    chained = asked.total(service) - before
    with capsys.disabled():
        print(f"\n{service}: {chained} requests in chains")
    assert chained >= FEWEST_CHAINED * TIMES
