"""Progress: what handlers finished in earlier deliveries, as a store remembers it.

Whatever a store raises becomes a `StoreError`: whoever drives the steps of a message asks again, or lets it come again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from megaflow.errors import EarlierFailureError, RegistrationError, StoreError, describe_error
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.hashes import hash_parts
from megaflow.messages.message import Message
from megaflow.messages.origin import digest_of, read_origin
from megaflow.processing.selected import identify
from megaflow.processing.verdict import Outcome
from megaflow.stores.store import CHECK, Ended, Store, check_store
from megaflow.transport.addresses import identify_queue

Returned = TypeVar("Returned")


class Progress:
    """Which handlers have finished a message. May be used from any thread.

    It is remembered by the message in hand alone. What is done is looked up by the origin that a redriven message came
    with, too, for whoever has that very body and those attributes: a forged origin says nothing of another message.
    What failed for good is not: whoever redrives it wants it tried again. *with_error_texts* is whether the store
    gets what errors say, beside their types.
    """

    def __init__(self, store: Store, *, with_error_texts: bool = True) -> None:
        self._store = store
        self._with_error_texts = with_error_texts

    @property
    def store(self) -> Store:
        """Where it is remembered."""
        return self._store

    def check(self) -> None:
        """Find out whether the store reads and writes; raises what `Store.check` does."""
        check_store(self._store, lambda: self._store.save(CHECK, CHECK, Ended(ProcessStatus.DONE)))

    def load(self, message: Message) -> Mapping[str, Ended]:
        """Return how handlers, by name, ended in earlier deliveries."""
        digest = digest_of(message)
        work = _name_work(message.queue_url, message.id, digest)
        ended = dict(self._ask(work))
        origin = read_origin(message)
        if origin.get("digest") == digest and "queue" in origin and "message_id" in origin:
            before = _name_work(origin["queue"], origin["message_id"], digest)
            ended |= self._take_over(before, work, ended)
        return ended

    def save(self, message: Message, handler: Handler, status: ProcessStatus, error: BaseException | None) -> None:
        """Remember that a handler has finished a message, or has failed on it for good."""
        said = "" if error is None else describe_error(error, with_text=self._with_error_texts)
        ask_store("save progress", self._store.save, work_of(message), handler.name, Ended(status, said))

    def _ask(self, work: str) -> Mapping[str, Ended]:
        found: object = ask_store("load progress", self._store.load, work)
        if isinstance(found, Mapping) and all(isinstance(each, Ended) for each in found.values()):
            return found
        raise StoreError(
            f"the store could not load progress: load() returned {type(found).__name__}, and no mapping of names of "
            "handlers to Ended"
        )

    def _take_over(self, before: str, work: str, known: Mapping[str, Ended]) -> Mapping[str, Ended]:
        """Remember of *work* what was done *before* it was redriven, as it may be redriven again; return what it was.

        What is *known* of the work already is left out.
        """
        earlier = self._ask(before)
        is_news = {name: each for name, each in earlier.items() if known.get(name) != each}
        done = {name: each for name, each in is_news.items() if each.status is ProcessStatus.DONE}
        for name, each in done.items():
            ask_store("save progress", self._store.save, work, name, each)
        return done


def work_of(message: Message) -> str:
    """Return the name of the work on *message*, as a store has it."""
    return _name_work(message.queue_url, message.id, digest_of(message))


def _name_work(queue: str, message_id: str, digest: str) -> str:
    return hash_parts(*identify_queue(queue), message_id, digest)


def ask_store(what: str, method: Callable[..., Returned], *arguments: Any) -> Returned:
    """Return what *method* of a store returns; raise `StoreError` for whatever it raises."""
    try:
        return method(*arguments)
    except Exception as error:
        raise StoreError(f"the store could not {what}: {describe_error(error)}") from error


def check_names(handlers: Sequence[Handler]) -> None:
    """Refuse two handlers of one name, as it is by name that they are remembered: a `RegistrationError`."""
    named: dict[str, Handler] = {}
    for handler in handlers:
        first = named.setdefault(handler.name, handler)
        if identify(first.function) != identify(handler.function):
            raise RegistrationError(
                f"two handlers are named {handler.name} ({first.where} and {handler.where}), and progress is "
                "remembered by name: give one of them handler_name="
            )


def recall(handler: Handler, ended: Ended) -> Outcome:
    """Return what an earlier delivery came to, as the outcome of a handler that is not called."""
    if ended.status is ProcessStatus.DONE:
        return Outcome(handler, ended.status, skipped="finished earlier")
    return Outcome(handler, ended.status, EarlierFailureError(ended.error), skipped="failed earlier")
