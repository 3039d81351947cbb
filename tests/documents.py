"""BSON written by hand, right or wrong. The format: https://bsonspec.org/spec.html ."""

from __future__ import annotations

import struct
from base64 import b64encode

import bson

HAS_PYMONGO = not hasattr(bson, "dumps")
"""Whether ``import bson`` is PyMongo's here, or that of the PyPI package."""


def document(*elements: bytes) -> bytes:
    """Return a document of *elements*, framed as it must be."""
    return document_of_length(4 + sum(map(len, elements)) + 1, *elements)


def document_of_length(length: int, *elements: bytes) -> bytes:
    """Return a document that says it has *length* bytes."""
    return opening(length) + b"".join(elements) + b"\0"


def opening(length: int) -> bytes:
    """Return how a document of that length begins."""
    return struct.pack("<i", length)


def element(kind: int, name: str, content: bytes = b"") -> bytes:
    """Return an element of any *kind* with any *content*."""
    return bytes([kind]) + name.encode() + b"\0" + content


def text(name: str, value: str) -> bytes:
    """Return an element with text."""
    return text_of_length(len(value.encode()) + 1, name, value)


def text_of_length(length: int, name: str, value: str) -> bytes:
    """Return an element with text that says it has *length* bytes."""
    return element(0x02, name, struct.pack("<i", length) + value.encode() + b"\0")


def blob(name: str, value: bytes, subtype: int = 0) -> bytes:
    """Return an element with binary data."""
    return element(0x05, name, struct.pack("<iB", len(value), subtype) + value)


def moment(name: str, milliseconds: int) -> bytes:
    """Return an element with a time, counted from 1970."""
    return element(0x09, name, struct.pack("<q", milliseconds))


def as_body(data: bytes) -> str:
    """Return *data* as a message carries it."""
    return b64encode(data).decode()
