"""The command line that sends the same request as a call that a service names."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

_GROUP, _ID = r"/(?P<group>order|fulfillment)s", r"/(?P<id>[^/]+)"
_PARCEL = f"/fulfillments{_ID}"
_LINES = {
    rf"GET {_GROUP}{_ID}/explain": "{group} explain {id}",
    rf"POST {_GROUP}{_ID}/holds": "{group} hold {id}",
    rf"DELETE {_GROUP}{_ID}/holds": "{group} release {id}",
    rf"POST /orders{_ID}/fulfillment/(?P<verb>pause|resume)": "order {verb} {id}",
    rf"PATCH /orders{_ID}": "order update {id} --file changes.json",
    rf"DELETE /orders{_ID}": "order cancel {id} --reason WHY",
    rf"POST {_PARCEL}/(?P<verb>pause|resume|cancel)": "fulfillment {verb} {id}",
    rf"PATCH {_PARCEL}/shipping-address": "fulfillment address {id} --file address.json",
    rf"POST {_PARCEL}/steps/(?P<step>[^/]+)/(?P<verb>complete|fail)": "fulfillment {verb} {id} {step}",
    rf"POST {_GROUP}{_ID}/exceptions/resolve": "{group} resolve {id}",
    r"POST /exceptions/(?P<id>[^/]+)/(?P<verb>claim|release|retry|skip|cancel)": "exceptions {verb} {id}",
    rf"POST {_PARCEL}/cancellation-requests/(?P<about>.+)/(?P<verb>accept|reject)": (
        "fulfillment {verb}-cancel {id} {about}"
    ),
    r"DELETE /standing-holds/(?P<handle>[^/]+)": "standing-hold lift {handle}",
}
_OPTIONS = ("reason", "handle", "note", "until", "resolution")
"""Fields of a body, or parameters, that are options of the same name."""


def line_of(call: Mapping[str, Any]) -> str:
    """`tandem …` where it has such a command, else curl; what has to be filled in is left to the reader."""
    path, _, query = str(call["path"]).partition("?")
    body: Mapping[str, Any] = call.get("body") or {}
    given = {name: values[0] for name, values in parse_qs(query).items()} | {**body}
    for pattern, words in _LINES.items():
        if found := re.fullmatch(pattern, f"{call['method']} {path}"):
            named = {name: shlex.quote(unquote(text)) for name, text in found.groupdict().items()}
            return " ".join(("tandem", words.format(**named), *_options(words, given)))
    sent = f" -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}" if body else ""
    return f"curl -X {call['method']} {shlex.quote(call['path'])}{sent}"


def _options(words: str, given: Mapping[str, Any]) -> list[str]:
    return [
        f"--{name} {shlex.quote(str(given[name]))}"
        for name in _OPTIONS
        if given.get(name) and f"--{name}" not in words
    ]
