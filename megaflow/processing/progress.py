"""What handlers finished in earlier deliveries, and which idempotency keys ran: what the process asks of a store.

Whatever a store raises becomes a `StoreError`, after which the message comes again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from megaflow.errors import HandlingError, StoreError, describe_error
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.messages.message import Message
from megaflow.messages.origin import read_origin
from megaflow.stores import Claim, Ended, Store

_LONGER_THAN_A_LEASE: Final = 2.0
"""A claim lives for so many visibility timeouts: it is renewed with the lease, and an attempt that died frees it."""

Returned = TypeVar("Returned")


class Progress:
    """Which handlers have finished a message. May be used from any thread.

    What is done is remembered by the id that the message had first, and so after a redrive too. What failed for good is
    remembered by the id that it has now: whoever redrives it wants it tried again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self, message: Message) -> Mapping[str, Ended]:
        """Return how handlers, by name, ended in earlier deliveries."""
        own, original = _work(message), _original_work(message)
        ended = dict(_ask("load progress", self._store.load, own))
        if original != own:
            earlier = _ask("load progress", self._store.load, original)
            ended |= {name: each for name, each in earlier.items() if each.status is ProcessStatus.DONE}
        return ended

    def save(self, message: Message, handler: Handler, status: ProcessStatus, error: BaseException | None) -> None:
        """Remember that a handler has finished a message, or has failed on it for good."""
        work = _original_work(message) if status is ProcessStatus.DONE else _work(message)
        ended = Ended(status, "" if error is None else describe_error(error))
        _ask("save progress", self._store.save, work, handler.name, ended)


class Idempotency:
    """Which idempotency keys ran, or are being worked on. May be used from any thread.

    *visibility_timeout*, in seconds, is after how long an attempt that died has lost its message, and so its claim.
    """

    def __init__(self, store: Store, visibility_timeout: float) -> None:
        self._store = store
        self._seconds = visibility_timeout * _LONGER_THAN_A_LEASE
        self._lock = threading.Lock()
        self._claimed: dict[str, set[str]] = {}

    def claim(self, message: Message, handler: Handler, key: str) -> Claim:
        """Claim the *key* of a handler for a message."""
        key = _key(handler, key)
        claim = _ask("claim a key", self._store.claim, key, _work(message), self._seconds)
        if claim is Claim.TAKEN:
            with self._lock:
                self._claimed.setdefault(message.id, set()).add(key)
        return claim

    def complete(self, message: Message, handler: Handler, key: str) -> None:
        """Note that a handler has done its work for the *key*."""
        key = self._drop(message, handler, key)
        _ask("complete a key", self._store.complete, key, _work(message), handler.idempotent_for)

    def release(self, message: Message, handler: Handler, key: str) -> None:
        """Free the *key* for another attempt."""
        key = self._drop(message, handler, key)
        _ask("release a key", self._store.release, key, _work(message))

    def renew(self, message: Message) -> None:
        """Keep the keys that are being worked on for a message, whose lease was extended."""
        with self._lock:
            keys = tuple(self._claimed.get(message.id, ()))
        for key in keys:
            _ask("renew a key", self._store.renew, key, _work(message), self._seconds)

    def _drop(self, message: Message, handler: Handler, key: str) -> str:
        key = _key(handler, key)
        with self._lock:
            claimed = self._claimed.get(message.id, set())
            claimed.discard(key)
            if not claimed:
                self._claimed.pop(message.id, None)
        return key


def _work(message: Message) -> str:
    return f"{message.queue_url} {message.id}"


def _original_work(message: Message) -> str:
    origin = read_origin(message)
    return f"{origin.get('queue', message.queue_url)} {origin.get('message_id', message.id)}"


def _key(handler: Handler, key: str) -> str:
    if not isinstance(key, str):
        raise HandlingError(f"the idempotency key of {handler.name} must be a text or None, not {type(key).__name__}")
    return f"{handler.name} {key}"


def _ask(what: str, method: Callable[..., Returned], *arguments: Any) -> Returned:
    try:
        return method(*arguments)
    except Exception as error:
        raise StoreError(f"the store could not {what}: {describe_error(error)}") from error
