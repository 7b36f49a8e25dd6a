"""What waits for a person: raised once while it lasts, claimed by one, resolved for good."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from contracts.chassis import exceptions
from contracts.chassis.errors import NotFound, Refused
from contracts.chassis.exceptions import Trouble
from contracts.chassis.postgres import Database, Row
from contracts.values import Code

TROUBLE = Trouble(
    stream="order-1",
    subject="1",
    code=Code.STEP_PARKED,
    fault="transient",
    step="capture",
    reason="the provider does not answer",
    evidence={"attempts": 12, "error": "UNAVAILABLE"},
    resolutions=("retry", "skip"),
)


async def raised(database: Database, trouble: Trouble = TROUBLE) -> Row:
    async with database.transaction() as connection:
        exception_id = await exceptions.raise_(connection, trouble)
    return await exceptions.find(database, exception_id)


async def resolved(database: Database, trouble: Trouble = TROUBLE, by: str = "ada") -> None:
    async with database.transaction() as connection:
        await exceptions.resolve(
            connection, trouble.stream, trouble.code, step=trouble.step, resolution="retry", by=by
        )


async def test_what_is_raised_is_open_with_all_that_is_known(database: Database):
    """The row says what, why, how often it was tried and what may be done."""
    row = await raised(database)
    assert (row["subject"], row["code"], row["fault"], row["step"]) == (
        "1", "STEP_PARKED", "transient", "capture",
    )  # fmt: skip
    assert row["evidence"] == {"attempts": 12, "error": "UNAVAILABLE"}
    assert row["resolutions"] == ["retry", "skip"]
    assert row["resolved_at"] is None
    assert row["age_seconds"] >= 0


async def test_raised_again_it_is_the_same_with_newer_evidence(database: Database):
    """It keeps its id and its age while it lasts, so that it can grow old."""
    first = await raised(database)
    again = await raised(database, replace(TROUBLE, evidence={"attempts": 24}, fault="dependency-down"))
    assert (again["id"], again["raised_at"]) == (first["id"], first["raised_at"])
    assert (again["evidence"], again["fault"]) == ({"attempts": 24}, "dependency-down")
    assert len(await exceptions.page(database)) == 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(TROUBLE, step="undo"), id="another step"),
        pytest.param(replace(TROUBLE, step=None), id="no step"),
        pytest.param(replace(TROUBLE, code=Code.STORE_BEHIND), id="another code"),
        pytest.param(replace(TROUBLE, stream="order-2"), id="another stream"),
    ],
)
async def test_what_differs_is_open_beside_it(database: Database, other: Trouble):
    """One row is open for each stream, code and step."""
    first, second = await raised(database), await raised(database, other)
    assert first["id"] != second["id"]
    assert (await raised(database, other))["id"] == second["id"]


async def test_raised_by_many_at_once_it_is_one(database: Database):
    """All who raise it are told the same id."""
    rows = await asyncio.gather(*(raised(database, replace(TROUBLE, step=None)) for _ in range(8)))
    assert len({row["id"] for row in rows}) == 1


async def test_after_it_was_resolved_it_is_raised_anew(database: Database):
    """The resolved row stays, and says how and by whom."""
    first = await raised(database)
    await resolved(database)
    second = await raised(database)
    assert second["id"] != first["id"]
    rows = await exceptions.page(database, resolved=True)
    assert [(row["resolution"], row["resolved_by"]) for row in rows] == [("retry", "ada"), (None, None)]


async def test_resolved_twice_the_first_one_counts(database: Database):
    """Who comes later changes nothing."""
    row = await raised(database)
    await resolved(database, by="ada")
    await resolved(database, by="bob")
    assert (await exceptions.find(database, row["id"]))["resolved_by"] == "ada"
    async with database.transaction() as connection:
        assert not await exceptions.resolve_one(connection, row["id"], resolution="skip", by="bob")


async def test_it_can_be_resolved_by_its_id(database: Database):
    """As for what no fact of the stream raised."""
    row = await raised(database, replace(TROUBLE, code=Code.STORE_BEHIND, fault="mismatch"))
    async with database.transaction() as connection:
        assert await exceptions.resolve_one(connection, row["id"], resolution="skip", by="ada")
    assert await exceptions.page(database) == []


async def test_a_fact_gives_its_own_id(database: Database):
    """So a projection that is made anew makes the very same rows."""
    known = uuid4()
    assert (await raised(database, replace(TROUBLE, id=known)))["id"] == known


async def test_what_is_open_is_listed_longest_waiting_first(database: Database):
    """Page by page, and by what it is about."""
    rows = [await raised(database, replace(TROUBLE, stream=f"order-{n}", subject=str(n))) for n in range(5)]
    first = await exceptions.page(database, limit=3)
    last = first[-1]
    rest = await exceptions.page(database, after=(last["raised_at"], str(last["id"])))
    assert [row["id"] for row in (*first, *rest)] == [row["id"] for row in rows]
    assert [row["subject"] for row in await exceptions.page(database, subject="3")] == ["3"]


async def test_one_person_claims_it(database: Database):
    """A second one is refused and told who works on it; the first one may say it again."""
    row = await raised(database)
    claimed = await exceptions.claim(database, row["id"], "ada")
    assert (await exceptions.claim(database, row["id"], "ada"))["claimed_at"] == claimed["claimed_at"]
    with pytest.raises(Refused) as refusal:
        await exceptions.claim(database, row["id"], "bob")
    assert refusal.value.code == Code.ALREADY_CLAIMED
    assert refusal.value.extensions["claimedBy"] == "ada"


async def test_a_claim_is_lifted_by_anyone(database: Database):
    """Whoever made it may be gone."""
    row = await raised(database)
    await exceptions.claim(database, row["id"], "ada")
    assert (await exceptions.release(database, row["id"]))["claimed_by"] is None
    assert (await exceptions.claim(database, row["id"], "bob"))["claimed_by"] == "bob"


async def test_of_many_who_claim_at_once_one_has_it(database: Database):
    """The others are refused."""
    row = await raised(database)
    claims = [exceptions.claim(database, row["id"], name) for name in ("a", "b", "c", "d")]
    answers = await asyncio.gather(*claims, return_exceptions=True)
    assert sum(isinstance(answer, Refused) for answer in answers) == 3


async def test_what_is_resolved_cannot_be_claimed(database: Database):
    """There is nothing to work on."""
    row = await raised(database)
    await resolved(database)
    with pytest.raises(Refused, match="resolved"):
        await exceptions.claim(database, row["id"], "ada")


async def test_nobody_raised_it(database: Database):
    """An unknown id is not found."""
    with pytest.raises(NotFound):
        await exceptions.claim(database, uuid4(), "ada")


async def test_what_is_claimed_is_free_for_whoever_claimed_it_alone(database: Database):
    """Unclaimed and released it is free for all, and so is what is resolved; the refusal names the way in."""
    row = await raised(database)
    exceptions.expect_free(row, "bob")
    row = await exceptions.claim(database, row["id"], "ada")
    exceptions.expect_free(row, "ada")
    with pytest.raises(Refused, match="ada works on it; `release` of exception") as refusal:
        exceptions.expect_free(row, "bob")
    assert (refusal.value.code, refusal.value.extensions["claimedBy"]) == (Code.ALREADY_CLAIMED, "ada")
    assert [each["id"] for each in await exceptions.claimed(database, "1")] == [row["id"]]
    exceptions.expect_free(await exceptions.release(database, row["id"]), "bob")
    assert await exceptions.claimed(database, "1") == []
    await exceptions.claim(database, row["id"], "ada")
    await resolved(database)
    exceptions.expect_free(await exceptions.find(database, row["id"]), "bob")
