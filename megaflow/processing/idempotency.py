"""Idempotency keys: which ran, and which are being worked on, as a store remembers it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Container, Sequence
from typing import Final

from megaflow.errors import HandlingError, RegistrationError, StoreError
from megaflow.forks import renew_in_child
from megaflow.handlers.handler import Handler
from megaflow.handlers.options import FindKey
from megaflow.hashes import hash_parts
from megaflow.messages.message import Message
from megaflow.processing.progress import ask_store, work_of
from megaflow.stores.store import CHECK, Claim, Store, check_store
from megaflow.transport.addresses import identify_queue

_LONGER_THAN_A_LEASE: Final = 2.0
"""A claim lives for so many visibility timeouts: it is renewed with the lease, and an attempt that died frees it."""


def find_key(handler: Handler, find: FindKey, message: Message) -> str | None:
    """Return the key that *find* finds for a message, a whole number as its digits; None where it needs none.

    Raises what *find* raises, and `HandlingError` for what can be no key.
    """
    key = find(message.payload)
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    if key is None or isinstance(key, str):
        return key
    raise HandlingError(
        f"the idempotency key of {handler.name} must be a text, a whole number or None, not {type(key).__name__}"
    )


def check_keys(
    handlers: Sequence[Handler], idempotency: Idempotency | None, remembering: Container[Handler] = ()
) -> None:
    """Refuse a handler that has a key where nothing remembers it: a `RegistrationError`.

    Those *remembering* do that themselves, by their inbox.
    """
    for handler in handlers:
        if handler.options.idempotency_key is not None and idempotency is None and handler not in remembering:
            raise RegistrationError(
                f"{handler.name} has an idempotency_key, and the app has no store to remember it: give progress= or "
                "idempotency=, or provide what the handler takes by an Inbox"
            )


class Idempotency:
    """Which idempotency keys ran, or are being worked on. May be used from any thread.

    *visibility_timeout*, in seconds, is after how long an attempt that died has lost its message, and so its claim.
    *find_queue* gives the address of the queue whose keys are those of messages that came from none.
    """

    def __init__(self, store: Store, visibility_timeout: float, find_queue: Callable[[], str] = lambda: "") -> None:
        self._store = store
        self._find_queue = find_queue
        self._seconds = visibility_timeout * _LONGER_THAN_A_LEASE
        self._lock = threading.Lock()
        self._claimed: dict[str, set[str]] = {}
        renew_in_child(self)

    @property
    def store(self) -> Store:
        """Where they are remembered."""
        return self._store

    def check(self) -> None:
        """Find out whether the store reads and writes; raises what `Store.check` does."""
        check_store(self._store, self._claim_and_release)

    def claim(self, message: Message, handler: Handler, key: str) -> Claim:
        """Claim the *key* of a handler for a message."""
        key = self._name(message, handler, key)
        claim: object = ask_store("claim a key", self._store.claim, key, work_of(message), self._seconds)
        if not isinstance(claim, Claim):
            raise StoreError(f"the store could not claim a key: claim() returned {type(claim).__name__}, and no Claim")
        if claim is Claim.TAKEN:
            with self._lock:
                self._claimed.setdefault(message.id, set()).add(key)
        return claim

    def complete(self, message: Message, handler: Handler, key: str) -> None:
        """Note that a handler has done its work for the *key*."""
        key = self._drop(message, handler, key)
        ask_store("complete a key", self._store.complete, key, work_of(message), handler.options.idempotent_for)

    def release(self, message: Message, handler: Handler, key: str) -> None:
        """Free the *key* for another attempt."""
        key = self._drop(message, handler, key)
        ask_store("release a key", self._store.release, key, work_of(message))

    def holds(self, message: Message) -> bool:
        """Tell whether keys are being worked on for a message."""
        return message.id in self._claimed

    def renew(self, message: Message) -> None:
        """Keep the keys that are being worked on for a message, whose lease was extended."""
        with self._lock:
            keys = tuple(self._claimed.get(message.id, ()))
        for key in keys:
            ask_store("renew a key", self._store.renew, key, work_of(message), self._seconds)

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self._lock = threading.Lock()

    def _claim_and_release(self) -> None:
        owner = str(uuid.uuid4())
        self._store.claim(CHECK, owner, 1.0)
        self._store.release(CHECK, owner)

    def _drop(self, message: Message, handler: Handler, key: str) -> str:
        key = self._name(message, handler, key)
        with self._lock:
            claimed = self._claimed.get(message.id, set())
            claimed.discard(key)
            if not claimed:
                self._claimed.pop(message.id, None)
        return key

    def _name(self, message: Message, handler: Handler, key: str) -> str:
        """Return *key* as a store has it: another one for each handler, and for each queue."""
        return hash_parts(*identify_queue(message.queue_url or self._find_queue()), handler.name, key)
