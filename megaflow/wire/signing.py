"""Signature Version 4 for a service's JSON calls; the derived key is kept for its day and its credentials.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple, Protocol, Self


class Credentials(Protocol):
    """What botocore's frozen credentials are."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


class SignedHeaders(NamedTuple):
    """The headers that are signed, as the signature has them."""

    names: str
    lines: str

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self:
        """Return them for *headers*, by their lower-case names."""
        names = sorted(headers)
        return cls(";".join(names), "".join([f"{name}:{' '.join(headers[name].split())}\n" for name in names]))


_AT_ONCE: Final = 2_047
"""Bytes: to hash more at once, `hashlib` lets other threads in, and then waits for its turn, longer than it hashes."""

_MOST_IN_TURN: Final = 65_536

_BLOCK: Final = 64
"""Bytes of SHA-256's block, by which HMAC pads its key: https://www.rfc-editor.org/rfc/rfc2104"""


class _Key:
    """The derived key of a *secret* and a *day*, begun to be hashed."""

    def __init__(self, secret: str, day: str, key: bytes) -> None:
        self.secret = secret
        self.day = day
        padded = key.ljust(_BLOCK, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def sign(self, text: str) -> str:
        """Return the HMAC of *text*; `hmac` lets other threads in, and then waits for its turn."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        return outer.hexdigest()


class Signer:
    """Signs requests to one service in one region. May be used from any thread."""

    def __init__(self, region: str, service: str) -> None:
        self._region = region
        self._service = service
        self._scope = f"{region}/{service}/aws4_request"
        self._key = self._derive_key("", "")

    def sign(self, headers: SignedHeaders, body: bytes, timestamp: str, credentials: Credentials) -> str:
        """Return the ``Authorization`` of a POST of *body* to ``/`` at *timestamp* (``20261231T235959Z``)."""
        names, lines = headers
        canonical = f"POST\n/\n\n{lines}\n{names}\n{_hash(body)}"
        scope = f"{timestamp[:8]}/{self._scope}"
        text = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = self._key_of(credentials.secret_key, timestamp[:8]).sign(text)
        return (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )

    def _key_of(self, secret: str, day: str) -> _Key:
        kept = self._key
        if kept.secret != secret or kept.day != day:
            kept = self._key = self._derive_key(secret, day)
        return kept

    def _derive_key(self, secret: str, day: str) -> _Key:
        key = f"AWS4{secret}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return _Key(secret, day, key)


def _hash(body: bytes) -> str:
    if not _AT_ONCE < len(body) <= _MOST_IN_TURN:
        return sha256(body).hexdigest()
    hashed = sha256()
    for start in range(0, len(body), _AT_ONCE):
        hashed.update(body[start : start + _AT_ONCE])
    return hashed.hexdigest()
