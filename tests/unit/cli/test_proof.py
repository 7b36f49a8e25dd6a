"""`tandem proof`: one JSON for every proof, and a word for whoever has no checkout."""

import argparse
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import assembled
from deploy.commands import proof
from tests.proof import explorer
from tests.proof.__main__ import main
from tests.proof.checks import Violation
from tests.proof.report import Report, figures_of

LINE = "paced: parcel.work#2 cancel@order-rest"


def test_a_proof_says_what_broke_by_which_seed_and_what_it_exercised(capsys: pytest.CaptureFixture[str]):
    """The story goes to standard error, one JSON object to standard output."""
    assert main(["explore", "--replay", LINE, "--json"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["violations"] == []
    assert told.keys() == {"violations", "seed", "seconds", "exercised"}
    assert "FulfillmentCancelled" in said.err


def test_a_violation_is_the_exit_code(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def broken(_: argparse.Namespace) -> Report:
        return Report(7, [Violation("a promise", "what shows it")])

    monkeypatch.setattr(explorer, "run", broken)
    assert main(["explore", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["violations"] == [
        {"invariant": "a promise", "evidence": "what shows it"}
    ]


def test_several_proofs_are_told_as_one():
    good, bad = Report(3, seconds=1, exercised={"seeds": 5}), Report(4, [Violation("a promise", "it")], {}, 2)
    whole = figures_of([("simulate", good), ("chaos", bad)]).figures()
    assert whole["violations"] == [{"invariant": "a promise", "evidence": "chaos: it"}]
    assert whole["seconds"] == 3
    assert whole["exercised"]["simulate"] == {"seeds": 5, "seed": 3, "seconds": 1}


def test_without_a_checkout_it_says_how_to_get_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An installed package has no tests."""
    monkeypatch.setattr(proof.deploy, "__file__", str(tmp_path / "deploy" / "__init__.py"))
    said = CliRunner().invoke(assembled("proof"), ["proof", "simulate"])
    assert said.exit_code == proof.NOT_HERE
    assert "clone the repository" in said.stderr
