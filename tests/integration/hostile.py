"""Requests that no honest client sends: a table over both doors."""

import base64
import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.integration.doors import Service

PERSONAL = (
    "Adalia",
    "Hostilia",
    "Secret Orchard",
    "Secretville",
    "@example.com",
    "867-5309",
    "4111111111111111",
    "secret door",
)
"""Parts of what the requests say about a person; no answer may repeat one."""

KEY_OF_AN_ORDER, KEY_OF_A_WISH = "used-for-an-order", "used-for-a-wish"
JSON_TYPE = "application/json"
UNKNOWN_ORDER = "ORD-1703123456789-ZZZZZZZZZ"

ORDER: dict[str, Any] = {
    "customerId": "hostile-1",
    "items": [{"sku": "TEAPOT", "quantity": 1, "unitPriceMinor": 4900}],
    "currency": "USD",
    "shippingAddress": {
        "street": "17 Secret Orchard",
        "city": "Secretville",
        "state": "NC",
        "zipCode": "12345",
        "country": "USA",
    },
    "contact": {
        "name": "Adalia Hostilia",
        "email": "adalia.hostilia@example.com",
        "phone": "+1 (555) 867-5309",
    },
    "payment": {"token": "tok_ok"},
    "instructions": "behind the secret door",
}
ADDRESS: dict[str, Any] = ORDER["shippingAddress"]


@dataclass(frozen=True)
class Hostile:
    """One request, and the answer it deserves."""

    what: str
    service: Service
    method: str
    path: str
    """`{order}` and `{parcel}` are things that exist."""
    status: int
    names: str = ""
    """What the detail must contain, such as the field's name."""
    content: bytes | None = None
    headers: Mapping[str, str | bytes] = field(default_factory=dict[str, "str | bytes"])
    code: str = "INVALID_REQUEST"

    def __str__(self) -> str:
        return f"{self.service}: {self.what}"


def raw(value: object) -> bytes:
    return json.dumps(value).encode()


MISSING = object()


def changed(path: str, value: object, whole: dict[str, Any] = ORDER) -> bytes:
    """The body with one place of it changed; `items.0.sku` is a place."""
    body: Any = copy.deepcopy(whole)
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = body
    for name in way:
        place = place[name]
    if value is MISSING:
        del place[last]
    else:
        place[last] = value
    return raw(body)


def at(path: str, *values: object) -> list[tuple[str, object]]:
    return [(path, value) for value in values]


PLACES: list[tuple[str, object]] = [
    *at("customerId", 7, "", "a b", "x" * 65, None, True, "Ädalia", [], "-x", "x\n"),
    *at("items", [], [ORDER["items"][0]] * 51, {}, None, "TEAPOT"),
    *at("items.0", None, [], "TEAPOT"),
    *at("items.0.sku", "lower", 7, "A" * 41, "TEA POT", "TEAPOT\n", MISSING),
    *at("items.0.quantity", 0, -1, 1000, 1.5, 2.0, "1", True, None, 10**30, MISSING),
    *at("items.0.unitPriceMinor", -1, 10**8, 1.0, "100", False, [1], MISSING),
    *at("items.0.discount", 5),
    *at("currency", "usd", "US", "USDX", 840, "U$D", None, MISSING),
    *at("shippingAddress", None, "17 Secret Orchard", [], MISSING),
    *at("shippingAddress.street", "17 Secret Orchard " * 20, "  ", 17, None, MISSING),
    *at("shippingAddress.city", "", "Secretville" * 10, {"name": "Secretville"}),
    *at("shippingAddress.zipCode", "1", "1" * 13, 12345, "\n12345", "12345\n", "-1234"),
    *at("shippingAddress.careOf", "Adalia Hostilia"),
    *at("contact.name", " ", "Adalia " * 20, 7, MISSING),
    *at("contact.email", "adalia at example", "a b@example.com", "a" * 65 + "@example.com", 7),
    *at("contact.phone", "call Adalia", "12", 5558675309),
    *at("payment.token", "4111111111111111", "tok_", "tok_ü", "tok_" + "x" * 61, 7),
    *at("payment.cardNumber", "4111111111111111"),
    *at("instructions", "", "behind the secret door" * 30, 7, ["secret door"]),
    *at("orderId", UNKNOWN_ORDER),
    *at("totalMinor", 1),
]  # fmt: skip


