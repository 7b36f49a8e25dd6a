"""The small pure parts of the store."""

from pydantic import BaseModel

from contracts.chassis import leases
from contracts.chassis.receipts import request_hash


class Body(BaseModel):
    name: str
    amount: int


def test_the_shares_of_all_relays_are_all_buckets():
    """However many relays are alive, their shares add up and differ by one at most."""
    for number in range(1, 20):
        alive = [f"relay-{each:02}" for each in range(number)]
        shares = [leases.share_of(alive, owner) for owner in alive]
        assert sum(shares) == leases.BUCKETS
        assert max(shares) - min(shares) <= 1


def test_the_same_request_has_the_same_hash():
    """The order of fields does not matter, their values and the place of each part do."""
    body = Body(name="a", amount=1)
    assert request_hash("/orders", body) == request_hash("/orders", Body(amount=1, name="a"))
    different = {
        request_hash("/orders", body),
        request_hash("/orders", Body(name="a", amount=2)),
        request_hash("/other", body),
        request_hash(body, "/orders"),
        request_hash("/orders", None),
    }
    assert len(different) == 5
