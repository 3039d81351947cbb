"""Shapes: what both wire protocols read from botocore's service models, and how blobs are written as text."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel


class MissingMember(Exception):
    """A required member is not there; the path leads to it."""

    def __init__(self, *path: str) -> None:
        super().__init__(*path)
        self.path = path

    def within(self, *outer: str) -> MissingMember:
        """Return the same, seen from further out."""
        return MissingMember(*outer, *self.path)


@cache
def service_model(service: str) -> Any:
    """Return botocore's model of *service*."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def from_base64(text: str) -> bytes:
    """Return the bytes of *text*.

    Raises:
        ValueError: it is not what `to_base64` would make of any bytes.
    """
    decoded = a2b_base64(text)
    # Python skips what is not of the alphabet, and bits left over; AWS takes neither.
    if to_base64(decoded) != text:
        raise ValueError("not Base64")
    return decoded


def to_base64(blob: bytes | bytearray) -> str:
    """Return the text of *blob*."""
    return b2a_base64(blob, newline=False).decode()
