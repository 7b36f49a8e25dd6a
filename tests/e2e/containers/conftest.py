"""One house of containers for all stories and faults, and the report of what was looked at after each."""

import time
from collections.abc import Iterator, Mapping

import pytest

from deploy.local.state import ROOT
from tests.e2e.containers.engine import build_image, choose_images
from tests.e2e.containers.evidence import Auditor
from tests.e2e.containers.house import House
from tests.e2e.crowd import Crowd
from tests.e2e.people import Engineer, Operator, Shop

IMAGE = "tandem:tests"
_told = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def told(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the end of the run."""
    return pytestconfig.stash.setdefault(_told, [])


@pytest.fixture(scope="session", autouse=True)
def images(told: list[str]) -> Iterator[Mapping[str, str]]:
    """Where nothing can be pulled, stand-ins for the public images."""
    chosen = choose_images()
    told.append(f"images: {', '.join(chosen.values())}")
    with pytest.MonkeyPatch.context() as environment:
        for name, image in chosen.items():
            environment.setenv(name, image)
        yield chosen


@pytest.fixture(scope="session")
def image(images: Mapping[str, str], told: list[str]) -> str:
    """Our image, built from this work tree; it stays, so that the next run builds only what changed."""
    began = time.monotonic()
    build_image(ROOT, IMAGE, images["TANDEM_PYTHON_IMAGE"])
    told.append(f"image built in {time.monotonic() - began:.0f} s")
    return IMAGE


@pytest.fixture(scope="session")
def house(
    image: str, told: list[str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[House]:
    began = time.monotonic()
    with House(image, tmp_path_factory.mktemp("house")) as house:
        told.append(f"{len(house.members)} containers up in {time.monotonic() - began:.0f} s")
        yield house
        if request.session.testsfailed:
            for member in house.members.values():
                print(f"--- {member.name}\n{member.log()}")


@pytest.fixture(scope="session")
def shop(house: House) -> Shop:
    return Shop(house.url("order-api"))


@pytest.fixture(scope="session")
def operator(house: House) -> Operator:
    return Operator(house.url("fulfillment-api"))


@pytest.fixture(scope="session")
def engineer(house: House) -> Engineer:
    return Engineer(house)


@pytest.fixture(scope="session")
def crowd(shop: Shop, engineer: Engineer) -> Crowd:
    return Crowd(shop, engineer)


@pytest.fixture(scope="session")
def auditor(house: House, shop: Shop, told: list[str]) -> Iterator[Auditor]:
    auditor = Auditor(house, shop)
    yield auditor
    told += [str(finding) for finding in auditor.findings]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What was run and how much was looked at, also when all is well."""
    lines = config.stash.get(_told, list[str]())
    if lines:
        terminalreporter.section("containers")
        for line in lines:
            terminalreporter.write_line(line)