def bodies() -> Iterator[Hostile]:
    """An order with one place changed: the detail names that place."""
    for place, value in PLACES:
        name = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in place.split(".")).lstrip(".")
        shown = "missing" if value is MISSING else repr(value)[:30]
        yield Hostile(f"{name} {shown}", "orders", "POST", "/orders", 422, name, changed(place, value))
    yield Hostile("an article that is not sold", "orders", "POST", "/orders", 422, "items[0].sku",
                  changed("items.0.sku", "NO-SUCH"), code="UNKNOWN_SKU")  # fmt: skip
    dear = {"sku": "TEAPOT", "quantity": 999, "unitPriceMinor": 99_999_999}
    yield Hostile("a total beyond all bounds", "orders", "POST", "/orders", 422, "total",
                  changed("items", [dear] * 50))  # fmt: skip


TEXTS: list[tuple[str, bytes, int, str]] = [
    ("nothing", b"", 422, "body"),
    ("half an object", b"{", 400, "JSON"),
    ("null", b"null", 422, "body"),
    ("a list", b"[]", 422, "body"),
    ("a text", b'"Adalia"', 422, "body"),
    ("a number", b"7", 422, "body"),
    ("two values", b"{} {}", 400, "JSON"),
    ("single quotes", b"{'reason': 'Adalia'}", 400, "JSON"),
    ("a comma too many", b'{"reason": "Adalia",}', 400, "JSON"),
    ("a name twice", b'{"reason": "Adalia", "reason": "Hostilia"}', 400, "twice"),
    ("a name twice, deep", b'{"reason": {"a": {"b": 1, "b": 2}}}', 400, "twice"),
    ("not a number", b'{"reason": NaN}', 400, "NaN"),
    ("an infinite number", b'{"reason": 1e999}', 422, "reason"),
    ("a number of 5000 digits", b'{"reason": ' + b"9" * 5000 + b"}", 400, "digits"),
    ("NUL", b'{"reason": "Adalia\\u0000"}', 422, "reason"),
    ("NUL in a name", b'{"rea\\u0000son": "Adalia"}', 422, "NUL"),
    ("a lone surrogate", b'{"reason": "\\ud800 Adalia"}', 422, "reason"),
    ("a lone surrogate in a name", b'{"\\udfff": "Adalia"}', 422, "surrogate"),
    ("raw control characters", b'{"reason": "Adalia\x01"}', 400, "JSON"),
    ("bytes that are no UTF-8", b'{"reason": "Adalia \xff"}', 400, "UTF-8"),
    ("an overlong encoding", b'{"reason": "\xc0\xaf"}', 400, "UTF-8"),
    ("UTF-16", '{"reason": "Adalia"}'.encode("utf-16"), 400, "UTF-8"),
    ("a byte order mark", b'\xef\xbb\xbf{"reason": "Adalia"}', 400, "JSON"),
    ("open brackets", b"[" * 30_000, 400, "nests"),
    ("deep nesting", b'{"reason":' * 5_000 + b"1" + b"}" * 5_000, 400, "nests"),
    ("nesting within a field", b'{"reason": ' + b"[" * 100 + b"]" * 100 + b"}", 400, "nests"),
    ("more than 64 KB", b'{"reason": "' + b"Adalia" * 12_000 + b'"}', 413, "larger"),
]

TYPES: list[tuple[str | bytes, bytes]] = [
    ("text/plain", b'{"reason": "Adalia"}'),
    ("", b'{"reason": "Adalia"}'),
    ("application/xml", b"<reason>Adalia</reason>"),
    ("application/x-www-form-urlencoded", b"reason=Adalia"),
    ("multipart/form-data; boundary=b", b"--b\r\n\r\n--b--"),
    ("application/json; charset=latin-1", b'{"reason": "Adalia"}'),
    ("application/json, text/plain", b'{"reason": "Adalia"}'),
    (b"\xff\xfe", b'{"reason": "Adalia"}'),
]

DOORS: list[tuple[Service, str, str]] = [
    ("orders", "DELETE", "/orders/{order}"),
    ("fulfillments", "POST", "/fulfillments/{parcel}/holds"),
]


