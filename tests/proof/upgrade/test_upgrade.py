"""Orders parked in every state by the workers of one release are finished by those of another."""

from collections.abc import Iterator

import pytest

from tests.proof.upgrade.house import House
from tests.proof.upgrade.people import People
from tests.proof.upgrade.stories import back, forward

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("upgrade")) as house:
        yield house


@pytest.fixture(scope="module")
def people(house: House) -> People:
    return People(house)


def test_what_the_next_release_began_this_one_finishes(house: House, people: People):
    """Where the workflows' steps are the same; what is new in facts and messages is no obstacle."""
    back(house, people)


def test_what_this_release_began_the_next_one_finishes(house: House, people: People):
    """New steps are taken by whoever has not come to them yet; without their guards orders are stuck."""
    forward(house, people)
