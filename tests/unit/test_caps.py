"""How much may be wished: so often a minute, so often a life, and the ways out last."""

from datetime import timedelta

import pytest

from contracts.chassis.caps import LIFE, RESERVE, check
from contracts.chassis.errors import TooMany

WAYS_OUT = ("cancelOrder", "cancelFulfillment", "releaseHold", "resumeFulfillment", "resumeOrderFulfillment")
ALLOWED = ("cancel", "release", "resume", "resolve")
OTHERS = ("pauseFulfillment", "applyHold", "updateOrder", "updateShippingAddress", "completeStep")


@pytest.mark.parametrize("name", WAYS_OUT + OTHERS)
def test_the_first_wishes_may_be_any(name: str):
    """Before the reserve nothing is refused."""
    check(name, LIFE - RESERVE - 1, None)


@pytest.mark.parametrize("name", OTHERS)
def test_the_reserve_is_not_for_everything(name: str):
    """The refusal says what is still taken, and that waiting does not help."""
    with pytest.raises(TooMany) as caught:
        check(name, LIFE - RESERVE, None)
    assert caught.value.extensions == {"retryable": False, "allowedActions": list(ALLOWED)}
    assert caught.value.retry_after is None


@pytest.mark.parametrize("name", WAYS_OUT)
def test_the_reserve_is_for_the_ways_out(name: str):
    """To its last place, and then for nothing."""
    check(name, LIFE - RESERVE, None)
    check(name, LIFE - 1, None)
    with pytest.raises(TooMany) as caught:
        check(name, LIFE, None)
    assert caught.value.extensions["allowedActions"] == []


def test_a_full_minute_says_when_to_ask_again():
    """Also for the ways out; once the place is free the wish is taken."""
    with pytest.raises(TooMany) as caught:
        check("cancelOrder", 30, 12.5)
    assert caught.value.retry_after == timedelta(seconds=12.5)
    check("cancelOrder", 30, 0.0)
    check("cancelOrder", 30, -3.0)