def texts() -> Iterator[Hostile]:
    """Bodies that are no JSON, or no JSON of ours, and bodies that say they are something else."""
    for service, method, path in DOORS:
        for what, content, status, names in TEXTS:
            code = "BODY_TOO_LARGE" if status == 413 else "INVALID_REQUEST"
            yield Hostile(what, service, method, path, status, names, content, code=code)
        for media_type, content in TYPES:
            yield Hostile(f"content type {media_type!r}", service, method, path, 415, "application/json",
                          content, {"Content-Type": media_type}, "UNSUPPORTED_MEDIA_TYPE")  # fmt: skip
    yield Hostile("a body where none is expected", "orders", "POST", "/orders/demo", 400, "JSON", b"{")
    pause = "/orders/{order}/fulfillment/pause"
    yield Hostile("a huge body where none is expected", "orders", "POST", pause, 413, "larger",
                  b'"' + b"x" * 70_000 + b'"', code="BODY_TOO_LARGE")  # fmt: skip


HEADERS: list[tuple[str, str | bytes, int, str]] = [
    ("Idempotency-Key", "", 422, "INVALID_REQUEST"),
    ("Idempotency-Key", "a key with spaces", 422, "INVALID_REQUEST"),
    ("Idempotency-Key", "x" * 256, 422, "INVALID_REQUEST"),
    ("Idempotency-Key", "x" * 60_000, 422, "INVALID_REQUEST"),
    ("Idempotency-Key", b"\xff\xfe", 422, "INVALID_REQUEST"),
    ("Idempotency-Key", b"nul\x00nul", 422, "INVALID_REQUEST"),
    ("Idempotency-Key", "Ädalia".encode(), 422, "INVALID_REQUEST"),
    ("If-Match", "7", 422, "INVALID_REQUEST"),
    ("If-Match", "*", 422, "INVALID_REQUEST"),
    ("If-Match", '"-1"', 422, "INVALID_REQUEST"),
    ("If-Match", '"1", "2"', 422, "INVALID_REQUEST"),
    ("If-Match", '"99999999999999999999"', 422, "INVALID_REQUEST"),
    ("If-Match", b'"\xb2"', 422, "INVALID_REQUEST"),
    ("If-Match", '"999999999"', 412, "VERSION_MISMATCH"),
    ("Prefer", "wait=soon", 422, "INVALID_REQUEST"),
    ("Prefer", "wait", 422, "INVALID_REQUEST"),
    ("Prefer", "wait=", 422, "INVALID_REQUEST"),
    ("Prefer", "wait=-1", 422, "INVALID_REQUEST"),
    ("Prefer", "wait=1.5", 422, "INVALID_REQUEST"),
    ("Prefer", "respond-async, Wait = 1e3", 422, "INVALID_REQUEST"),
    ("Prefer", "wait=" + "9" * 10, 422, "INVALID_REQUEST"),
    ("Prefer", b"wait=\xb2", 422, "INVALID_REQUEST"),
    ("X-Actor", "adalia.hostilia@example.com", 422, "INVALID_REQUEST"),
    ("X-Actor", "Adalia Hostilia", 422, "INVALID_REQUEST"),
    ("X-Actor", "x" * 65, 422, "INVALID_REQUEST"),
    ("X-Actor", b"\xed\xa0\x80", 422, "INVALID_REQUEST"),
]


def headers() -> Iterator[Hostile]:
    """Headers that cannot be what they should be, over bodies that are in order."""
    wishes: list[tuple[Service, str, str, bytes]] = [
        ("orders", "DELETE", "/orders/{order}", raw({"reason": "late"})),
        ("fulfillments", "POST", "/fulfillments/{parcel}/holds", raw({"reason": "QUALITY"})),
    ]
    for service, method, path, content in wishes:
        for name, value, status, code in HEADERS:
            names = name if status == 422 else "changed"
            yield Hostile(f"{name}: {value[:20]!r}", service, method, path, status, names, content,
                          {name: value}, code)  # fmt: skip
        for what in ("kind=Adalia", "subject=", "limit=0", "before=99999999999999999999"):
            asked = f"/ops/reconciliations?{what}"
            yield Hostile(asked[5:], service, "GET", asked, 422, what.partition("=")[0])
        yield Hostile("a wait that is none for a receipt", service, "GET", "/commands/any", 422, "Prefer",
                      headers={"Prefer": "wait=forever"})  # fmt: skip
    contact = {"name": "Adalia Other", "email": "other@example.com"}
    reused: list[tuple[Service, str, str, bytes, str]] = [
        ("orders", "POST", "/orders", changed("customerId", "hostile-2"), KEY_OF_AN_ORDER),
        ("orders", "PATCH", "/orders/{order}", raw({"contact": contact}), KEY_OF_A_WISH),
        (
            "fulfillments",
            "POST",
            "/fulfillments/{parcel}/pause",
            raw({"reason": "secret door"}),
            KEY_OF_A_WISH,
        ),
    ]
    for service, method, path, content, key in reused:
        yield Hostile(f"a used key {method}", service, method, path, 422, "Idempotency-Key", content,
                      {"Idempotency-Key": key}, "KEY_REUSED")  # fmt: skip


