"""What a circuit breaker decides, without its row."""

from datetime import UTC, datetime

import pytest
from purgatory.domain.model import Context

from contracts.chassis.breakers import Circuit, State
from contracts.chassis.errors import Unavailable

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def circuit(
    state: State, *, failures: int = 0, open_seconds: float | None = None, probe_seconds: float | None = None
) -> Circuit:
    return Circuit("payments", state, failures, 3, 10.0, open_seconds, probe_seconds, None, NOW)


def fails(context: Context) -> None:
    context.handle_exception(Unavailable())


answers, asks = Context.handle_end_request, Context.handle_new_request


@pytest.mark.parametrize(("failures", "then"), [(0, ("CLOSED", 1)), (1, ("CLOSED", 2)), (2, ("OPEN", 0))])
def test_the_threshold_of_failures_in_a_row_opens_it(failures: int, then: tuple[State, int]):
    assert circuit("CLOSED", failures=failures).turned(fails) == then


def test_an_answer_ends_the_row():
    assert circuit("CLOSED", failures=2).turned(answers) == ("CLOSED", 0)


def test_the_cool_down_goes_by_the_database_s_clock():
    """While something of it is left nobody may ask; then whoever asks makes it HALF_OPEN."""
    assert circuit("OPEN", open_seconds=0.1).turned(asks) == ("OPEN", 0)
    assert circuit("OPEN", open_seconds=0).turned(asks) == ("HALF_OPEN", 0)


@pytest.mark.parametrize(("handle", "then"), [(fails, "OPEN"), (answers, "CLOSED")])
def test_the_probe_decides(handle: object, then: State):
    assert circuit("HALF_OPEN", probe_seconds=5).turned(handle)[0] == then  # pyright: ignore[reportArgumentType]


def test_who_is_turned_away_knows_for_how_long():
    """The rest of the cool-down, half of one while a probe is out, and a fixed time after a trip by hand."""
    assert circuit("CLOSED").closed_to_all is None
    assert circuit("OPEN", open_seconds=4).closed_to_all == 4
    assert circuit("OPEN", open_seconds=-1).closed_to_all is None
    assert circuit("OPEN").closed_to_all == 30
    assert circuit("HALF_OPEN", probe_seconds=50).closed_to_all == 5
    assert circuit("HALF_OPEN", probe_seconds=-1).closed_to_all is None


def test_what_was_tripped_by_hand_stays_open():
    """No cool-down ends it."""
    assert circuit("OPEN").turned(asks) == ("OPEN", 0)
