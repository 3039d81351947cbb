"""Warnings where this machine and AWS part: what works here, and would not work there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from megaflow.logs import get_logger

log = get_logger(__name__)

WarningKind: TypeAlias = Literal[
    "queue policy",
    "queue key",
    "queue elsewhere",
    "unconfirmed subscription",
    "dead-letter queue elsewhere",
    "other region",
    "other account",
    "unsigned call",
    "wrong signature",
]


@dataclass(frozen=True, slots=True)
class AwsWarning:
    """Something that works here, and would not work on AWS."""

    kind: WarningKind
    """Of which kind it is."""

    about: tuple[str, ...]
    """What it is about: ARNs, mostly. There is one warning of a kind about the same."""

    text: str
    """What happened, what AWS would do, and what to do."""

    at: float
    """When it happened first, in seconds since the epoch."""


class Warnings:
    """The warnings of an account, each once, in the order of time; each was logged, too.

    Go through them with ``for``. May be called from any thread.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: Final[dict[tuple[WarningKind, tuple[str, ...]], AwsWarning]] = {}

    def __iter__(self) -> Iterator[AwsWarning]:
        """Go through the warnings."""
        return iter(list(self._known.values()))

    def __len__(self) -> int:
        """Count the warnings."""
        return len(self._known)

    def add(self, kind: WarningKind, *about: str, text: Callable[[], str]) -> None:
        """Warn, unless that was done before; *text* makes the text."""
        # So many are not read. Nobody is to fill the memory by calls that differ.
        if (kind, about) in self._known or len(self._known) >= 1000:
            return
        made = AwsWarning(kind, about, text(), self._clock())
        if self._known.setdefault((kind, about), made) is made:
            log.warning("%s", made.text)

    def forget(self, about: str | None = None) -> None:
        """Forget all warnings, or those *about* one thing."""
        for key in list(self._known):
            if about is None or about in key[1]:
                self._known.pop(key, None)