NO_IDS = (
    "x",
    "ORD-1-X",
    "ORD-1703123456789-abcdefghi",
    "ORD-1703123456789-ABC123DEF%0A",
    "ORD-%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1%D9%A1-ABC123DEF",
    "ORD-1703123456789-ABC123DEF'%20or%20'1'='1",
    "order-order-workflow-ORD-1703123456789-ABC123DEF",
    "%ED%A0%80",
    "%20",
    "A" * 5000,
)


def paths() -> Iterator[Hostile]:
    """Ids that are none, ids of nothing, paths that lead nowhere and methods nobody takes."""
    for name in NO_IDS:
        what = f"id {name[:40]}"
        yield Hostile(what, "orders", "GET", f"/orders/{name}", 422, "not an order id")
        yield Hostile(
            what, "orders", "DELETE", f"/orders/{name}", 422, "not an order id", raw({"reason": "x"})
        )
        yield Hostile(what, "orders", "GET", f"/orders/fulfillment/{name}/status", 422, "id")
        yield Hostile(what, "fulfillments", "POST", f"/fulfillments/{name}/pause", 422, "fulfillment id")
    nothing: list[tuple[Service, str, str, bytes | None]] = [
        ("orders", "GET", f"/orders/{UNKNOWN_ORDER}", None),
        ("orders", "DELETE", f"/orders/{UNKNOWN_ORDER}", raw({"reason": "Adalia"})),
        ("orders", "PATCH", f"/orders/order-workflow-{UNKNOWN_ORDER}", raw({"instructions": "secret door"})),
        ("orders", "POST", f"/orders/{UNKNOWN_ORDER}/fulfillment/pause", None),
        ("orders", "PATCH", f"/orders/fulfillment/{UNKNOWN_ORDER}-1/shipping-address", raw(ADDRESS)),
        ("orders", "GET", "/commands/' or 1=1 --", None),
        ("orders", "GET", "/commands/" + "x" * 5000, None),
        ("orders", "GET", "/commands/%00", None),
        ("orders", "GET", "/orders/%00", None),
        ("orders", "GET", "/orders/../../etc/passwd", None),
        ("orders", "GET", "/orders/..%2f..%2fetc%2fpasswd", None),
        ("orders", "GET", "//orders", None),
        ("orders", "GET", "/" + "a/" * 2000, None),
        ("fulfillments", "GET", f"/fulfillments/{UNKNOWN_ORDER}-1", None),
        ("fulfillments", "POST", f"/fulfillments/{UNKNOWN_ORDER}-1/pause", None),
        ("fulfillments", "POST", f"/fulfillments/{UNKNOWN_ORDER}/cancel", raw({"reason": "Adalia"})),
        ("fulfillments", "PATCH", f"/fulfillments/{UNKNOWN_ORDER}-1/shipping-address", raw(ADDRESS)),
        ("fulfillments", "GET", "/commands/%00", None),
        ("fulfillments", "GET", "/fulfillments/%00/status", None),
    ]
    for service, method, path, content in nothing:
        yield Hostile(
            f"nothing at {path[:40]}", service, method, path, 404, content=content, code="NOT_FOUND"
        )
    refused: list[tuple[Service, str, str]] = [
        ("orders", "PUT", "/orders"),
        ("orders", "DELETE", "/orders"),
        ("orders", "POST", "/orders/{order}"),
        ("orders", "BREW", "/orders/demo"),
        ("orders", "TRACE", "/orders"),
        ("fulfillments", "POST", "/fulfillments"),
        ("fulfillments", "DELETE", "/fulfillments/{parcel}"),
        ("fulfillments", "GET", "/fulfillments/{parcel}/pause"),
    ]
    for service, method, path in refused:
        yield Hostile(f"{method} {path}", service, method, path, 405, "method", code="METHOD_NOT_ALLOWED")


