"""Offloading: a payload that is too large for its message is put elsewhere first, and a pointer to it is sent.

A batch that fails after that leaves it there: nobody knows yet whether the message was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from megaflow import limits
from megaflow.errors import EncodeError, FailedEntry, PublishError, describe_error
from megaflow.messages.attributes import Attribute
from megaflow.messages.payloads import Payloads
from megaflow.messages.pointers import SIZE_ATTRIBUTE, SIZE_ATTRIBUTES, Pointer, write_pointer
from megaflow.publishing.threads import Threads

if TYPE_CHECKING:
    from megaflow.publishing.outgoing import Outgoing, Prepared

NOT_STORED: Final = "PayloadNotStored"
"""The code of a message whose payload could not be put elsewhere. It was not sent."""

_AT_ONCE: Final = 8
"""Payloads that are written at once."""


@dataclass(frozen=True, slots=True)
class Offloaded:
    """A body that goes elsewhere, and where."""

    pointer: Pointer
    body: bytes


@dataclass(frozen=True, slots=True)
class Slimmed:
    """What is sent in place of a message that is too large."""

    source: Outgoing
    body: str
    attributes: Mapping[str, Attribute]
    offloaded: Offloaded


@dataclass(frozen=True, slots=True)
class Offloading:
    """Puts what is too large into *payloads*; *is_fifo* tells whether the destination knows copies by their content."""

    payloads: Payloads
    is_fifo: Callable[[], bool]

    def slim(self, source: Outgoing, body: str, attributes: Mapping[str, Attribute]) -> Slimmed:
        """Return what goes in place of a message that is too large. Nothing is written yet.

        On FIFO, where it has no deduplication id, it gets what AWS would take for one, by the content: a pointer is
        another one each time. Raises `EncodeError` where it has too many attributes, or is too large for this, too.
        """
        blob = body.encode()
        if len(blob) > self.payloads.max_size:
            raise EncodeError(
                f"{len(blob):,} bytes are more than the {self.payloads.max_size:,} that large_payloads= takes",
                "payload",
            )
        kept = {name: each for name, each in attributes.items() if name not in SIZE_ATTRIBUTES}
        if len(kept) >= limits.MESSAGE_ATTRIBUTES:
            raise EncodeError(
                f"{len(kept)} message attributes leave no place for {SIZE_ATTRIBUTE}, which a payload that is too "
                f"large for its message needs: give {limits.MESSAGE_ATTRIBUTES - 1} at most",
                "attributes",
            )
        if self.is_fifo() and not source.deduplication_id:
            source = replace(source, deduplication_id=sha256(blob).hexdigest())
        pointer = self.payloads.make_pointer()
        with_size = kept | {SIZE_ATTRIBUTE: Attribute("Number", str(len(blob)))}
        return Slimmed(source, write_pointer(pointer), with_size, Offloaded(pointer, blob))


def store_payload(payloads: Payloads | None, message: Prepared) -> None:
    """Put the payload of *message* where its pointer says, if it has any; raise `PublishError` where that fails."""
    failure = _store(payloads, message)
    if failure is not None:
        raise PublishError([replace(failure, index=0)], [""])


def store_payloads(payloads: Payloads | None, messages: Iterable[Prepared]) -> Mapping[int, FailedEntry]:
    """Put the payloads of *messages* where their pointers say; return what failed, by the places of the messages."""
    large = [message for message in messages if message.offloaded is not None]
    if not large:
        return {}
    failures = [failure for failure in _store_all(payloads, large) if failure is not None]
    return {failure.index: failure for failure in failures}


def _store_all(payloads: Payloads | None, large: Sequence[Prepared]) -> list[FailedEntry | None]:
    if len(large) == 1:
        return [_store(payloads, large[0])]
    with Threads(min(_AT_ONCE, len(large))) as threads:
        futures = [threads.submit(_store, payloads, message) for message in large]
        return [future.result() for future in futures]


def _store(payloads: Payloads | None, message: Prepared) -> FailedEntry | None:
    if payloads is None or message.offloaded is None:
        return None
    try:
        payloads.write(message.offloaded.pointer, message.offloaded.body)
    except Exception as error:  # noqa: BLE001 - whatever it raises, this message alone is not sent
        where, said = message.offloaded.pointer, describe_error(error)
        reason = f"its payload could not be put at {where}, so it was not sent: {said}"
        return FailedEntry(message.index, message.source.payload, NOT_STORED, reason)
    return None
