"""Health: how a consumer is at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a consumer is doing at one moment, as `App.health` returns it. Times are in seconds."""

    live: bool
    """False where the process hangs, and only a restart helps."""

    ready: bool
    """Whether it receives messages, or would if it were not paused, and no circuit breaker open. It does not before SQS
    has answered, during an outage of SQS or a store, and while it stops.
    """

    problems: tuple[str, ...] = ()
    """What is wrong now, in words."""

    stopping: bool = False
    """Whether it is being stopped."""

    heard_ago: tuple[float | None, ...] = ()
    """For each poller that asks SQS now: how long SQS has not answered; None where it never has.

    It counts from the last answer, or from when the poller began to ask again.
    """

    finished_ago: float | None = None
    """How long ago a message was last finished; None where none was."""

    in_hand: int = 0
    """How many messages are received and not settled."""

    running: int = 0
    """For how many of those a handler is at work."""

    in_line: int = 0
    """How many of those in hand wait for their turn at a handler that has a limit."""

    longest_running: float = 0.0
    """How long the oldest of these handlers has been at work."""

    lost_leases: int = 0
    """Messages whose visibility timeout ended before they were settled, since the start."""

    failed_extensions: int = 0
    """How many extensions of visibility timeouts have failed in a row, up to now."""

    stuck_threads: int = 0
    """Handlers that did not return within their ``timeout=``, since the start. Each still holds a thread."""

    over_limit: bool = False
    """Whether the queue gives nothing because too many of its messages are in flight."""

    paused: bool = False
    """Whether it was told to pause. It is ready all the same, as it is well, and receives again at a word."""

    open_breakers: tuple[str, ...] = ()
    """Whose circuit breakers are open, or let one message try: ``the app``, or the names of handlers. It is ready all
    the same, as it receives again by itself.
    """
    apps: Mapping[str, Health] = field(default_factory=dict, hash=False)
    """Where several apps run together: how each of them is, by name. The rest is for all."""

    def gauges(self, now: float) -> dict[str, float]:
        """Return what the metrics are told; *now* is in seconds since 1970."""
        heard = (
            {"last_heard": now - min(known)} if (known := [each for each in self.heard_ago if each is not None]) else {}
        )
        # Where nothing is asked there is nothing to hear.
        unasked = {"last_heard": now} if not self.heard_ago and self.live else {}
        counts = {"in_hand": self.in_hand, "running": self.running, "in_line": self.in_line}
        states = {"open_breakers": len(self.open_breakers), "paused": self.paused}
        return {**counts, **states, **heard, **unasked}

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON has it, which has ``apps`` for several apps only."""
        said = asdict(self) | {"apps": {name: health.as_dict() for name, health in self.apps.items()}}
        return said if self.apps else {key: value for key, value in said.items() if key != "apps"}

    def __str__(self) -> str:
        """Say it in one line."""
        state = "ready" if self.ready else "live, not ready" if self.live else "not live"
        return f"{state}: {'; '.join(self.problems)}" if self.problems else state


NOT_RUNNING: Final = Health(live=True, ready=False, problems=("it is not running",))
