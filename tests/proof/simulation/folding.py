"""Each stored fact is read and folded once in a run, however often its stream is asked for.

A stream is read for every step of everybody, and facts never change: the same row is the same fact, and the
same fact after the same state makes the same state. What is rolled back goes with its row.
"""

# pyright: reportPrivateUsage=false
# The journal of a service is put together by its bootstrap; here it is given a memory.

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from contracts.chassis.event_store import Fact, Journal

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")
F = TypeVar("F", bound=Fact)


def remembering(journal: Journal[S, F]) -> Journal[S, F]:
    """The journal reads no row twice and folds no fact twice after the same others."""
    store: Any = journal._store
    store._read = _once(store._read)
    journal._evolve = _once(journal._evolve)
    return journal


def _once(function: Callable[P, T]) -> Callable[P, T]:
    """For the very same objects the answer is the one given before."""
    # The objects are kept with the answer, so that no other one ever has their ids.
    known: dict[tuple[int, ...], tuple[object, T]] = {}

    def remembered(*given: P.args, **named: P.kwargs) -> T:
        key = tuple(map(id, given))
        found = known.get(key)
        if found is None:
            found = known[key] = (given, function(*given, **named))
        return found[1]

    return remembered
