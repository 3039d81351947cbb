"""Backoff: the seconds until a message comes again, by how often it was received; the default, with full jitter."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from megaflow.checks import check_function, check_seconds

Backoff: TypeAlias = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class ExponentialBackoff:
    """A backoff that doubles up to a limit, and waits a random part of that; see `exponential_backoff`."""

    first: float
    longest: float
    randomness: Callable[[], float]

    def __call__(self, receive_count: int) -> float:
        """Return the seconds until a message comes again that was received so often."""
        # The exponent is bounded: a message can come back thousands of times.
        return self.randomness() * min(self.longest, self.first * 2.0 ** min(receive_count - 1, 60))


def exponential_backoff(
    *, first: float = 1.0, longest: float = 900.0, randomness: Callable[[], float] = random.random
) -> ExponentialBackoff:
    """Return a backoff that doubles with each delivery, and waits a random part of that ("full jitter").

    Why all of it is random: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

    Args:
        first: Seconds at most after the first delivery.
        longest: Seconds at most after any delivery.
        randomness: Gives numbers from 0 to 1.

    Raises:
        ConfigurationError: A value is out of range.
    """
    check_seconds("first", first)
    check_seconds("longest", longest)
    check_function("randomness", randomness, "() -> number", takes=0)
    return ExponentialBackoff(first, longest, randomness)
