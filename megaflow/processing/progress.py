"""Progress: what handlers finished in earlier deliveries, as a store remembers it.

Whatever a store raises becomes a `StoreError`, after which the message comes again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from megaflow.errors import StoreError, describe_error
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.messages.message import Message
from megaflow.messages.origin import read_origin
from megaflow.stores import Ended, Store

Returned = TypeVar("Returned")


class Progress:
    """Which handlers have finished a message. May be used from any thread.

    What is done is remembered by the id that the message had first, and so after a redrive too. What failed for good is
    remembered by the id that it has now: whoever redrives it wants it tried again. *with_error_texts* is whether the
    store gets what errors say, beside their types.
    """

    def __init__(self, store: Store, *, with_error_texts: bool = True) -> None:
        self._store = store
        self._with_error_texts = with_error_texts

    def load(self, message: Message) -> Mapping[str, Ended]:
        """Return how handlers, by name, ended in earlier deliveries."""
        own, original = work_of(message), _original_work(message)
        ended = dict(ask_store("load progress", self._store.load, own))
        if original != own:
            earlier = ask_store("load progress", self._store.load, original)
            ended |= {name: each for name, each in earlier.items() if each.status is ProcessStatus.DONE}
        return ended

    def save(self, message: Message, handler: Handler, status: ProcessStatus, error: BaseException | None) -> None:
        """Remember that a handler has finished a message, or has failed on it for good."""
        work = _original_work(message) if status is ProcessStatus.DONE else work_of(message)
        said = "" if error is None else describe_error(error, with_text=self._with_error_texts)
        ended = Ended(status, said)
        ask_store("save progress", self._store.save, work, handler.name, ended)


def work_of(message: Message) -> str:
    """Return the name of the work on *message*, as a store has it."""
    return f"{message.queue_url} {message.id}"


def _original_work(message: Message) -> str:
    origin = read_origin(message)
    return f"{origin.get('queue', message.queue_url)} {origin.get('message_id', message.id)}"


def ask_store(what: str, method: Callable[..., Returned], *arguments: Any) -> Returned:
    """Return what *method* of a store returns; raise `StoreError` for whatever it raises."""
    try:
        return method(*arguments)
    except Exception as error:
        raise StoreError(f"the store could not {what}: {describe_error(error)}") from error
