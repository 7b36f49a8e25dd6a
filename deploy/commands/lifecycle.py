"""`tandem up, down, status, doctor, reset, logs`: the life of the stack on this machine."""

import json
import os
import shlex
import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table

from deploy.local import doctor as examination
from deploy.local import logs as log_files
from deploy.local.banner import banner, command
from deploy.local.child import StartError
from deploy.local.containers import Containers
from deploy.local.control import NOT_RUNNING, running, running_now, stop
from deploy.local.state import ROOT, State, default_folder
from deploy.local.supervisor import Options

app = typer.Typer()
_out = Console()
_err = Console(stderr=True)

StateFolder = Annotated[
    Path | None,
    typer.Option("--state", help="Folder of the stack.", show_default="TANDEM_STATE_DIR or .tandem"),
]


class Output(StrEnum):
    table = "table"
    json = "json"
    env = "env"


@app.command()
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is ready.")] = False,
    kafka: Annotated[str, typer.Option(help="embedded, apache or HOST:PORT.")] = "embedded",
    postgres: Annotated[str | None, typer.Option(help="URL of a PostgreSQL server to use.")] = None,
    temporal: Annotated[str | None, typer.Option(help="HOST:PORT of a Temporal cluster to use.")] = None,
    docker: Annotated[
        bool, typer.Option("--docker", help="PostgreSQL, Kafka, Temporal in containers.")
    ] = False,
    state: StateFolder = None,
    ports_from: Annotated[int | None, typer.Option(min=1024, max=60000, help="First of 16 ports.")] = None,
    services: Annotated[bool, typer.Option(help="Start the services too, not only the engines.")] = True,
) -> None:
    """Start everything on this machine and stay until Ctrl-C."""
    if kafka not in ("embedded", "apache") and ":" not in kafka:
        raise typer.BadParameter("expected embedded, apache or HOST:PORT", param_hint="--kafka")
    if docker and (kafka, postgres, temporal) != ("embedded", None, None):
        raise typer.BadParameter("it brings its own PostgreSQL, Kafka and Temporal", param_hint="--docker")
    folder = (state or default_folder()).absolute()
    options = Options(folder, kafka, postgres, temporal, ports_from, docker, services)
    described = running(State(options.state))
    if described and described["status"] == "ready":
        _say(f"The stack in {options.state} runs already, pid {described['pid']}.\n")
        _say(banner(described))
        return
    process = [sys.executable, "-m", "deploy.local.supervisor", *options.arguments()]
    if detach:
        _detach(process, options)
        return
    os.chdir(ROOT)
    os.execve(sys.executable, process, options.environment())