def cursor(*place: object) -> str:
    return base64.urlsafe_b64encode(raw(list(place))).decode()


CURSORS = (
    "x",
    "%F0%9F%98%80",
    cursor(),
    cursor(7, 7),
    cursor("2026-01-01T00:00:00+00:00", "Adalia"),
    cursor("2026-01-01T00:00:00+00:00", {"a": 1}),
    cursor("yesterday", UNKNOWN_ORDER),
    cursor("9" * 100, UNKNOWN_ORDER),
    "x" * 201,
)


def queries() -> Iterator[Hostile]:
    """Values of a query that cannot be what they should be."""
    lists: list[tuple[Service, str]] = [("orders", "/orders"), ("fulfillments", "/fulfillments")]
    for service, path in lists:
        for value in ("0", "201", "abc", "1.5", "-1", "1e2", "9" * 5000):
            yield Hostile(f"limit={value[:9]}", service, "GET", f"{path}?limit={value}", 422, "limit")
        for value in CURSORS:
            yield Hostile(f"cursor={value[:30]}", service, "GET", f"{path}?cursor={value}", 422, "cursor")
        yield Hostile("a long status", service, "GET", f"{path}?status={'x' * 41}", 422, "status")
        yield Hostile("no stage", service, "GET", f"{path}?stage=Adalia", 422, "stage")
        yield Hostile("NUL", service, "GET", f"{path}?status=%00", 422, "NUL")
    long = "x" * 65
    yield Hostile("a long customer", "orders", "GET", f"/orders?customerId={long}", 422, "customerId")
    yield Hostile("a long order", "fulfillments", "GET", f"/fulfillments?orderId={long}", 422, "orderId")
    yield Hostile("no parameter", "fulfillments", "GET", "/fulfillments?page=2", 422, "page")
    stories: list[tuple[Service, str]] = [
        ("orders", "/orders/{order}"),
        ("fulfillments", "/fulfillments/{parcel}"),
    ]
    for service, path in stories:
        for query, names in (("limit=0", "limit"), ("limit=501", "limit"), ("since=1", "since")):
            yield Hostile(f"a timeline {query}", service, "GET", f"{path}/timeline?{query}", 422, names)
        for cursor in ("Adalia", base64.urlsafe_b64encode(b'["2026-01-01T00:00:00", "order@x"]').decode()):
            yield Hostile(f"a timeline from {cursor[:8]}", service, "GET",
                          f"{path}/timeline?cursor={cursor}", 422, "cursor")  # fmt: skip
    yield Hostile("no scenario", "orders", "POST", "/orders/demo?scenario=Adalia", 422, "scenario")
    yield Hostile("no speed", "orders", "POST", "/orders/demo?speed=warp", 422, "speed")
    commands: list[tuple[Service, str, str, bytes | None]] = [
        ("orders", "POST", "/orders", raw(ORDER)),
        ("orders", "POST", "/orders/demo", None),
        ("orders", "DELETE", "/orders/{order}", raw({"reason": "late"})),
        ("orders", "POST", "/orders/{order}/fulfillment/pause", None),
        ("fulfillments", "POST", "/fulfillments/{parcel}/cancel", None),
        ("fulfillments", "DELETE", "/fulfillments/{parcel}/holds", None),
    ]
    for service, method, path, content in commands:
        for query in ("dryRun=perhaps", "dryRun=", "dry_run=true", "dryrun=true", "DRYRUN=1", "dry-run=true"):
            yield Hostile(f"{method} {path[:24]} {query}", service, method, f"{path}?{query}", 422, "dry",
                          content)  # fmt: skip


