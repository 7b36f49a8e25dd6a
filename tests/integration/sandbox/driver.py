"""The provider sandbox as a real process, and what its users do with it."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx

_names = count(1)
ADDRESS = {
    "street": "7 Canary Row",
    "city": "Ledgerville",
    "state": "IA",
    "zipCode": "94105",
    "country": "US",
}
NO_ANSWER = (httpx.RemoteProtocolError, httpx.ReadError)


@dataclass
class Sandbox:
    """A running sandbox and the few things its users do with it."""

    process: subprocess.Popen[str]
    http: httpx.Client

    def post(self, path: str, key: str | None = None, body: Any = None) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return self.http.post(path, json=body if body is not None else {}, headers=headers)

    def authorize(
        self, token: str = "tok_ok", *, ref: str | None = None, key: str | None = None
    ) -> httpx.Response:
        ref = ref or a_name("ORD")
        body = {"amountMinor": 2500, "currency": "USD", "token": token, "orderRef": ref}
        return self.post("/payments/authorizations", key, body)

    def capture(self, reference: str, *, key: str | None = None, amount: int = 2500) -> httpx.Response:
        return self.post(f"/payments/authorizations/{reference}/capture", key, {"amountMinor": amount})

    def void(self, reference: str, *, key: str | None = None) -> httpx.Response:
        return self.post(f"/payments/authorizations/{reference}/void", key)

    def label(
        self, zip_code: str = "94105", *, ref: str | None = None, key: str | None = None
    ) -> httpx.Response:
        ref = ref or a_name("PARCEL")
        body = {
            "parcelRef": ref,
            "address": {**ADDRESS, "zipCode": zip_code},
            "serviceLevel": "standard",
        }
        return self.post("/carrier/labels", key, body)

    def void_label(self, reference: str, *, key: str | None = None) -> httpx.Response:
        return self.post(f"/carrier/labels/{reference}/void", key)

    def hand_over(self, reference: str, *, key: str | None = None) -> httpx.Response:
        return self.post("/carrier/hand-overs", key, {"trackingReference": reference})

    def operation(self, provider: str, key: str) -> httpx.Response:
        return self.http.get(f"/{provider}/operations/{key}")

    def rows(self, provider: str, ref: str) -> list[tuple[str, str]]:
        """Operation and effect of every ledger row of one order or parcel."""
        return [(row["operation"], row["effect"]) for row in self.ledger(provider) if ref in row.values()]

    def ledger(self, provider: str, since: int = 0) -> list[dict[str, Any]]:
        return self.http.get(f"/ledgers/{provider}", params={"since": since}).raise_for_status().json()

    def end(self, number: signal.Signals) -> int:
        self.http.close()
        self.process.send_signal(number)
        return self.process.wait(10)


def a_name(prefix: str) -> str:
    return f"{prefix}-{next(_names)}"


def start(state: Path) -> Sandbox:
    """A sandbox over this folder on a port of its own, ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.sandbox", "--port", "0", "--state", str(state)],
        stdout=subprocess.PIPE,
        stderr=(state.parent / f"{state.name}.stderr").open("a"),
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    address = re.search(r"http://\S+:\d+", process.stdout.readline())
    process.stdout.close()
    assert address is not None
    http = httpx.Client(base_url=address[0], timeout=10, trust_env=False)
    assert http.get("/health/ready").status_code == 200
    return Sandbox(process, http)
