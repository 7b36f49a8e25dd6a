"""Who moves which bucket: leases on the database's clock, shared evenly among the relays that are alive.

Leases keep relays from doing each other's work. What makes that safe is the fence: each new owner of a bucket
has a higher one, and rows are marked under the fence they were read with.
"""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import LiteralString

from contracts.chassis.postgres import Database

BUCKETS = 16
"""Frozen: an order's bucket, and with it its partition, must never change."""

_PRESENT: LiteralString = """
    insert into outbox_relays (owner, seen_at)
    values (%(owner)s, clock_timestamp())
    on conflict (owner) do update set seen_at = excluded.seen_at
    """

_FORGET_ABSENT: LiteralString = "delete from outbox_relays where seen_at < now() - %(lease)s * 6"

# A relay that was silent for a whole lease no longer counts.
_ALIVE: LiteralString = "select owner from outbox_relays where seen_at > now() - %(lease)s order by owner"

_RENEW: LiteralString = """
    update outbox_leases
    set expires_at = clock_timestamp() + %(lease)s
    where owner = %(owner)s
      and expires_at > clock_timestamp()
    returning bucket, fence
    """

_RELEASE: LiteralString = """
    update outbox_leases
    set owner = null,
        expires_at = clock_timestamp()
    where owner = %(owner)s
      and bucket = any(%(buckets)s)
    """

_ACQUIRE: LiteralString = """
    update outbox_leases
    set owner = %(owner)s,
        fence = fence + 1,
        expires_at = clock_timestamp() + %(lease)s
    where bucket in (
        select bucket
        from outbox_leases
        where expires_at <= clock_timestamp()
        order by bucket
        limit %(wanted)s
        for update skip locked
    )
    returning bucket, fence
    """


class Leases:
    """The buckets of one relay, each with the fence of its lease."""

    def __init__(self, database: Database, owner: str, seconds: float) -> None:
        self.owner = owner
        self.held: Mapping[int, int] = {}
        """Bucket → fence."""
        self.due_at = 0.0
        """When the leases want renewing, on our own monotonic clock."""
        self._database = database
        self._seconds = seconds
        self._good_until = 0.0

    @property
    def are_due(self) -> bool:
        return time.monotonic() >= self.due_at

    @property
    def ran_out(self) -> bool:
        return time.monotonic() > self._good_until

    def lose(self) -> None:
        """Nothing is ours until we ask again, which is due now."""
        self.held, self.due_at = {}, 0.0

    async def hold(self) -> None:
        """We have our share of the buckets, or what is free of it."""
        # Taken before the database is asked: our clock never says good when the database's says expired.
        asked_at = time.monotonic()
        parameters = {"owner": self.owner, "lease": timedelta(seconds=self._seconds)}
        async with self._database.transaction() as connection:
            await connection.queue(_PRESENT, parameters)
            await connection.queue(_FORGET_ABSENT, parameters)
            renewing = await connection.queue(_RENEW, parameters)
            alive = await (await connection.queue(_ALIVE, parameters)).fetchall()
            held = {row["bucket"]: row["fence"] for row in await renewing.fetchall()}
            share = share_of([row["owner"] for row in alive], self.owner)
            if surplus := sorted(held)[share:]:
                await connection.queue(_RELEASE, parameters | {"buckets": surplus})
                held = {bucket: fence for bucket, fence in held.items() if bucket not in surplus}
            elif wanted := share - len(held):
                acquired = await connection.queue(_ACQUIRE, parameters | {"wanted": wanted})
                held |= {row["bucket"]: row["fence"] for row in await acquired.fetchall()}
        # Soon again while buckets of ours are still another's: it gives them up, or its leases run out.
        self.due_at = asked_at + self._seconds / (3 if len(held) >= share else 15)
        self._good_until = asked_at + self._seconds * 0.8
        self.held = held

    async def release(self) -> None:
        """The buckets are free for others at once, and we no longer count."""
        buckets = list(self.held)
        self.lose()
        async with self._database.transaction() as connection:
            await connection.queue(_RELEASE, {"owner": self.owner, "buckets": buckets})
            await connection.queue("delete from outbox_relays where owner = %s", (self.owner,))


def share_of(alive: list[str], owner: str) -> int:
    """How many buckets this relay takes; the shares of all who are alive add up to all buckets."""
    each, rest = divmod(BUCKETS, len(alive))
    return each + (alive.index(owner) < rest)
