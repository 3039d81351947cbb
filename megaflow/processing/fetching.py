"""Fetching: the payload of a message that lies outside of it is read before any handler is asked.

What is missing, refused or not what was sent is a ``problem`` of the message, as what else is wrong with a body is.
Whatever else goes wrong becomes a `StoreError`: whoever drives the steps asks again, or lets the message come again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from megaflow.errors import PayloadError, StoreError, describe_error, text_of
from megaflow.logs import get_logger
from megaflow.messages.message import Message, with_fetched
from megaflow.messages.payloads import Payloads
from megaflow.messages.pointers import Pointer, find_pointer, read_pointer, read_size
from megaflow.processing.log_lines import about
from megaflow.processing.spans import Given
from megaflow.processing.steps import StoreCall
from megaflow.processing.verdict import Fate, Verdict

log = get_logger(__name__)

_PROBLEM: Final = "a pointer to a payload that cannot be had: {}"


class Fetching:
    """Reads payloads from where they lie. May be used from any thread."""

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads

    @property
    def store(self) -> Payloads:
        """Where they lie."""
        return self._payloads

    def check(self) -> None:
        """Find out whether they can be read; raises what `Store.check` does."""
        getattr(self._payloads, "check", lambda: None)()

    def fetch(self, message: Message) -> Message:
        """Return *message* with its payload, or with why it will never have it; raise `StoreError` in an outage."""
        fetched, _ = self.fetch_text(message)
        if fetched.pointer is not None:
            log.info("message %s: its payload was at %s", message.id, str(fetched.pointer), extra=about(message))
        return fetched

    def fetch_text(self, message: Message) -> tuple[Message, str]:
        """Do what `fetch` does, and return what lay there as it is, too; ``""`` where nothing could be had."""
        try:
            pointer = read_pointer(message.payload)
            text = self._read(pointer, read_size(message.attributes))
        except PayloadError as error:
            return replace(message, problem=_PROBLEM.format(text_of(error))), ""
        return with_fetched(message, text, pointer, discards=self._payloads.deletes_when_done), text

    def discard(self, pointer: Pointer) -> None:
        """Delete what a message has no use for any more, as it is handled and deleted; only log where that fails."""
        try:
            self._payloads.delete(pointer)
        except Exception as error:  # noqa: BLE001 - it raises whatever it likes, and the message is gone
            log.warning("the payload at %s stays there, as it could not be deleted: %s", str(pointer), text_of(error))

    def _read(self, pointer: Pointer, size: int | None) -> str:
        try:
            blob = self._payloads.read(pointer)
        except PayloadError:
            raise
        except Exception as error:
            raise StoreError(f"the payload at {pointer} could not be read: {describe_error(error)}") from error
        if size not in (None, len(blob)):
            raise PayloadError(f"{pointer} has {len(blob):,} bytes, and {size:,} were sent")
        try:
            return blob.decode()
        except UnicodeDecodeError:
            raise PayloadError(f"{pointer} is no text") from None


def lies_elsewhere(message: Message) -> bool:
    """Tell whether the payload of *message*, which has a problem, lies outside of it and was not read."""
    return message.pointer is None and bool(find_pointer(message.payload, message.attributes))


def give_fetched(
    fetching: Fetching, message: Message, go_on: Callable[[Message], Given], end: Callable[[Verdict], Verdict]
) -> Given:
    """Fetch the payload of *message*, then give the steps with which it is to *go_on*.

    Where it could not be fetched, it comes again, and *end* is told the verdict.
    """
    fetched = yield StoreCall(partial(fetching.fetch, message))
    if fetched.error is None:
        yield from go_on(fetched.returned)
        return
    text = "message %s: its payload could not be fetched, which will be tried again: %s"
    log.warning(text, message.id, text_of(fetched.error), extra=about(message))
    yield end(Verdict(message, (), Fate.KEEP, fetched.error))
