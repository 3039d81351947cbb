"""Outlets: all who are told what is counted and measured. What one of them raises is logged, and harms nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from megaflow.checks import check_object
from megaflow.errors import text_of
from megaflow.logs import get_logger
from megaflow.telemetry.metrics import Measurements, Metrics, Told, name_labels

log = get_logger(__name__)

_SAYS_AGAIN: Final = 60.0
"""Seconds after which it is said once more that an outlet fails."""

_NONE: Final[Mapping[Told, Sequence[float]]] = {}


class Outlets:
    """Tells *measurements*, a user's *own* metrics, and OpenTelemetry where it is set up. May be used from any thread.

    *tells_opentelemetry* is whether it is. Raises `ConfigurationError` where *own* is no such thing.
    """

    def __init__(
        self,
        measurements: Measurements | None = None,
        own: Metrics | None = None,
        *,
        tells_opentelemetry: bool = True,
    ) -> None:
        wanted = "an object with count(name, amount, labels), observe(name, value, labels) and gauge(name, value, …)"
        check_object("metrics", own, ("count", "observe", "gauge"), wanted)
        self._measurements = Measurements() if measurements is None else measurements
        self._others: tuple[Metrics, ...] = () if own is None else (own,)
        self._looking = threading.Lock()
        """Held by whoever looks, and for ever once there is nothing more to look for."""

        if not tells_opentelemetry:
            self._looking.acquire()
        self._says_again_at = 0.0

    @property
    def are_told_all(self) -> bool:
        """Whether anybody wants more than counts: what is measured is measured for somebody only."""
        return bool(self._others) or self._measurements.is_read

    def look(self) -> None:
        """Look whether OpenTelemetry is set up by now; whoever tells something often does so now and then."""
        # Where nobody has imported it, nobody has set it up.
        if "opentelemetry.metrics" in sys.modules and self._looking.acquire(blocking=False) and not self._find():
            self._looking.release()

    def begin(self, queue: str) -> None:
        """Take note that a queue is consumed from now on."""
        self._measurements.begin(queue)

    def note(self, queue: str, counts: Mapping[Told, int], values: Mapping[Told, Sequence[float]] = _NONE) -> None:
        """Take note of what happened at a queue, so many times, and of the values that were measured."""
        self._measurements.note(queue, counts, values)
        if self._others:
            self._tell_all(queue, counts, values)

    def _tell_all(self, queue: str, counts: Mapping[Told, int], values: Mapping[Told, Sequence[float]]) -> None:
        for outlet in self._others:
            for told, amount in counts.items():
                self._tell(outlet.count, queue, told, (amount,))
            for told, measured in values.items():
                self._tell(outlet.observe, queue, told, measured)

    def gauge(self, queue: str, name: str, value: float) -> None:
        """Take note that *name* is at *value* now."""
        self._measurements.gauge(queue, name, value)
        for outlet in self._others:
            self._tell(outlet.gauge, queue, (name,), (value,))

    def _find(self) -> bool:
        """Find OpenTelemetry; tell whether there is nothing more to look for."""
        from megaflow.telemetry.otel_metrics import find_meter

        try:
            meter = find_meter()
        except Exception:
            log.warning("OpenTelemetry is told no metrics, as it failed", exc_info=True)
            return True
        if meter is not None:
            self._others = (*self._others, meter)
        return meter is not None

    def _tell(self, tell: Callable[..., None], queue: str, told: Told, values: Sequence[float]) -> None:
        labels = name_labels(queue, told)
        try:
            for value in values:
                tell(told[0], value, labels)
        except Exception as error:
            if time.monotonic() >= self._says_again_at:
                self._says_again_at = time.monotonic() + _SAYS_AGAIN
                text = "the metrics failed at %s, and go on without: %s"
                log.warning(text, told[0], text_of(error), exc_info=error)
