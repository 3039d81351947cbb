"""Hashes of several parts: no two lists of parts have the same one, whatever their texts are."""

from __future__ import annotations

from hashlib import sha256


def hash_parts(*parts: str | bytes) -> str:
    """Return the SHA-256, in hex, of *parts*, each with its type and its length before it."""
    return sha256(b"".join(map(_frame, parts))).hexdigest()


def _frame(part: str | bytes) -> bytes:
    if isinstance(part, bytes):
        return b"b%d:%b" % (len(part), part)
    data = part.encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(data), data)