def _detach(process: list[str], options: Options) -> None:
    """Leaves the supervisor behind as a daemon once it is ready; its words are in the log `supervisor`."""
    state = State(options.state)
    state.make()
    log = state.logs / "supervisor.log"
    with log.open("w") as output:
        daemon = subprocess.Popen(
            process, cwd=ROOT, env=options.environment(), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    shown = 0
    while True:
        described = state.described()
        mine = described if described.get("pid") == daemon.pid else {}
        shown = _show_notices(mine, shown)
        if mine.get("status") == "ready":
            _say(banner(mine))
            return
        if daemon.poll() is not None:
            if "error" in mine:
                _say(f"could not start: {mine['error']}\nFix: {mine['fix']}", error=True)
            else:
                _say(log.read_text().strip(), error=True)
            raise typer.Exit(daemon.returncode or 1)
        time.sleep(0.1)


def _show_notices(described: dict[str, Any], shown: int) -> int:
    notices: list[str] = described.get("notices", [])
    for notice in notices[shown:]:
        _say(notice.partition(" ")[2])
    return len(notices)


@app.command()
def down(state: StateFolder = None) -> None:
    """Stop everything; data and running orders are kept."""
    folder = state or default_folder()
    described = State(folder).described()
    if not stop(State(folder)):
        _say(f"Nothing runs in {folder}.")
        return
    where = f"{folder} and in volumes" if described.get("containers") else folder
    again = "up --docker" if described.get("containers") else "up"
    _say(f"Stopped. Data is kept in {where}; `{command(Path.cwd())} {again}` goes on where it was.")


@app.command()
def status(
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print it.")] = Output.table,
    as_json: Annotated[bool, typer.Option("--json", help="The same as -o json.")] = False,
    state: StateFolder = None,
) -> None:
    """Say what runs and where; the exit code is 0 when all is ready, 3 when nothing runs."""
    folder = state or default_folder()
    described = running_now(State(folder))
    if as_json or output is Output.json:
        _say(json.dumps(described or {"status": "stopped", "state": str(folder)}, indent=2))
    elif described is None:
        left = Containers(State(folder)).still_run()
        what = "but containers, left over from a stack that was killed" if left else ""
        fix = "down" if left else "up --detach"
        _say(f"Nothing runs in {folder}{what and ', '}{what}.\nFix: {command(Path.cwd())} {fix}", error=True)
    elif output is Output.env:
        _say("\n".join(f"export {name}={shlex.quote(value)}" for name, value in described["env"].items()))
    else:
        _out.print(_table(described))
        _say(f"{described['status']} · pid {described['pid']} · Temporal UI {described['ui'] or 'yours'}")
    if described is None:
        raise typer.Exit(NOT_RUNNING)
    if described["status"] != "ready" or not all(p["ready"] for p in described["processes"].values()):
        raise typer.Exit(1)


def _table(described: dict[str, Any]) -> Table:
    table = Table("process", "state", "pid", "port", "restarts", "MB", box=None, pad_edge=False)
    for name, process in described["processes"].items():
        state = "ready" if process["ready"] else process.get("state", "down")
        row = (process["pid"], process["port"], process["restarts"], _megabytes(process["pid"]))
        table.add_row(name, state, *("-" if value is None else str(value) for value in row))
    return table


def _megabytes(pid: int | None) -> int | None:
    """Resident memory of a process and its children; what they share counts once."""
    try:
        process = psutil.Process(pid) if pid else None
        family = [process, *process.children(recursive=True)] if process else []
        return sum(_resident(member) for member in family) >> 20 if family else None
    except psutil.Error:
        return None


def _resident(process: psutil.Process) -> int:
    found = process.memory_full_info()
    return getattr(found, "pss", found.rss)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False, state: StateFolder = None
) -> None:
    """Look for the usual reasons why something does not run; each comes with its fix."""
    findings = examination.examine(State(state or default_folder()))
    if as_json:
        _say(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            _say(finding.as_text())
    if any(finding.level == "bad" for finding in findings):
        raise typer.Exit(1)


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False, state: StateFolder = None
) -> None:
    """Stop everything and delete all data: orders, histories, topics, keys, logs."""
    folder = State(state or default_folder())
    if not folder.folder.exists():
        _say(f"There is nothing in {folder.folder}.")
        return
    if not yes:
        typer.confirm(f"Delete all orders, histories and keys in {folder.folder}?", abort=True)
    stop(folder)
    try:
        Containers(folder).remove()
        folder.remove()
    except StartError as error:
        _say(f"{error}\nFix: {error.fix}", error=True)
        raise typer.Exit(1) from None
    except ValueError as error:
        _say(f"{error}\nFix: name the folder that `up` used, with --state", error=True)
        raise typer.Exit(1) from None
    _say(f"Deleted what was in {folder.folder}.")


@app.command()
def logs(
    process: Annotated[str | None, typer.Argument(help="One process; all when left out.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many of each from the end.")] = 50,
    state: StateFolder = None,
) -> None:
    """Show what the processes write."""
    folder = State(state or default_folder()).logs
    found = log_files.choose(folder, process)
    if not found:
        names = ", ".join(sorted(log.stem for log in folder.glob("*.log"))) or "none yet"
        _say(f"There is no log {process or ''} in {folder}.\nFix: choose one of: {names}", error=True)
        raise typer.Exit(1)
    try:
        for line in log_files.read(found, lines=lines, follow=follow):
            print(line, flush=True)
    except (KeyboardInterrupt, BrokenPipeError):
        raise typer.Exit from None


def _say(text: str, *, error: bool = False) -> None:
    """Plain text, never folded: its lines are there to be copied."""
    (_err if error else _out).print(text, markup=False, highlight=False, soft_wrap=True)
