"""Texts as a database takes them: without NUL, which PostgreSQL refuses, and what no encoding has."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

_LONGEST_KEY: Final = 512
"""Characters of a key that can be read in the table; an index has no room for very long ones."""


def storable(text: str) -> str:
    """Return *text* with escapes for what cannot be stored."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def storable_key(text: str) -> str:
    """Return *text*, or the hash of one that is too long, or that cannot be stored as it is."""
    if len(text) <= _LONGEST_KEY and storable(text) == text:
        return text
    return f"sha256:{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
