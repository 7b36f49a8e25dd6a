"""The commands that orders and parcels have alike: to hold them, and to ask what was and what may be."""

from typing import Annotated, Literal

import typer

from deploy.commands.options import Cursor, examples, shared
from deploy.commands.rest import Json
from deploy.commands.shown import more
from deploy.commands.subjects import Thing
from deploy.commands.telling import actions_lines, explain_lines, timeline_lines
from deploy.commands.wishes import Because, Handle, Lifted, Note, Reason, Sending, Until, given


def add(app: typer.Typer, kind: type[Thing]) -> None:
    """The group has all of them."""
    _add_questions(app, kind)
    _add_holds(app, kind)


def _add_holds(app: typer.Typer, kind: type[Thing]) -> None:
    tandem = f"tandem {kind.group}"

    @app.command(
        epilog=examples(
            f"{tandem} hold ORD-… --reason FRAUD_RISK --note 'two cards, one address' --until 2h",
            f"{tandem} hold ORD-… --reason INVENTORY --handle stock-count --dry-run",
        ),
        help=f"Keep {kind.thing} from beginning another step, beside other holds.",
    )
    @shared(about=kind)
    def hold(
        about: Thing,
        wish: Sending,
        *,
        reason: Reason,
        handle: Handle = None,
        note: Note = None,
        until: Until = None,
    ) -> None:
        wish.send(about, "POST", "/holds", given(reason=reason, handle=handle, note=note, until=until))

    @app.command(
        epilog=examples(f"{tandem} release ORD-… --handle stock-count", f"{tandem} release ORD-… --wait"),
        help="Lift a hold; with the last one gone, it goes on where it stopped.",
    )
    @shared(about=kind)
    def release(about: Thing, wish: Sending, *, handle: Lifted = None) -> None:
        wish.send(about, "DELETE", "/holds", handle=handle)

    @app.command(
        epilog=examples(f"{tandem} resolve ORD-… --wait", f"{tandem} resolve ORD-… --resolution skip"),
        help="Have what waits for a person tried again, or leave the step out where that is safe.",
    )
    @shared(about=kind)
    def resolve(
        about: Thing,
        wish: Sending,
        *,
        resolution: Annotated[Literal["retry", "skip"], typer.Option(help="What is to be done.")] = "retry",
        reason: Because = None,
        note: Note = None,
    ) -> None:
        body = given(resolution=resolution, reason=reason, note=note)
        wish.send(about, "POST", "/exceptions/resolve", body)

    @app.command(
        epilog=examples(f"{tandem} pause ORD-… --note 'stock count' --until 2h"),
        help=f"Keep {kind.parcel} from beginning another step.",
    )
    @shared(about=kind)
    def pause(
        about: Thing, wish: Sending, *, reason: Because = None, note: Note = None, until: Until = None
    ) -> None:
        wish.send(about, "POST", f"{kind.to_parcel}/pause", given(reason=reason, note=note, until=until))

    @app.command(
        epilog=examples(f"{tandem} resume ORD-… --wait"),
        help="Lift every pause, or one hold; the parcel goes on with the very step it stopped before.",
    )
    @shared(about=kind)
    def resume(
        about: Thing, wish: Sending, *, handle: Lifted = None, reason: Because = None, note: Note = None
    ) -> None:
        wish.send(about, "POST", f"{kind.to_parcel}/resume", given(handle=handle, reason=reason, note=note))


def _add_questions(app: typer.Typer, kind: type[Thing]) -> None:
    tandem, thing = f"tandem {kind.group}", kind.thing

    @app.command(
        epilog=examples(f"{tandem} actions ORD-…"),
        help=f"Show what may be done with {thing} now, until when and at what cost, or why not.",
    )
    @shared(about=kind)
    def actions(about: Thing) -> None:
        about.show(about.read("/actions"), actions_lines)

    @app.command(
        epilog=examples(f"{tandem} explain ORD-…"),
        help=f"Say what {thing} waits for, what happens next, and who can change it with which line.",
    )
    @shared(about=kind)
    def explain(about: Thing) -> None:
        about.show(about.read("/explain"), explain_lines)

    @app.command(
        epilog=examples(f"{tandem} timeline ORD-…"),
        help=f"Tell what happened to {thing}, in both services, with the time each hop took.",
    )
    @shared(about=kind)
    def timeline(about: Thing, *, cursor: Cursor = None) -> None:
        def lines(told: Json) -> list[str]:
            return [*timeline_lines(told), *more(told, f"{tandem} timeline {about.name}")]

        about.show(about.door.ask("GET", f"{about.path}/timeline", query={"cursor": cursor}), lines)
