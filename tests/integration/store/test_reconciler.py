"""What the reconciler does about a case, whoever found it: repaired or told, once."""

import asyncio
from datetime import timedelta
from typing import Any, Literal

import pytest

from contracts.chassis import exceptions, told
from contracts.chassis.errors import Refused, Unavailable
from contracts.chassis.postgres import Connection, Database, Row
from contracts.chassis.reconciler import Finding, Kind, Reconciler, Repair, Rule, Seen, knocking
from tests.integration.store.tally import CAUSE, Added, adding, tally

AT_ONCE = timedelta(0)


def a_finding(**changes: Any) -> Finding:
    given: dict[str, Any] = {
        "kind": Kind.WORKFLOW_MISSING,
        "subject": "ORD-1",
        "stream": "tally-1",
        "reason": "nothing runs for it",
        "found": {"seen": True},
        "repair": knocking("workflow-1"),
    }
    return Finding(**(given | changes))


def rule_of(*findings: Finding) -> Rule:
    async def look(_: str) -> Seen:
        return Seen(findings)

    return Rule("a rule", look)


async def recorded(database: Database) -> list[str]:
    rows = await database.fetch("select action from reconciliations order by id")
    return [row["action"] for row in rows]


async def open_exceptions(database: Database) -> list[Row]:
    return await database.fetch("select * from exceptions where resolved_at is null order by raised_at")


async def knocked(database: Database) -> int:
    row = await database.fetch_one("select count(*) as knocks from knocks")
    return row["knocks"] if row else 0


async def test_a_case_is_repaired_and_recorded_once(database: Database):
    """Looked at again, nothing more is done about it before the pause is over."""
    reconciler = Reconciler(database, [rule_of(a_finding())])
    assert await reconciler.run() == {"WORKFLOW_MISSING": 1}
    assert await reconciler.run() == {}
    assert await recorded(database) == ["KNOCKED"]
    assert await knocked(database) == 1
    assert await open_exceptions(database) == []


async def test_two_at_once_act_once(database: Database):
    """A reconciler that runs twice meets itself at the case."""
    twins = [Reconciler(database, [rule_of(a_finding(), a_finding(subject="ORD-2"))]) for _ in range(4)]
    await asyncio.gather(*(twin.run() for twin in twins))
    assert await recorded(database) == ["KNOCKED", "KNOCKED"]
    assert await knocked(database) == 2


async def test_what_repairs_do_not_cure_is_told_once(database: Database):
    """After its tries it is one for a person, and no minute adds another row."""
    reconciler = Reconciler(
        database, [rule_of(a_finding(repair=knocking("workflow-1", tries=2)))], pause=AT_ONCE
    )
    for _ in range(6):
        await reconciler.run()
    assert await recorded(database) == ["KNOCKED", "KNOCKED", "RAISED"]
    (raised,) = await open_exceptions(database)
    assert (raised["code"], raised["fault"], raised["step"], raised["subject"]) == (
        "DOES_NOT_ADD_UP",
        "mismatch",
        "WORKFLOW_MISSING",
        "ORD-1",
    )
    row = await database.fetch_one("select exception_id from reconciliations where action = 'RAISED'")
    assert row == {"exception_id": raised["id"]}


async def test_a_case_of_another_mark_is_another_case(database: Database):
    """The workflow that was ended once more is knocked once more, without waiting."""
    for mark in ("run-1", "run-2"):
        await Reconciler(database, [rule_of(a_finding(mark=mark))]).run()
    assert await recorded(database) == ["KNOCKED", "KNOCKED"]


async def test_what_only_an_alert_tells_is_no_exception(database: Database):
    """Of an outage of Kafka nobody needs to be told order by order."""
    finding = a_finding(is_for_a_person=False)
    for _ in range(3):
        await Reconciler(database, [rule_of(finding)], pause=AT_ONCE).run()
    assert await recorded(database) == ["KNOCKED"]
    assert await open_exceptions(database) == []


async def test_a_stream_that_has_moved_on_is_left_alone(database: Database):
    """Between the look and the repair the order went on by itself."""
    await tally(database).change("tally-1", CAUSE, adding(1))
    await tally(database).change("tally-1", CAUSE, adding(1))
    await Reconciler(database, [rule_of(a_finding(version=1))]).run()
    assert await recorded(database) == []
    await Reconciler(database, [rule_of(a_finding(version=2))]).run()
    assert await recorded(database) == ["KNOCKED"]


