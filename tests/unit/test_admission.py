"""Who is let in at a door, who waits, and what the others are told."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from contracts.chassis import admission, problems, telemetry
from contracts.chassis.admission import Admission, client_of
from contracts.chassis.errors import TooOften
from contracts.chassis.settings import ApiSettings

JSON = {"content-type": "application/json"}


class Shop:
    """A door behind which a request stays until it may go."""

    def __init__(self, settings: ApiSettings) -> None:
        self.inside, self.most_inside = 0, 0
        self.may_go = asyncio.Event()
        self.app = FastAPI(telemetry=telemetry.rest_telemetry())
        problems.install(self.app, settings)
        for path in ("/stay", "/health/live", "/metrics"):
            self.app.add_api_route(path, self.stay, methods=["GET", "POST"])
        self.app.add_api_route("/rest", self.rest)

    async def stay(self) -> str:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        await self.may_go.wait()
        self.inside -= 1
        return "served"

    async def rest(self) -> str:
        async with admission.resting():
            await self.stay()
        return "served"

    @asynccontextmanager
    async def client(self, address: str = "10.0.0.1") -> AsyncGenerator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            yield client


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0)


def asked(get: Coroutine[Any, Any, httpx.Response]) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(get)


@pytest.fixture(autouse=True)
def _telemetry() -> None:
    telemetry.ensure_provider()


async def test_no_more_are_worked_on_than_there_are_places():
    """The others wait for their turn; with the room full, the next is told to come again, as a problem."""
    shop = Shop(ApiSettings(in_flight=2, waiting_room=3, longest_wait_seconds=60))
    async with shop.client() as client:
        let_in = [asked(client.get("/stay")) for _ in range(5)]
        await until(lambda: shop.inside == 2)
        refused = await client.get("/stay")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.json()["code"], refused.json()["retryable"]) == ("OVERLOADED", True)
        shop.may_go.set()
        answers = await asyncio.gather(*let_in)
    assert [answer.status_code for answer in answers] == [200] * 5
    assert shop.most_inside == 2


async def test_who_has_waited_long_enough_is_told_so():
    """And leaves the room to others."""
    shop = Shop(ApiSettings(in_flight=1, waiting_room=1, longest_wait_seconds=0.01))
    async with shop.client() as client:
        first = asked(client.get("/stay"))
        await until(lambda: shop.inside == 1)
        for _ in range(3):
            assert (await client.get("/stay")).json()["code"] == "OVERLOADED"
        shop.may_go.set()
        assert (await first).status_code == 200
        assert (await client.get("/stay")).status_code == 200


async def test_who_goes_away_while_waiting_leaves_the_place_to_the_next():
    """A place is neither lost nor given twice."""
    shop = Shop(ApiSettings(in_flight=1, waiting_room=1, longest_wait_seconds=60))
    async with shop.client() as client:
        first = asked(client.get("/stay"))
        await until(lambda: shop.inside == 1)
        gone = asked(client.get("/stay"))
        for _ in range(20):
            await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait({gone})
        next_one = asked(client.get("/stay"))
        shop.may_go.set()
        assert [(await each).status_code for each in (first, next_one)] == [200, 200]
    assert shop.most_inside == 1


async def test_health_and_metrics_are_always_answered():
    """However full it is, and however often one asks."""
    shop = Shop(ApiSettings(in_flight=1, waiting_room=0, client_per_second=1, client_burst=1))
    async with shop.client() as client, shop.client("10.0.0.2") as other:
        first = asked(client.get("/stay"))
        await until(lambda: shop.inside == 1)
        assert (await other.get("/stay")).status_code == 503
        probes = [asked(other.get(path)) for path in ("/health/live", "/metrics") for _ in range(3)]
        await until(lambda: shop.inside == 7)
        shop.may_go.set()
        assert {(await each).status_code for each in (first, *probes)} == {200}


async def test_a_client_has_its_share():
    """One that asks too often is told when to come again; others do not notice."""
    shop = Shop(ApiSettings(client_per_second=1, client_burst=2))
    shop.may_go.set()
    async with shop.client() as greedy, shop.client("10.0.0.2") as other:
        answers = [await greedy.get("/stay") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].headers["Retry-After"] == "1"
        assert answers[2].json()["code"] == "TOO_MANY_REQUESTS"
        assert (await other.get("/stay")).status_code == 200


async def test_who_only_waits_takes_nobodys_place():
    """A request that waits for another service leaves its place and takes it again before it goes on."""
    shop = Shop(ApiSettings(in_flight=1, waiting_room=0))
    async with shop.client() as client:
        resting = [asked(client.get("/rest"))]
        await until(lambda: shop.inside == 1)
        resting.append(asked(client.get("/rest")))
        await until(lambda: shop.inside == 2)
        shop.may_go.set()
        assert [(await each).status_code for each in resting] == [200, 200]
        assert (await client.get("/stay")).status_code == 200


async def test_a_body_that_does_not_come_takes_no_place():
    """It is answered 408; meanwhile others are served."""
    shop = Shop(ApiSettings(in_flight=1, waiting_room=0, body_seconds=0.05))
    shop.may_go.set()

    async def slowly() -> AsyncGenerator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    async with shop.client() as client:
        slow = asked(client.post("/stay", content=slowly()))
        assert (await client.get("/stay")).status_code == 200
        answer = await slow
    assert (answer.status_code, answer.json()["code"]) == (408, "TOO_SLOW")


async def test_bodies_that_are_still_coming_are_bounded():
    """They take no place, but memory: one more is told to come again, as at a full room."""
    shop = Shop(ApiSettings(open_requests=2))
    shop.may_go.set()
    reading, rest = 0, asyncio.Event()

    async def slowly() -> AsyncGenerator[bytes]:
        nonlocal reading
        reading += 1
        yield b"["
        await rest.wait()
        yield b"]"

    async with shop.client() as client:
        coming = [asked(client.post("/stay", content=slowly(), headers=JSON)) for _ in range(2)]
        await until(lambda: reading == 2)
        refused = await client.get("/stay")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        rest.set()
        assert [(await each).status_code for each in coming] == [200, 200]
        assert (await client.get("/stay")).status_code == 200


async def test_many_clients_cost_bounded_memory():
    """The one that has been quiet for longest is forgotten, and has its share anew."""
    door = Admission(ApiSettings(clients_remembered=10, client_per_second=1, client_burst=1))

    def knock(number: int) -> None:
        with door.knock({"client": (f"10.0.0.{number}", 1), "headers": []}):
            pass

    for number in range(1, 11):
        knock(number)
    with pytest.raises(TooOften):
        knock(2)
    knock(11)
    knock(1)


OURS = "10.0.0.0/8, 127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        pytest.param("9.9.9.9", "1.1.1.1", "9.9.9.9", id="a stranger may say anything"),
        pytest.param("10.0.0.5", "1.1.1.1", "1.1.1.1", id="a proxy of ours is believed"),
        pytest.param("10.0.0.5", "6.6.6.6, 1.1.1.1", "1.1.1.1", id="what the client put before it is not"),
        pytest.param("10.0.0.5", "6.6.6.6, 1.1.1.1, 10.9.9.9", "1.1.1.1", id="two proxies of ours"),
        pytest.param("10.0.0.5", "1.1.1.1, what", "10.0.0.5", id="no address is nobody"),
        pytest.param("10.0.0.5", "", "10.0.0.5", id="a proxy that says nothing"),
        pytest.param("10.0.0.5", "10.0.0.6", "10.0.0.5", id="one of us asks"),
        pytest.param("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64", id="one has all of its network"),
        pytest.param("::ffff:1.2.3.4", "", "::ffff:1.2.3.4", id="an old address in a new one"),
    ],
)
def test_a_client_is_the_nearest_address_that_is_not_ours(peer: str, forwarded: str, client: str):
    """Or one could take another's share, or have any number of them."""
    proxies = admission.networks(OURS)
    scope = {"client": (peer, 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}
    assert client_of(scope, proxies) == client


def test_a_door_without_a_peer_has_one_client():
    """As over a Unix socket."""
    assert client_of({"client": None, "headers": []}, ()) == "unknown"
