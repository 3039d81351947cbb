"""A relay beside an app: in a thread of its own, as long as the app runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from megaflow.checks import check_object
from megaflow.logs import get_logger

if TYPE_CHECKING:
    from megaflow.consumer.core.health import Health

log = get_logger(__name__)


class Relays(Protocol):
    """What sends what is committed: an `Outbox`."""

    def relay(self) -> None:
        """Send until `stop`."""
        ...

    def stop(self, *, now: bool = False) -> None:
        """End `relay`, or the next one; may be called from any thread."""
        ...

    def health(self) -> Health:
        """Return how it is; may be called from any thread."""
        ...


class Beside:
    """The relay that runs beside an app, where there is one."""

    def __init__(self) -> None:
        self._relay: Relays | None = None

    @contextmanager
    def relaying(self, relay: Relays | None, stop: Callable[[], object]) -> Iterator[None]:
        """Relay within a ``with``; call *stop* where that fails, and raise its error at the end."""
        check_object("relay", relay, ("relay", "stop", "health"), "an Outbox")
        if relay is None:
            yield
            return
        failures: list[BaseException] = []

        def live() -> None:
            try:
                relay.relay()
            except BaseException as error:
                log.error("the relay has failed, and the app is stopped", exc_info=error)
                failures.append(error)
                stop()

        thread = threading.Thread(target=live, name="megaflow-relay", daemon=True)
        self._relay = relay
        thread.start()
        try:
            yield
        finally:
            if thread.is_alive():
                relay.stop()
            thread.join()
            self._relay = None
        if failures:
            raise failures[0]

    def add_to(self, health: Health) -> Health:
        """Return *health* with that of the relay."""
        if self._relay is None:
            return health
        other = self._relay.health()
        return replace(health, ready=health.ready and other.ready, problems=(*health.problems, *other.problems))