def wishes() -> Iterator[Hostile]:
    """Wishes for things that exist, whose bodies are JSON and yet not what they should be."""
    order, parcel = "/orders/{order}", "/fulfillments/{parcel}"
    address = f"{parcel}/shipping-address"
    through_order = "/orders/fulfillment/fulfillment-{order}-1/shipping-address"
    asked: list[tuple[Service, str, str, object, str]] = [
        ("orders", "DELETE", order, {}, "reason"),
        ("orders", "DELETE", order, {"reason": ""}, "reason"),
        ("orders", "DELETE", order, {"reason": "Adalia" * 100}, "reason"),
        ("orders", "DELETE", order, {"reason": 7}, "reason"),
        ("orders", "DELETE", order, {"reason": "late", "force": True}, "force"),
        ("orders", "PATCH", order, {}, "at least one of"),
        ("orders", "PATCH", order, {"contact": None, "shippingAddress": None}, "at least one of"),
        ("orders", "PATCH", order, {"orderId": UNKNOWN_ORDER}, "orderId"),
        ("orders", "PATCH", order, {"totalMinor": 1, "instructions": "secret door"}, "totalMinor"),
        ("orders", "PATCH", order, {"items": ORDER["items"], "instructions": "secret door"}, "items"),
        ("orders", "PATCH", order, {"contact": {"name": "Adalia"}}, "contact.email"),
        ("orders", "PATCH", order, {"shippingAddress": {**ADDRESS, "zipCode": 1}}, "shippingAddress.zipCode"),
        ("orders", "POST", f"{order}/holds", {}, "reason"),
        ("orders", "POST", f"{order}/holds", {"reason": "BECAUSE"}, "reason"),
        ("orders", "POST", f"{order}/holds", {"reason": "QUALITY", "handle": "a b"}, "handle"),
        ("orders", "POST", f"{order}/holds", {"reason": "QUALITY", "until": 7}, "until"),
        ("orders", "POST", f"{order}/holds", {"reason": "QUALITY", "until": "7"}, "until"),
        ("orders", "POST", f"{order}/holds", {"reason": "QUALITY", "until": "2026-01-31T12:00:00"}, "until"),
        ("orders", "POST", f"{order}/holds", {"reason": "QUALITY", "holder": "Adalia"}, "holder"),
        ("orders", "POST", f"{order}/holds", {"reason": "QUALITY", "note": "Adalia" * 100}, "note"),
        ("orders", "DELETE", f"{order}/holds?handle=Adalia%20Hostilia", None, "handle"),
        ("orders", "POST", f"{order}/fulfillment/pause", {"until": "tomorrow"}, "until"),
        ("orders", "POST", f"{order}/fulfillment/resume", {"handle": ""}, "handle"),
        ("orders", "PATCH", through_order, {}, "street"),
        ("orders", "PATCH", through_order, {**ADDRESS, "name": "Adalia"}, "name"),
        ("fulfillments", "POST", f"{parcel}/pause", {"reason": 7}, "reason"),
        ("fulfillments", "POST", f"{parcel}/pause", {"reason": "Adalia" * 100}, "reason"),
        ("fulfillments", "POST", f"{parcel}/pause", {"because": "Adalia"}, "because"),
        ("fulfillments", "POST", f"{parcel}/pause", [], "body"),
        ("fulfillments", "POST", f"{parcel}/resume", {"note": " "}, "note"),
        ("fulfillments", "POST", f"{parcel}/cancel", {"reason": ["Adalia"]}, "reason"),
        ("fulfillments", "POST", f"{parcel}/holds", {}, "reason"),
        ("fulfillments", "POST", f"{parcel}/holds", {"reason": "BECAUSE"}, "reason"),
        ("fulfillments", "POST", f"{parcel}/holds", {"reason": "QUALITY", "handle": "a b"}, "handle"),
        ("fulfillments", "POST", f"{parcel}/holds", {"reason": "QUALITY", "until": 7}, "until"),
        ("fulfillments", "DELETE", f"{parcel}/holds?handle=Adalia%20Hostilia", None, "handle"),
        ("fulfillments", "DELETE", f"{parcel}/holds?handle={'x' * 65}", None, "handle"),
        ("fulfillments", "PATCH", address, {}, "street"),
        ("fulfillments", "PATCH", address, {**ADDRESS, "careOf": "Adalia"}, "careOf"),
        ("fulfillments", "PATCH", address, {**ADDRESS, "street": "Adalia" * 100}, "street"),
        ("fulfillments", "POST", f"{parcel}/steps/pick%201/complete", None, "step_key"),
        ("fulfillments", "POST", f"{parcel}/steps/{'x' * 65}/fail", None, "step_key"),
        ("fulfillments", "POST", f"{parcel}/steps/quality/fail", {"reason": {}}, "reason"),
    ]
    for service, method, path, body, names in asked:
        what = f"{method} {path.rpartition('}')[2][:40]} {str(body)[:30]}"
        yield Hostile(what, service, method, path, 422, names, None if body is None else raw(body))


REQUESTS = [*bodies(), *texts(), *headers(), *paths(), *queries(), *wishes()]
