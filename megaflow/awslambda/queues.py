"""Queues of a Lambda function's messages: hiding, deleting and dead-lettering them, as far as its role allows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from megaflow import limits
from megaflow.errors import ConfigurationError, UsageError, text_of
from megaflow.logs import get_logger
from megaflow.messages.message import Message
from megaflow.telemetry.tracing import Tracing
from megaflow.transport.addresses import is_same_queue
from megaflow.transport.errors import is_refusal
from megaflow.transport.protocols import ClientSource
from megaflow.transport.queue import OpenQueue

log = get_logger(__name__)

_ASK_AGAIN_AFTER: Final = 300.0
"""Seconds after which what was refused is tried again: a role may have been mended."""


@dataclass(frozen=True, slots=True)
class DeadLetterTarget:
    """Where dead letters go, ``""`` for nowhere, and what one may have there in bytes; 0 is not known."""

    url: str
    size_limit: int


class Queues:
    """Queues by their URLs. *clients* gives a client for one; it is asked only where a message needs that.

    Raises `ConfigurationError` where the dead-letter queue is in another region than was given.
    """

    def __init__(
        self, clients: ClientSource, dead_letter_queue_url: str | None, clock: Callable[[], float], tracing: Tracing
    ) -> None:
        if dead_letter_queue_url:
            clients.check(dead_letter_queue_url)
        self._clients = clients
        self._configured = dead_letter_queue_url or ""
        self._clock = clock
        self._tracing = tracing
        self._lock = threading.Lock()
        self._dead_letters: dict[str, DeadLetterTarget] = {}
        self._refused: dict[tuple[str, str], tuple[float, str]] = {}
        """What was refused of a queue: until when it is not asked again, and what was said."""

    def __getitem__(self, url: str) -> OpenQueue:
        """Return the queue at *url*."""
        client, connect = self._clients.client_for(url), self._clients.client_for
        return OpenQueue(client, url, connect=connect, tracing=self._tracing)

    def check(self, url: str) -> None:
        """Raise `ConfigurationError` where the queue at *url* is its own dead-letter queue, or in another region."""
        self._clients.check(url)
        if self._configured and is_same_queue(self._configured, url):
            raise ConfigurationError(
                f"dead_letter_queue_url={self._configured!r} is the queue itself: give another one"
            )

    def dead_letter_queue(self, url: str) -> DeadLetterTarget:
        """Return the dead-letter queue of the queue at *url*.

        Raises `UsageError` where that is not known: to delete the message would lose it, and SQS's own redrive takes
        it in the end.
        """
        with self._lock:
            if url not in self._dead_letters:
                self._dead_letters[url] = self._look_up(url)
            return self._dead_letters[url]

    def hide(self, pauses: Sequence[tuple[Message, float]]) -> None:
        """Let messages be seen again after so many seconds; what the role refuses is left to the queue's own time."""
        by_queue: dict[str, list[tuple[Message, float]]] = {}
        for message, seconds in pauses:
            by_queue.setdefault(message.queue_url, []).append((message, seconds))
        for url, some in by_queue.items():
            self._hide(url, some)

    def _look_up(self, url: str) -> DeadLetterTarget:
        if self._configured:
            return DeadLetterTarget(self._configured, self[url].read_size_limit(self._configured))
        problem = self._recall(url, "inspect")
        if not problem:
            facts = self[url].inspect()
            if not facts.problem:
                return DeadLetterTarget(facts.dead_letter_queue_url, facts.dead_letter_size_limit)
            problem = self._remember(url, "inspect", facts.problem)
        raise UsageError(f"{problem}; give dead_letter_queue_url=, or let the function's role ask for it")

    def _hide(self, url: str, pauses: Sequence[tuple[Message, float]]) -> None:
        if self._recall(url, "hide"):
            return
        try:
            queue = self[url]
            for start in range(0, len(pauses), limits.BATCH_ENTRIES):
                some = pauses[start : start + limits.BATCH_ENTRIES]
                handles = [(each.lease.receipt_handle, seconds) for each, seconds in some if each.lease is not None]
                for each in queue.hide(handles, [message for message, _ in some]):
                    text = "a message comes again when its visibility timeout ends: %s: %s"
                    log.warning(text, each.code, each.reason, extra={"queue": url})
        except Exception as error:  # noqa: BLE001 - whatever a client raises, the messages come again
            if is_refusal(error):
                self._remember(url, "hide", str(error))
            log.warning(
                "messages come again when their visibility timeout ends, and not as was asked for: %s",
                text_of(error),
                extra={"queue": url},
            )

    def _recall(self, url: str, what: str) -> str:
        until, problem = self._refused.get((url, what), (0.0, ""))
        return problem if self._clock() < until else ""

    def _remember(self, url: str, what: str, problem: str) -> str:
        self._refused[url, what] = self._clock() + _ASK_AGAIN_AFTER, problem
        return problem
