"""Everything a namespace's history holds is encrypted with a key of that namespace's ring.

AES-256-GCM, the key's id in the payload's metadata, so that an old key still reads what it wrote. Payloads
without our encoding (a signal typed at the `temporal` command line) are taken as they are, and counted.
"""

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from prometheus_client import Counter
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.converter import (
    DefaultFailureConverterWithEncodedAttributes,
    PayloadConverter,
)
from temporalio.converter import PayloadCodec as TemporalPayloadCodec
from temporalio.exceptions import ApplicationError

_ENCODING = b"binary/encrypted"
_NOTHING = b"binary/null"
_NONCE_BYTES = 12

BARE_PAYLOADS = Counter("tandem_bare_payloads", "Payloads read that were not encrypted", ["namespace"])


class KeyRing:
    """The keys of one namespace: the first encrypts, each decrypts what it wrote."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise ValueError("a key ring needs at least one key")
        self._keys = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._first = next(iter(keys))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The ring written as `<keyId>:<base64 of 32 bytes>[,<older>…]`.

        Raises ValueError, without quoting a key."""
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
            key_id, separator, encoded = entry.partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                key = b""
            if not (separator and key_id and len(key) == 32):
                raise ValueError(f"key {number} of the ring is not `<keyId>:<base64 of 32 bytes>`")
            keys[key_id] = key
        return cls(keys)

    def encrypt(self, plain: bytes) -> tuple[str, bytes]:
        """The id of the key that was used, and what it made of it."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._first, nonce + self._keys[self._first].encrypt(nonce, plain, self._first.encode())

    def decrypt(self, key_id: str, sealed: bytes) -> bytes:
        """Raises ValueError when the key is not in the ring, or the text is not what that key sealed."""
        key = self._keys.get(key_id)
        if key is None:
            raise ValueError("a payload was sealed with a key that is not in this ring")
        try:
            return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], key_id.encode())
        except InvalidTag as error:
            raise ValueError("a payload is not what its key sealed") from error


class PayloadCodec(TemporalPayloadCodec):
    """Seals every payload but the empty one, which says nothing and would grow by 100 bytes."""

    def __init__(self, ring: KeyRing, namespace: str) -> None:
        self._ring = ring
        self._bare = BARE_PAYLOADS.labels(namespace)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._sealed(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._opened(payload) for payload in payloads]

    def _sealed(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") == _NOTHING:
            return payload
        key_id, data = self._ring.encrypt(payload.SerializeToString())
        return Payload(metadata={"encoding": _ENCODING, "key": key_id.encode()}, data=data)

    def _opened(self, payload: Payload) -> Payload:
        encoding = payload.metadata.get("encoding")
        if encoding == _ENCODING:
            key_id = payload.metadata.get("key", b"").decode(errors="replace")
            return Payload.FromString(self._ring.decrypt(key_id, payload.data))
        if encoding != _NOTHING:
            self._bare.inc()
        return payload


class SealedFailures(DefaultFailureConverterWithEncodedAttributes):
    """Failures whose text is sealed like a payload.

    Those that an activity reports leave their stack trace out: it costs a kilobyte of history each time."""

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        if isinstance(exception, ApplicationError):
            exception = exception.with_traceback(None)
        super().to_failure(exception, payload_converter, failure)


def codec_server(rings: Mapping[str, KeyRing]) -> Starlette:
    """`POST /decode`: opens payloads for Temporal's UI in a browser on this machine, and for nobody else.

    The header `X-Namespace` names the ring."""
    codecs = {namespace: PayloadCodec(ring, namespace) for namespace, ring in rings.items()}

    async def decode(request: Request) -> Response:
        codec = codecs.get(request.headers.get("X-Namespace", ""))
        if codec is None:
            return Response("unknown namespace", 404)
        try:
            payloads = Parse(await request.body(), Payloads())
            opened = Payloads(payloads=await codec.decode(payloads.payloads))
        except (ParseError, ValueError):
            return Response("not payloads of this namespace", 400)
        return Response(MessageToJson(opened), media_type="application/json")

    browsers = Middleware(
        CORSMiddleware,
        allow_origin_regex=r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?",
        allow_methods=["POST"],
        allow_headers=["content-type", "x-namespace", "authorization"],
        allow_credentials=True,
    )
    # A page elsewhere whose name resolves to this machine is not a browser on it.
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", "testserver"])
    return Starlette(routes=[Route("/decode", decode, methods=["POST"])], middleware=[hosts, browsers])