async def test_an_exception_is_over_once_its_stream_has_moved_on(database: Database):
    """Nobody has to close by hand what went on by itself; what has no version stays."""
    await tally(database).change("tally-1", CAUSE, adding(1))
    stuck = a_finding(version=1, repair=None)
    lasting = a_finding(kind=Kind.STOCK_SUM, repair=None)
    await Reconciler(database, [rule_of(stuck, lasting)]).run()
    assert len(await open_exceptions(database)) == 2
    await tally(database).change("tally-1", CAUSE, adding(1))
    await Reconciler(database, []).run()
    assert [row["step"] for row in await open_exceptions(database)] == ["STOCK_SUM"]


async def test_a_repair_outside_comes_before_its_row(database: Database):
    """Killed in between, it is made again; what answers no makes it a case for a person."""
    calls: list[str] = []

    async def away() -> None:
        calls.append("away")
        raise Unavailable

    async def done() -> None:
        calls.append("done")

    async def refused() -> None:
        raise Refused

    before = await database.fetch_one("select looked_at from reconciler_rules where rule = 'all'")
    await Reconciler(database, [rule_of(a_finding(repair=Repair("ASKED", outside=away)))]).run()
    assert await recorded(database) == []
    assert await database.fetch_one("select looked_at from reconciler_rules where rule = 'all'") == before
    for _ in range(2):
        await Reconciler(database, [rule_of(a_finding(repair=Repair("ASKED", outside=done)))]).run()
    assert calls == ["away", "done"]
    other = a_finding(subject="ORD-2", repair=Repair("ASKED", outside=refused))
    await Reconciler(database, [rule_of(other)]).run()
    assert await recorded(database) == ["ASKED", "RAISED"]


async def test_a_repair_inside_that_is_refused_leaves_nothing(database: Database):
    """What it had written goes back with it, and a person is told."""

    async def refuse(connection: Connection) -> None:
        await connection.execute("insert into knocks (workflow_id, signal) values ('w', 'knock')")
        raise Refused

    await Reconciler(database, [rule_of(a_finding(repair=Repair("MOVED", inside=refuse)))]).run()
    assert await recorded(database) == ["RAISED"]
    assert await knocked(database) == 0


async def says(database: Database, how: Literal["retry", "skip"]) -> None:
    """A person has, of the one that is open."""
    (row,) = await open_exceptions(database)
    async with database.transaction() as connection:
        assert await exceptions.resolve_one(connection, row["id"], resolution=how, by="ada")
        await told.answer(connection, row["id"], how, "ada")


async def test_what_a_person_retries_is_a_new_case(database: Database):
    """What is safe to repair is repaired again at once, and told anew if that does not help."""
    reconciler = Reconciler(database, [rule_of(a_finding())], pause=AT_ONCE)
    for _ in range(3):
        await reconciler.run()
    await says(database, "retry")
    for _ in range(3):
        await reconciler.run()
    assert await recorded(database) == ["KNOCKED", "RAISED", "RETRIED", "KNOCKED", "RAISED"]
    (row,) = await open_exceptions(database)
    assert row["resolutions"] == ["retry", "skip"]
    await says(database, "retry")
    patient = Reconciler(database, [rule_of(a_finding())])
    for _ in range(2):
        await patient.run()
    assert (await recorded(database))[5:] == ["RETRIED", "KNOCKED"]


async def test_what_a_person_leaves_is_told_again_after_a_day(database: Database):
    """Not sooner, and without another repair."""
    reconciler = Reconciler(database, [rule_of(a_finding(repair=None))], pause=AT_ONCE)
    await reconciler.run()
    await says(database, "skip")
    for _ in range(2):
        await reconciler.run()
    assert await recorded(database) == ["RAISED", "SKIPPED"]
    await database.execute("update reconciliations set at = at - interval '25 hours'")
    await reconciler.run()
    assert await recorded(database) == ["RAISED", "SKIPPED", "RAISED"]


