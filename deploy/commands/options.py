"""The options that commands share, and how a dataclass of them becomes part of a command."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import update_wrapper
from typing import Annotated, Any, cast

import typer
from typer.models import ArgumentInfo

EXIT_CODES = (
    "Exit codes: 0 done · 1 refused by the service, which says why · 2 wrong usage · "
    "3 not reachable: start it with ./deploy/up · 4 timed out waiting · "
    "5 ended otherwise: cancelled, failed, needs a person, or superseded by another wish"
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
OrderUrl = Annotated[
    str | None,
    typer.Option(
        "--order-url", envvar="TANDEM_ORDER_URL", help="The order service.", show_default="running stack"
    ),
]
FulfillmentUrl = Annotated[
    str | None,
    typer.Option(
        "--fulfillment-url", envvar="TANDEM_FULFILLMENT_URL", help="The fulfillment service.",
        show_default="running stack",
    ),
]  # fmt: skip
Key = Annotated[
    str | None, typer.Option("--key", help="Idempotency-Key: sent again under the same one, done only once.")
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait; then exit code 4.")]
Watching = Annotated[
    float | None, typer.Option("--timeout", min=0.1, help="Seconds to wait; for ever if not set.")
]
FromFile = Annotated[
    str | None, typer.Option("--file", "-f", metavar="FILE|-", help="JSON body; - reads standard input.")
]

Limit = Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many, newest first.")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="The `next` of the page before.")]


def group(name: str, help_text: str) -> typer.Typer:
    """A group of commands whose help says what the exit codes mean."""
    return typer.Typer(name=name, help=help_text, epilog=EXIT_CODES, no_args_is_help=True)


def examples(*lines: str) -> str:
    """The end of a command's help: lines to copy, then what the exit codes mean."""
    # Typer takes a paragraph for a line.
    return "\n\n".join(("Example:" if len(lines) == 1 else "Examples:", *lines, EXIT_CODES))


def shared(**kinds: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A parameter whose type is a dataclass stands for the options and arguments that are its fields.

    `kinds` names the dataclass of a parameter where its type is only known when the program runs."""
    return lambda function: _Command(function, kinds)


class _Command:
    """A function as typer sees it: one flat list of arguments and options."""

    def __init__(self, function: Callable[..., None], kinds: dict[str, type]) -> None:
        update_wrapper(self, function)
        self._function = function
        own = inspect.signature(function).parameters.values()
        self._kinds = {each.name: _kind(each, kinds) for each in own}
        flat = [field for each in own for field in self._flat(each)]
        # Arguments are told apart by their order; then what is the command's own, then what all have.
        self.__signature__ = inspect.Signature(sorted(flat, key=lambda each: self._place(each, own)))

    def __call__(self, **given: Any) -> None:
        def value(name: str, kind: Any) -> Any:
            if kind is None:
                return given[name]
            return kind(**{field.name: given[field.name] for field in fields(kind)})

        self._function(**{name: value(name, kind) for name, kind in self._kinds.items()})

    def _flat(self, own: inspect.Parameter) -> Iterator[inspect.Parameter]:
        kind = self._kinds[own.name]
        for each in [own] if kind is None else inspect.signature(kind).parameters.values():
            yield each.replace(kind=inspect.Parameter.KEYWORD_ONLY)

    @staticmethod
    def _place(each: inspect.Parameter, own: Any) -> int:
        told = getattr(each.annotation, "__metadata__", ())
        if any(isinstance(one, ArgumentInfo) for one in told):
            return 0
        return 1 if each.name in [one.name for one in own] else 2


def _kind(parameter: inspect.Parameter, kinds: dict[str, type]) -> Any:
    """The dataclass a parameter stands for; None for one that is an option itself."""
    named = cast("object", kinds.get(parameter.name, parameter.annotation))
    return named if isinstance(named, type) and is_dataclass(named) else None
