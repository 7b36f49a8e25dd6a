"""What both OpenAPI documents say alike: the answers to a wish, and what a problem looks like."""

from typing import Any, Literal, cast

from fastapi import FastAPI
from pydantic import ConfigDict

from contracts.chassis.problems import MEDIA_TYPE, Problem
from contracts.envelope import Receipt, ReceiptStatus
from contracts.values import Message

_PROBLEMS = {
    "4XX": "What was asked cannot be done; the code says why and the detail what would help.",
    "5XX": "Not now: the store does not answer, or something unexpected went wrong.",
}


class GrantedWish(Receipt):
    """The receipt of a wish that was granted or passed on, and the names of what it is about."""

    model_config = ConfigDict(extra="allow")


class ForeseenFact(Message):
    type: str
    data: dict[str, Any]


class Rehearsal(Message):
    """What a wish would have led to; nothing of it was done."""

    model_config = ConfigDict(extra="allow")

    dry_run: Literal[True]
    status: str
    receipt_status: ReceiptStatus
    facts: list[ForeseenFact]


GRANTED: dict[int | str, dict[str, Any]] = {
    200: {"model": GrantedWish | Rehearsal, "description": "Granted, or with `dryRun` what would happen."},
    202: {"model": GrantedWish, "description": "Taken; what becomes of it is told at the `Location`."},
}
"""For `responses=` of the routes that take a wish."""


def describe_problems(app: FastAPI) -> None:
    """The document says of each route that its errors are problem+json, which no route can say by itself."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _with_problems(plain())
        return cast("dict[str, Any]", app.openapi_schema)

    app.openapi = openapi


def _with_problems(document: dict[str, Any]) -> None:
    schema = Problem.model_json_schema(by_alias=True, mode="serialization", ref_template=_REFERENCE)
    known = document.setdefault("components", {}).setdefault("schemas", {})
    known |= {**schema.pop("$defs"), "Problem": schema}
    for name in ("HTTPValidationError", "ValidationError"):
        known.pop(name, None)
    answer = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}}
    for path in document["paths"].values():
        for route in path.values():
            route["responses"].pop("422", None)
            route["responses"] |= {
                status: {"description": text, "content": answer} for status, text in _PROBLEMS.items()
            }


_REFERENCE = "#/components/schemas/{model}"
