"""Event loops of a Lambda function: the one of its async handlers, and those given up with what runs there."""

from __future__ import annotations

from megaflow.consumer.threads.event_loop import EventLoop
from megaflow.errors import describe_error
from megaflow.logs import get_logger

log = get_logger(__name__)


class EventLoops:
    """The event loop of async handlers, and those that were left to handlers which did not give way."""

    def __init__(self) -> None:
        self.current = self._make()

    def replace(self) -> None:
        """Leave the loop to what runs there, which is cancelled if it can be, and go on with another one."""
        self.current.close()
        self.current = self._make()

    def _make(self) -> EventLoop:
        return EventLoop(on_interrupt=_log_interruption)


def _log_interruption(error: BaseException) -> None:
    log.error("something that a handler left running has exited: %s", describe_error(error))
