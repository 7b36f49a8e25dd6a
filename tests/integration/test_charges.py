"""One charge for each order, whatever the provider says and however often its workers try."""

from tests.bench.charges import charged


async def test_every_order_is_charged_once(orders_url: str, sandbox_url: str):
    """Answers that are lost, late or failures, tries made twice, workers killed before they could record."""
    told = await charged(orders_url, sandbox_url, orders=40, seed=1)
    assert told["violations"] == []
    done = told["exercised"]
    assert done["charged_once"] == 40
    assert done["workers_killed_after_the_answer"] > 0
    assert done["calls"] == {"CONFIRMED": 80}
    assert done["calls_tried_again"] > 0


async def test_a_key_that_is_lost_on_the_way_is_noticed(orders_url: str, sandbox_url: str):
    """The provider charges twice whoever asks twice without a key, so the measure can fail."""
    told = await charged(orders_url, sandbox_url, orders=5, seed=2, tokens=("tok_ok",), keeps_keys=False)
    assert {each["invariant"] for each in told["violations"]} == {"one-charge"}
