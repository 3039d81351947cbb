"""Signatures of envelopes, by a key of the server's own, whose certificate it hands out.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import json
import os
import threading
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from hashlib import sha1, sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from megaflow import private_files
from megaflow.local.envelopes import write_envelope
from megaflow.logs import get_logger

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

log = get_logger(__name__)

CERTIFICATES: Final = "/SimpleNotificationService-"
"""Where the path of a certificate begins; its name and ``.pem`` follow."""

_SIGNED: Final[Mapping[str, tuple[str, ...]]] = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
"""What is signed of each type, in this order, where it is there."""

_LINKS: Final = ("SubscribeURL", "UnsubscribeURL")
_KEY_SIZE: Final = 2048
_NAME: Final = "sns.amazonaws.com"
_VALID: Final = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC))
"""So long that no clock of a test leaves it."""

_REMEMBERED: Final = 4096
"""Signatures: of what goes to many, or is received again."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """A key with its certificate."""

    key: RSAPrivateKey
    certificate: bytes
    """In PEM."""

    @property
    def name(self) -> str:
        """What the certificate is called."""
        return sha256(self.certificate).hexdigest()[:32]


def can_sign() -> bool:
    """Tell whether the package is here that signs."""
    return find_spec("cryptography") is not None


class Signer:
    """Signs with a key that is made when it is first needed; may be used from any thread.

    Args:
        path: The private file that keeps key and certificate; without one they last as long as this process.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._sign = lru_cache(_REMEMBERED)(self._sign_digest)

    def seal(self, envelope: str, url: str) -> str:
        """Return *envelope* with its links, which lead to the server at *url*, and its signature, if it has one."""
        fields = json.loads(envelope)
        fields |= {name: f"{url}/?{fields[name].partition('?')[2]}" for name in _LINKS if name in fields}
        if "SignatureVersion" in fields:
            fields["Signature"] = self._sign(_digest(fields), fields["SignatureVersion"])
            fields["SigningCertURL"] = f"{url}{CERTIFICATES}{self.name}.pem"
        return write_envelope(fields)

    @property
    def name(self) -> str:
        """What the certificate is called: another one for every key."""
        return self._known.name

    @property
    def certificate(self) -> bytes:
        """The certificate, in PEM."""
        return self._known.certificate

    @property
    def _known(self) -> _Identity:
        with self._lock:
            return self._identity

    @cached_property
    def _identity(self) -> _Identity:
        if self._path is None:
            return _identity_of_this_process()
        try:
            return _load(self._path) or _keep(self._path)
        except OSError as error:
            # Whoever receives an envelope waits for it, and has got nothing wrong.
            text = "the key that signs envelopes cannot be kept in %s, so this process has its own: %s"
            log.warning(text, str(self._path), error.strerror)
            return _identity_of_this_process()

    def _sign_digest(self, digest: bytes, version: str) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

        kind = hashes.SHA256() if version == "2" else hashes.SHA1()  # noqa: S303 - as AWS does
        return b64encode(self._known.key.sign(digest, PKCS1v15(), Prehashed(kind))).decode()


def _digest(fields: Mapping[str, Any]) -> bytes:
    signed = "".join(f"{name}\n{fields[name]}\n" for name in _SIGNED[fields["Type"]] if name in fields).encode()
    hashed = sha256(signed) if fields["SignatureVersion"] == "2" else sha1(signed, usedforsecurity=False)
    return hashed.digest()


@lru_cache(1)
def _identity_of_this_process() -> _Identity:
    return _make()[0]


def _load(path: Path) -> _Identity | None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        key = load_pem_private_key(kept, None)
        certificate = load_pem_x509_certificate(kept).public_bytes(Encoding.PEM)
        return _Identity(key, certificate) if isinstance(key, RSAPrivateKey) else None
    except ValueError:
        log.warning("%s holds no key and certificate; others take their place", str(path))
        return None


def _keep(path: Path) -> _Identity:
    """Make a key, and keep it at *path*: all of it or nothing."""
    identity, written = _make()
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    # A process that was killed may have left one: the first process of a container has the same number each time.
    beside.unlink(missing_ok=True)
    try:
        with os.fdopen(private_files.create(beside), "wb") as file:
            file.write(written)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    return identity


def _make() -> tuple[_Identity, bytes]:
    """Make a key with its certificate; return it, and as it is written down."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_SIZE)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_VALID[0])
        .not_valid_after(_VALID[1])
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(_NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate = made.public_bytes(Encoding.PEM)
    written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate
    return _Identity(key, certificate), written
