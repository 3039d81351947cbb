"""Protocols: what can be run and stopped, such as an app."""

from __future__ import annotations

from typing import Protocol


class Runs(Protocol):
    """Something that runs until it is stopped: an app."""

    def run(self) -> None:
        """Run until it is stopped."""
        ...

    def stop(self, *, now: bool = False) -> None:
        """End `run`, or the next one; may be called from any thread, and again and again."""
        ...