async def test_what_is_met_only_once_is_met_again_for_a_person(database: Database):
    """Until it was looked at, also while somebody is away; what is well by now is recorded as that."""
    still: list[Finding | Exception] = [Unavailable(), a_finding(repair=None)]

    async def look(cursor: str) -> Seen:
        return Seen([] if cursor else [a_finding(repair=None)], cursor="met")

    async def again(stream: str) -> list[Finding]:
        assert stream == "tally-1"
        if not still:
            return []
        found = still.pop(0)
        if isinstance(found, Exception):
            raise found
        return [found, a_finding(kind=Kind.STOCK_SUM)]

    rule = Rule("once", look, kinds=(Kind.WORKFLOW_MISSING,), again=again)
    for expected in ("RAISED", "RETRIED", "RAISED", "FOUND_WELL"):
        await Reconciler(database, [rule]).run()
        assert (await recorded(database))[-1] == expected
        if expected == "RAISED":
            await says(database, "retry")
    await Reconciler(database, [rule]).run()
    assert await recorded(database) == ["RAISED", "RETRIED", "RAISED", "RETRIED", "FOUND_WELL"]


async def test_a_rare_rule_looks_at_once_for_a_person(database: Database):
    """Who retries does not wait for its hour; and after that it is rare again."""
    looks: list[str] = []

    async def look(cursor: str) -> Seen:
        looks.append(cursor)
        return Seen([a_finding(repair=None)])

    rule = Rule("rare", look, timedelta(hours=1), (Kind.WORKFLOW_MISSING,))
    await Reconciler(database, [rule]).run()
    await says(database, "retry")
    for _ in range(3):
        await Reconciler(database, [rule]).run()
    assert len(looks) == 2
    assert await recorded(database) == ["RAISED", "RETRIED", "RAISED"]


async def test_a_rule_that_fails_keeps_no_other_from_looking(database: Database):
    """Its error comes at the end, and the last complete look stays the one before."""

    async def broken(_: str) -> Seen:
        raise ValueError("broken")

    before = await database.fetch_one("select looked_at from reconciler_rules where rule = 'all'")
    with pytest.raises(ValueError, match="broken"):
        await Reconciler(database, [Rule("broken", broken), rule_of(a_finding())]).run()
    assert await recorded(database) == ["KNOCKED"]
    assert await database.fetch_one("select looked_at from reconciler_rules where rule = 'all'") == before


async def test_a_look_goes_on_where_the_last_one_ended(database: Database):
    """Page after page while there is more; the next run begins behind them."""
    cursors: list[str] = []

    async def look(cursor: str) -> Seen:
        cursors.append(cursor)
        number = int(cursor or 0) + 1
        return Seen(cursor=str(number), has_more=number % 3 != 0)

    for _ in range(2):
        await Reconciler(database, [Rule("pages", look)]).run()
    assert cursors == ["", "1", "2", "3", "4", "5"]


async def test_a_rare_rule_looks_rarely(database: Database):
    """What reads whole tables waits for its hour."""
    looks: list[str] = []

    async def look(cursor: str) -> Seen:
        looks.append(cursor)
        return Seen()

    for _ in range(3):
        await Reconciler(database, [Rule("rare", look, every=timedelta(hours=1))]).run()
    assert len(looks) == 1


async def test_patience_begins_anew_after_a_gap(database: Database):
    """While the house was down nobody could move, so nothing of that time is late."""
    await database.execute(
        "update reconciler_rules set looked_at = now() - %(ago)s, steady_since = now() - interval '9 days'",
        ago=timedelta(minutes=5),
    )
    await Reconciler(database, []).run()
    steady = "select steady_since < now() - interval '8 days' as is_old from reconciler_rules"
    assert await database.fetch_one(steady) == {"is_old": True}
    await database.execute("update reconciler_rules set looked_at = now() - interval '1 hour'")
    await Reconciler(database, []).run()
    assert await database.fetch_one(steady) == {"is_old": False}


async def test_facts_are_never_cleaned_up(database: Database):
    """A trigger forbids it, whoever asks."""
    await tally(database).change("tally-1", CAUSE, adding(1))
    with pytest.raises(Exception, match="never changed or deleted"):
        await database.execute("delete from events")
    assert Added
