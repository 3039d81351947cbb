"""Signature Version 4 for a service's JSON calls; the derived key is kept for its day and its credentials.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple, Protocol


class Credentials(Protocol):
    """What botocore's frozen credentials are."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


class _Key(NamedTuple):
    secret: str
    day: str
    key: bytes


class Signer:
    """Signs requests to one service in one region. May be used from any thread."""

    def __init__(self, region: str, service: str) -> None:
        self._region = region
        self._service = service
        self._scope = f"{region}/{service}/aws4_request"
        self._key = _Key("", "", b"")

    def sign(self, headers: Mapping[str, str], body: bytes, timestamp: str, credentials: Credentials) -> str:
        """Return the ``Authorization`` of a POST of *body* to ``/`` at *timestamp* (``20261231T235959Z``).

        *headers* are those to sign, by their lower-case names.
        """
        names = sorted(headers)
        signed = ";".join(names)
        lines = "".join([f"{name}:{' '.join(headers[name].split())}\n" for name in names])
        canonical = f"POST\n/\n\n{lines}\n{signed}\n{sha256(body).hexdigest()}"
        scope = f"{timestamp[:8]}/{self._scope}"
        text = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = _hmac(self._derive_key(credentials.secret_key, timestamp[:8]), text).hex()
        return (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}"
        )

    def _derive_key(self, secret: str, day: str) -> bytes:
        kept = self._key
        if kept.secret != secret or kept.day != day:
            of_day = _hmac(f"AWS4{secret}".encode(), day)
            of_service = _hmac(_hmac(of_day, self._region), self._service)
            kept = self._key = _Key(secret, day, _hmac(of_service, "aws4_request"))
        return kept.key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
