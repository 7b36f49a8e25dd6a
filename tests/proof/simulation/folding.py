"""Each stored fact is read and folded once in a run, however often its stream is asked for.

A stream is read for every step of everybody, and facts never change: the same row is the same fact, and the
same fact after the same state makes the same state. What is rolled back goes with its row.
"""

# pyright: reportPrivateUsage=false
# The journal of a service is put together by its bootstrap; here it is given a memory.

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from contracts.chassis.event_store import Fact, Journal

T = TypeVar("T")
S = TypeVar("S")
F = TypeVar("F", bound=Fact)


def remembering(journal: Journal[S, F]) -> Journal[S, F]:
    """The journal reads no row twice and folds no fact twice after the same others."""
    changed: Any = journal
    changed._store._read = _once(changed._store._read)
    changed._folded = _folding(journal._evolve)
    return journal


# Answers are found by the ids of what was given, and keep it, so that no other object ever has these ids.


def _once(function: Callable[[Any], T]) -> Callable[[Any], T]:
    """For the very same object the answer is the one given before."""
    known: dict[int, tuple[object, T]] = {}

    def remembered(given: Any) -> T:
        found = known.get(id(given))
        if found is None:
            found = known[id(given)] = (given, function(given))
        return found[1]

    return remembered


def _folding(evolve: Callable[[S | None, F], S]) -> Callable[[S | None, Iterable[F]], list[S]]:
    """The state after each of the facts; those that are known are not folded again."""
    known: dict[tuple[int, ...], tuple[object, list[S]]] = {}

    def folded(state: S | None, facts: Iterable[F]) -> list[S]:
        given = list(facts)
        if not given:
            return []
        key = (id(state), *map(id, given))
        found = known.get(key)
        if found is None:
            earlier = folded(state, given[:-1])
            last = evolve(earlier[-1] if earlier else state, given[-1])
            found = known[key] = ((state, given), [*earlier, last])
        return found[1]

    return folded
