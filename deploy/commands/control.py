"""The commands that orders and parcels have alike: to hold them, and to ask what may be done."""

import typer

from deploy.commands.options import examples, shared
from deploy.commands.subjects import Thing
from deploy.commands.wishes import Handle, Lifted, Note, Reason, Sending, Until, given


def add(app: typer.Typer, kind: type[Thing], what: str) -> None:
    """The group has them too; `what` says what is held."""
    tandem = f"tandem {kind.group}"

    @app.command(
        epilog=examples(
            f"{tandem} hold ORD-… --reason FRAUD_RISK --note 'two cards, one address' --until 2h",
            f"{tandem} hold ORD-… --reason INVENTORY --handle stock-count --dry-run",
        ),
        help=f"Hold {what}, beside other holds; the last one lifted, it goes on where it was.",
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
        body = given(reason=reason, handle=handle, note=note, until=until)
        wish.send(about, "POST", "/holds", body)

    @app.command(
        epilog=examples(f"{tandem} release ORD-… --handle stock-count", f"{tandem} release ORD-… --wait"),
        help="Lift one hold or all of them.",
    )
    @shared(about=kind)
    def release(about: Thing, wish: Sending, *, handle: Lifted = None) -> None:
        wish.send(about, "DELETE", "/holds", handle=handle)
