"""Planned: what an app has scheduled for later than SQS can delay it, by the clock of a test."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from megaflow.app import App, parts_of
from megaflow.publishing.later import encode_for
from megaflow.publishing.outgoing import Outgoing, PublishOptions
from megaflow.publishing.scheduling import Scheduled


class Planned:
    """Takes the place of the outbox of *app*, and publishes what is due by *clock*."""

    def __init__(self, app: App, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock
        self._ids = map("planned-{}".format, count(1))
        self._planned: dict[str, tuple[float, Any, PublishOptions]] = {}

    @property
    def due_at(self) -> float:
        """When something is to be published next."""
        return min((at for at, _, _ in self._planned.values()), default=math.inf)

    def schedule(self, payload: Any, not_before: datetime | timedelta, options: PublishOptions) -> Scheduled:
        """See `megaflow.publishing.scheduling.Later`."""
        # What cannot be sent is refused at once, as an outbox does it.
        encode_for(parts_of(self._app).destination.publisher, Outgoing(payload, **options))
        at = self._clock() + not_before.total_seconds() if isinstance(not_before, timedelta) else not_before.timestamp()
        id_ = next(self._ids)
        self._planned[id_] = at, payload, options
        return Scheduled(id_, lambda: self._planned.pop(id_, None) is not None)

    def publish_due(self) -> None:
        """Publish what is due, in the order of its times."""
        due = sorted((at, id_) for id_, (at, _, _) in self._planned.items() if at <= self._clock())
        for _, id_ in due:
            _, payload, options = self._planned.pop(id_)
            self._app.publish(payload, **options)
