"""`Runs`: what can be run, paused and stopped, such as an app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from megaflow.consumer.core.health import Health
    from megaflow.telemetry.metrics import Measurements


class Runs(Protocol):
    """Something that runs until it is stopped: an app."""

    def run(self) -> None:
        """Run until it is stopped."""
        ...

    def stop(self, *, now: bool = False) -> None:
        """End `run`, or the next one; may be called from any thread, and again and again."""
        ...

    def pause(self) -> None:
        """Let `run`, or the next one, receive nothing until `resume`; may be called from any thread, and again."""
        ...

    def resume(self) -> None:
        """End the pause, if there is one; may be called from any thread."""
        ...


class Measured(Runs, Protocol):
    """Something that runs and is measured."""

    metrics: Measurements


class AppRun(Runs, Protocol):
    """A run of an app, in this process or in children; once it has ended it is over."""

    def health(self) -> Health:
        """Return how it is; may be called from any thread."""
        ...
