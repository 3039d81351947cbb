"""Buckets: the handlers that an index keeps under one probe.

A bucket holds the handlers that are filed under one probe. It is a function that goes on with the whole payload and
adds what it finds to a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

Positions: TypeAlias = list[int]
"""The positions of the handlers that match, in no order and perhaps several times each."""

Bucket: TypeAlias = Callable[[Any, Positions], None]
"""Adds the handlers of a bucket that match a payload."""

Visit: TypeAlias = Callable[[type, Any, Any, Positions], bool | None]
"""Takes a value of a type, and the payload it comes from, to its buckets; true where it knows no such type."""


def join(buckets: Sequence[Bucket]) -> Bucket:
    """Return one bucket that holds *buckets*."""
    if len(buckets) == 1:
        return buckets[0]

    def collect(payload: Any, found: Positions) -> None:
        for bucket in buckets:
            bucket(payload, found)

    return collect
