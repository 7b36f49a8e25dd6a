"""`python -m tests.proof`: each subcommand is a module with `add_arguments(parser)` and `run(options)`."""

import argparse
import importlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from types import ModuleType

from tests.proof.report import Report

COMMANDS = {
    "simulate": "tests.proof.simulate",
    "chaos": "tests.proof.chaos",
    "mutants": "tests.proof.mutants.hunt",
    "explore": "tests.proof.explorer",
    "nightly": "tests.proof.nightly",
}
BROKEN, NOT_HERE = 1, 2
LEARN_MORE = "tandem proof NAME --help says more of each."


def main(arguments: Sequence[str]) -> int:
    """The proof that the line names has run and said what broke: 0 when nothing did, otherwise 1."""
    parser = argparse.ArgumentParser(
        prog="tandem proof", description="Show that the pair keeps its promises.", epilog=LEARN_MORE
    )
    here = [name for name, module in COMMANDS.items() if importlib.util.find_spec(module)]
    parser.add_argument("proof", choices=here, metavar=f"{{{','.join(here)}}}")
    # `tandem proof --nightly` is what people are told to type.
    asked = ["nightly" if each == "--nightly" else each for each in arguments]
    name = parser.parse_args(asked[:1]).proof
    try:
        found: ModuleType = importlib.import_module(COMMANDS[name])
    except ModuleNotFoundError as missing:
        print(f"This proof needs {missing.name}.\nFix: run ./deploy/test once.", file=sys.stderr)
        return NOT_HERE
    options = _options(name, found, asked[1:])
    report: Report = found.run(options)
    print(json.dumps(report.figures()) if options.json else "\n".join(report.lines()))
    return 0 if report.is_good else BROKEN


def _options(name: str, found: ModuleType, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"tandem proof {name}",
        description=found.__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    found.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
