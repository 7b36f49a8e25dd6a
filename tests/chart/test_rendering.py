"""What the chart renders is what Kubernetes and the operators take."""

# pyright: reportMissingTypeStubs=false

from copy import deepcopy
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from tests.chart.custom_resources import SCHEMAS
from tests.chart.rendering import CASES, Manifest, each_case, named, render, run

OLDEST, NEWEST = "1.25", "1.37"
"""The chart's own lower bound, and the newest version whose schemas we have."""


@each_case
def test_the_chart_lints(options: tuple[str, ...]):
    """Strictly, and with the schema of its values."""
    done = run("lint --strict", "--kube-version=1.34.0", *options)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@each_case
def test_every_manifest_has_the_form_that_kubernetes_takes(options: tuple[str, ...], version: str):
    """No field too many, none of another type; what is the operators' own is measured by our own schemas."""
    for manifest in render(*options):
        measure(manifest, version)
        if manifest["kind"] == "WorkerDeployment":
            measure(_as_deployment(manifest), version)


def measure(manifest: Manifest, version: str) -> None:
    """Raises ValidationError, of jsonschema, when the manifest has not the form of its kind."""
    schema = SCHEMAS.get(f"{manifest['apiVersion']}/{manifest['kind']}")
    if schema is None:
        kubernetes_validate.validate(manifest, version, strict=True)
    else:
        jsonschema.validate(manifest, schema, jsonschema.Draft202012Validator)


def _as_deployment(manifest: Manifest) -> Manifest:
    """What the controller makes of a WorkerDeployment for each version of its pod."""
    pod = manifest["spec"]["template"]
    spec = {"selector": {"matchLabels": pod["metadata"]["labels"]}, "template": pod}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": manifest["metadata"], "spec": spec}


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("Deployment", "shop-tandem-order-api", ("spec", "template", "spec", "restartpolicy"), "Always"),
        ("Service", "shop-tandem-order-api", ("spec", "ports"), {}),
        ("ScaledObject", "shop-tandem-order-worker", ("spec", "maxReplicas"), 3),
        (
            "ScaledObject",
            "shop-tandem-order-worker",
            ("spec", "triggers", 0, "metadata", "targetQueueSize"),
            5,
        ),
    ],
)
def test_a_wrong_field_would_be_found(kind: str, name: str, path: tuple[str | int, ...], value: object):
    """The schemas are strict: a typing error fails the test before this one."""
    manifest = deepcopy(named(render(*CASES["self-hosted"]), kind, name))
    place: Any = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        measure(manifest, NEWEST)


@each_case
def test_no_two_manifests_have_one_name(options: tuple[str, ...]):
    """The second would replace the first."""
    names = [(each["kind"], each["metadata"]["name"]) for each in render(*options)]
    assert len(names) == len(set(names))


@each_case
def test_a_long_release_name_fits(options: tuple[str, ...]):
    """Helm allows 53 letters, a Service 63, and the Worker Controller adds a build to the name."""
    for manifest in render(*options, release="a-name-as-long-as-helm-takes-it-of-fifty-three-letter"):
        assert len(manifest["metadata"]["name"]) <= 63
