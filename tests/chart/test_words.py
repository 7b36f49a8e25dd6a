"""What the chart tells people: its README, the notes after an install, its version."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from deploy.local.state import ROOT
from tests.chart.rendering import CHART, EXAMPLES, files, name_of, of_kind, processes, render, run

SHOWN = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: notes}
data: {notes: {{ include "tandem/templates/NOTES.txt" . | toJson }}}
"""
"""Helm shows the notes to who installs only; as a manifest they are shown to us."""


def notes(folder: Path, values: str) -> str:
    """What the chart says after an install as `shop` in `retail`."""
    copy = folder / "tandem"
    shutil.copytree(CHART, copy)
    (copy / "templates" / "shown.yaml").write_text(SHOWN)
    options = ("--kube-version=1.34.0", "--show-only=templates/shown.yaml", values)
    done = run("template shop --namespace=retail", *options, chart=copy)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["data"]["notes"]


@pytest.mark.parametrize(("example", "simulated"), [("demo", True), ("temporal-cloud-mtls", False)])
def test_the_notes_name_what_is_there(example: str, simulated: bool, tmp_path: Path):
    """Services to forward to; whether money is simulated; whether a door is open without a lock."""
    said = notes(tmp_path, EXAMPLES[example])
    services = {name_of(each) for each in of_kind(render(EXAMPLES[example]), "Service")}
    assert set(re.findall(r"svc/(\S+)", said)) <= services
    assert ("SIMULATION" in said) == simulated
    assert ("do not ask who calls" in said) != simulated


def test_the_readme_makes_secrets_that_are_mounted():
    """Under the names, and with the keys, that the pods of a release `shop` look for."""
    text = (CHART / "README.md").read_text().replace("\\\n", " ")
    made = dict(re.findall(r"^kubectl create secret generic (\S+) +(.+)$", text, re.MULTILINE))
    pods = [pod for _, _, pod in processes(render(EXAMPLES["self-hosted"]))]
    wanted: dict[str, set[str]] = {}
    for pod in pods:
        for file, secret in files(pod, "/run/secrets/tandem").items():
            wanted.setdefault(str(secret), set()).add(file)
    assert made.keys() == {"shop-tandem-order-api", "shop-tandem-codec"}
    assert len(wanted) == len(made) + 9  # the nine others
    for name, options in made.items():
        keys = {key for key in wanted[name] if key != "*"} or {"tandem_postgres_url"}
        assert all(key in options for key in keys)


def test_the_chart_installs_this_version():
    """Of the image, where no tag is given."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == project["version"]
