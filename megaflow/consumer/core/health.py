"""Health: how a consumer is at one moment."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a consumer is at one moment; times in seconds."""

    live: bool
    """Whether to leave the process alone: False is that it hangs, and only a restart helps."""

    ready: bool
    """Whether it is receiving messages; not so before SQS has answered, during an outage, be it a store's, and while it
    stops.
    """

    problems: tuple[str, ...] = ()
    """What is wrong now, in words."""

    stopping: bool = False
    heard_ago: tuple[float | None, ...] = ()
    """For how long SQS is silent to each poller that asks, None where it has never answered.

    It counts from the last answer, or from when a poller with nothing to ask began to ask again.
    """

    finished_ago: float | None = None
    """How long ago a worker last finished a message; None is not yet."""

    in_hand: int = 0
    """Messages received and not settled."""

    running: int = 0
    """Those of them whose handlers are at work, and do not wait for a store."""

    longest_running: float = 0.0
    lost_leases: int = 0
    """Messages whose visibility timeout ended before they were settled, since the start."""

    failed_extensions: int = 0
    """Extensions of visibility timeouts that failed, the last ones in a row."""

    stuck_threads: int = 0
    """Handlers that did not return in their ``timeout=``, since the start: each still holds a thread."""

    over_limit: bool = False
    """Whether the queue gives nothing since too many of its messages are in flight."""

    def gauges(self, now: float) -> dict[str, float]:
        """Return what the metrics are told; *now* is in seconds since 1970."""
        heard = (
            {"last_heard": now - min(known)} if (known := [each for each in self.heard_ago if each is not None]) else {}
        )
        # Where nothing is asked there is nothing to hear.
        unasked = {"last_heard": now} if not self.heard_ago and self.live else {}
        return {"in_hand": self.in_hand, "running": self.running, **heard, **unasked}

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return asdict(self)

    def __str__(self) -> str:
        """Say it in one line."""
        state = "ready" if self.ready else "live, not ready" if self.live else "not live"
        return f"{state}: {'; '.join(self.problems)}" if self.problems else state


NOT_RUNNING: Final = Health(live=True, ready=False, problems=("it is not running",))
