"""What Prometheus, Grafana and the collector are told of exists: metrics, processes, ports, files."""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

import contracts
import fulfillment_service
import order_service

ROOT = Path(__file__).parents[2]
HERE = ROOT / "deploy" / "observability"

Json = dict[str, Any]


def read(path: Path) -> Json:
    return yaml.safe_load(path.read_text())


COMPOSE: Json = read(ROOT / "deploy" / "compose.yaml")["services"]
SCRAPED: Json = read(HERE / "prometheus.yaml")["scrape_configs"][0]
RULES: list[Json] = read(HERE / "alerts.yaml")["groups"][0]["rules"]
BOARD: Json = json.loads((HERE / "grafana/dashboards/tandem.json").read_text())


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for panel in BOARD["panels"] for target in panel["targets"])


def metrics_of(expression: str) -> set[str]:
    """The names that are neither functions, nor labels, nor durations."""
    bare = re.sub(r"\b(by|without)\s*\([^)]*\)|\{[^}]*\}|\[[^\]]*\]", "", expression)
    return set(re.findall(r"\b[a-z_]+\b(?!\s*\()", bare))


def told_by_us() -> set[str]:
    """The names as a process of ours writes them, and the one that Prometheus adds."""
    for package in (contracts, order_service, fulfillment_service):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not re.search(r"__main__|migrations", module.name):
                importlib.import_module(module.name)
    families = list(REGISTRY.collect())
    return {"up"} | {f"{each.name}_total" if each.type == "counter" else each.name for each in families}


def roles() -> dict[str, str]:
    """Each process of ours that stays, with the port on which compose has it tell its metrics."""
    settings = {name: service.get("environment", {}) for name, service in COMPOSE.items()}
    ports = {
        name: set_to.get("TANDEM_API_PORT", set_to.get("TANDEM_HEALTH_PORT"))
        for name, set_to in settings.items()
    }
    return {name: port for name, port in ports.items() if port}


def scraped() -> dict[str, str]:
    found = dict(target.split(":") for target in SCRAPED["static_configs"][0]["targets"])
    by_name = SCRAPED["dns_sd_configs"][0]
    return found | dict.fromkeys(by_name["names"], str(by_name["port"]))


def test_names_are_read_out_of_expressions():
    """So that the next test sees a name that is not ours."""
    text = 'max by (service) (rate(one_total{role="relay"}[1m]) + two) > 60 or absent(up == 0)'
    assert metrics_of(text) == {"one_total", "two", "or", "up"}


def test_every_metric_of_an_alert_or_a_panel_is_told_by_some_process():
    """A metric that was renamed would leave an alert that never fires."""
    asked = set[str]().union(*map(metrics_of, expressions())) - {"or", "and", "unless"}
    assert len(asked) > 8
    assert asked - told_by_us() == set()


def test_every_process_is_scraped_where_it_tells_its_metrics():
    """None is forgotten, none has another port."""
    assert scraped() == roles()
    assert len(scraped()) == 14


@pytest.mark.parametrize("name", sorted(scraped()))
def test_a_process_is_known_by_its_service_and_role(name: str):
    """The labels that alerts and panels gather by, for the second ones too."""
    service, role = name.removesuffix("-2").split("-")
    found_by_name = name.endswith("-2")
    given = f"{name};10.0.0.7:8080" if found_by_name else f";{name}:{scraped()[name]}"
    labels: dict[str, str] = {}
    for rule in SCRAPED["relabel_configs"][:2]:
        matched = re.fullmatch(rule["regex"], given)
        assert matched
        labels[rule["target_label"]] = matched.group(1)
    assert labels == {"service": service, "role": role}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do(rule: Json):
    """What is wrong, and the fix."""
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["fix"]
    assert rule["labels"]["severity"] in ("warning", "critical")


def test_the_board_fits_a_screen_and_asks_a_source_that_is_there():
    """At most twelve panels, each on a data source that Grafana is given."""
    sources = read(HERE / "grafana/datasources/tandem.yaml")["datasources"]
    assert 0 < len(BOARD["panels"]) <= 12
    assert {panel["datasource"]["uid"] for panel in BOARD["panels"]} <= {source["uid"] for source in sources}
    for source in sources:
        host, port = source["url"].removeprefix("http://").split(":")
        assert any(published.endswith(f":{port}") for published in COMPOSE[host]["ports"])


def test_what_compose_mounts_is_there():
    """Docker makes an empty folder of a file that is missing."""
    mounts = [mount for service in COMPOSE.values() for mount in service.get("volumes", ())]
    files = [mount.partition(":")[0] for mount in mounts if mount.startswith("./")]
    assert len(files) >= 5
    assert [file for file in files if not (ROOT / "deploy" / file).exists()] == []


def test_spans_find_their_way():
    """Services speak to the collector's own port, and the collector to Jaeger."""
    collector = read(HERE / "collector.yaml")
    endpoint = COMPOSE["order-api"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    assert endpoint == f"http://collector:{port}"
    for pipeline in collector["service"]["pipelines"].values():
        for exporter in pipeline["exporters"]:
            assert collector["exporters"][exporter]["endpoint"].partition(":")[0] in COMPOSE
