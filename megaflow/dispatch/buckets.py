"""Buckets: the handlers that an index keeps under one probe.

A bucket holds the handlers that are filed under one probe. It is a function that goes on with the whole payload and
adds what it finds to a list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Positions: TypeAlias = list[int]
"""The positions of the handlers that match, in no order and perhaps several times each."""

Bucket: TypeAlias = Callable[[Any, Positions], None]
"""Adds the handlers of a bucket that match a payload."""

Visit: TypeAlias = Callable[[Any, Any, Positions], None]
"""Takes a value, and the payload it comes from, to the buckets it belongs to."""

Visits: TypeAlias = Mapping[type, Visit]
"""What is to be done with a value, by its type; nothing, where its type is not there."""

Maker: TypeAlias = Callable[[Mapping[Any, Bucket]], Visits]
"""Makes the steps for the types that the specification compares in one way."""
