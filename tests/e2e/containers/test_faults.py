"""Two of each process, one after the other killed, frozen, restarted and cut off with orders in flight.

What a dead or cut worker had in hand is given to its twin after its time is over, so each kind of fault is
looked at once, after all of its rounds."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product

import pytest

from tests.e2e.containers import topics
from tests.e2e.containers.evidence import Auditor
from tests.e2e.containers.house import (
    DATABASE,
    ENGINES,
    KAFKA,
    NETWORKS,
    PROCESSES,
    PROVIDERS,
    ROLES,
    SERVICES,
    TEMPORAL,
    House,
    Member,
)
from tests.e2e.crowd import Crowd
from tests.e2e.people import Engineer, Shop, eventually

FROZEN_SECONDS = 12
"""Longer than a relay's lease and a workflow task, ten seconds each."""
CUT_SECONDS = 45
"""Longer than an activity may take, 40 seconds, and than every time-out below it."""
BEFORE, MEANWHILE, AFTER = range(3), range(3, 6), range(6, 8)
"""The orders of a round: on their way when it happens, placed while it lasts, placed when it is over."""

PAIRS = [tuple(f"{service}-{role}{twin}" for service in SERVICES) for role in ROLES for twin in ("", "-2")]
"""The same process of both services; their twins go on meanwhile."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="session")
def other_crowd(house: House, engineer: Engineer) -> Crowd:
    """Shops that come by the second door."""
    return Crowd(Shop(house.url("order-api-2")), engineer)


def placed(door: Crowd, what: str, numbers: range) -> list[str]:
    """Orders under keys of their own."""
    return door.place(what.replace(" ", "-"), numbers)


def test_each_container_is_killed(house: House, crowd: Crowd, other_crowd: Crowd, auditor: Auditor):
    """`docker kill`: every order ships once, whoever died meanwhile."""
    rounds: dict[str, list[str]] = {}
    for victims in (*PAIRS, *((engine,) for engine in ENGINES)):
        door = other_crowd if "order-api" in victims else crowd
        what = f"killed {' and '.join(victims)}"
        rounds[what] = placed(door, what, BEFORE)
        since = {victim: house[victim].started_at() for victim in victims}
        for victim in victims:
            house[victim].kill()
        if victims[0] in PROCESSES:
            rounds[what] += placed(door, what, MEANWHILE)
        for victim in victims:
            house[victim].start()
        for victim in victims:
            house[victim].wait_ready()
            assert house[victim].started_at() != since[victim]
        rounds[what] += placed(crowd, what, AFTER)
    auditor.audit_each(rounds, shipped=True)


def test_each_container_stands_still(house: House, crowd: Crowd, other_crowd: Crowd, auditor: Auditor):
    """`docker pause`, longer than leases and workflow tasks: who wakes up believes nothing it knew."""
    rounds: dict[str, list[str]] = {}
    groups: list[tuple[str, Sequence[str]]] = [
        ("the first of each process", [name for name in PROCESSES if not name.endswith("-2")]),
        ("the second of each process", [name for name in PROCESSES if name.endswith("-2")]),
        *((engine, [engine]) for engine in ENGINES),
    ]
    for who, victims in groups:
        door = other_crowd if "order-api" in victims else crowd
        what = f"frozen {who}"
        rounds[what] = placed(door, what, BEFORE)
        for victim in victims:
            house[victim].freeze()
        if DATABASE not in victims:
            rounds[what] += placed(door, what, MEANWHILE)
        time.sleep(FROZEN_SECONDS if len(victims) > 1 else FROZEN_SECONDS / 3)
        for victim in victims:
            house[victim].thaw()
        for victim in victims:
            house[victim].wait_ready()
        rounds[what] += placed(crowd, what, AFTER)
    auditor.audit_each(rounds, shipped=True)


def test_a_rolling_restart_of_everything(house: House, crowd: Crowd, other_crowd: Crowd, auditor: Auditor):
    """Each process ends by itself, with 0, and its twin carries on; engines come back to the same data."""
    rounds: dict[str, list[str]] = {}
    for roles, twin in product((("api", "relay"), ("worker", "consumer")), ("", "-2")):
        victims = [f"{service}-{role}{twin}" for service in SERVICES for role in roles]
        door = other_crowd if "order-api" in victims else crowd
        what = f"restarted {' and '.join(victims)}"
        rounds[what] = placed(door, what, BEFORE)
        with ThreadPoolExecutor() as pool:
            assert list(pool.map(Member.stop, [house[victim] for victim in victims])) == [0] * len(victims)
        rounds[what] += placed(door, what, MEANWHILE)
        for victim in victims:
            house[victim].start()
        for victim in victims:
            house[victim].wait_ready()
    for engine in ENGINES:
        what = f"restarted {engine}"
        rounds[what] = placed(crowd, what, BEFORE)
        house[engine].restart()
        house[engine].wait_ready()
        rounds[what] += placed(crowd, what, AFTER)
    auditor.audit_each(rounds, shipped=True)


def test_a_rebalance_in_the_middle(house: House, crowd: Crowd, auditor: Auditor):
    """A consumer leaves its group and comes back while records flow: none is lost, none applied twice."""
    groups = ("order-service", "fulfillment-service")
    second = [f"{service}-consumer-2" for service in SERVICES]

    def sizes() -> list[int]:
        return [topics.members(house.kafka_servers, group) for group in groups]

    eventually(sizes, lambda found: found == [2, 2], within_seconds=60)
    orders = placed(crowd, "rebalance", BEFORE)
    for name in second:
        assert house[name].stop() == 0
    orders += placed(crowd, "rebalance", MEANWHILE)
    eventually(sizes, lambda found: found == [1, 1], within_seconds=60)
    for name in second:
        house[name].start()
    orders += placed(crowd, "rebalance", AFTER)
    eventually(sizes, lambda found: found == [2, 2], within_seconds=60)
    auditor.audit("rebalanced", orders, shipped=True)


def test_networks_are_cut(house: House, crowd: Crowd, auditor: Auditor):
    """One of two from its engine, then everyone from each engine, longer than every time-out there is."""
    rounds = {
        "one worker, relay and consumer of each service cut off": one_of_two_is_cut_off(house, crowd),
        "everyone cut off from the providers and one engine more": everyone_is_cut_off(house, crowd),
    }
    auditor.audit_each(rounds, shipped=True)


def one_of_two_is_cut_off(house: House, crowd: Crowd) -> list[str]:
    """Workers from Temporal, relays from Kafka, consumers from their database; their twins go on."""
    cuts = [("worker", TEMPORAL), ("relay", KAFKA), ("consumer", DATABASE)]
    orders = placed(crowd, "one cut", BEFORE)
    with ExitStack() as cut:
        for role, engine in cuts:
            for service in SERVICES:
                cut.enter_context(house.cut(f"{service}-{role}", engine))
        began = time.monotonic()
        orders += placed(crowd, "one cut", MEANWHILE)
        time.sleep(max(0.0, CUT_SECONDS - (time.monotonic() - began)))
    for role, _ in cuts:
        for service in SERVICES:
            house[f"{service}-{role}"].wait_ready(120)
    return orders + placed(crowd, "one cut", AFTER)


def everyone_is_cut_off(house: House, crowd: Crowd) -> list[str]:
    """From the providers all the time, and meanwhile from database, Temporal and Kafka, one by one."""
    orders = placed(crowd, "all cut", BEFORE)
    with house.cut(PROVIDERS, PROVIDERS):
        for engine in (name for name in NETWORKS if name != PROVIDERS):
            with house.cut(engine, engine):
                time.sleep(CUT_SECONDS / 3)
            orders += placed(crowd, f"all cut off from {engine}", MEANWHILE)
    for name in PROCESSES:
        house[name].wait_ready(120)
    return orders + placed(crowd, "all cut", AFTER)


def test_nothing_is_lost_and_nothing_is_doubled(crowd: Crowd, auditor: Auditor):
    """Over the whole run: one order for each key, and the stock adds up to the last piece."""
    assert crowd.doubles() == {}
    auditor.audit_stock()
