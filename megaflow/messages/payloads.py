"""`Payloads`: the contract of whatever keeps payloads that are too large for a message."""

from __future__ import annotations

from typing import Final, Protocol

from megaflow.checks import check_object
from megaflow.messages.pointers import Pointer

_METHODS: Final = ("make_pointer", "write", "read", "delete")


class Payloads(Protocol):
    """Keeps payloads outside of their messages. Write one for a place of your own.

    Every method may be called from any thread. Whatever a method raises is an outage: the message that is read comes
    again, and the one that is written is not sent. `PayloadError` alone, from `read`, says that this payload will never
    come, so that its message has a ``problem``.

    It may have a method ``check()``, and one ``close()``, as a `Store` may.
    """

    @property
    def max_size(self) -> int:
        """How many bytes a payload may have, to be written and to be read."""
        ...

    @property
    def deletes_when_done(self) -> bool:
        """Whether a payload is deleted once its message was handled, and deleted."""
        ...

    def make_pointer(self) -> Pointer:
        """Return where the next payload will lie: another place each time. Nothing is written yet."""
        ...

    def write(self, pointer: Pointer, body: bytes) -> None:
        """Write a payload; to write the same one once more changes nothing."""
        ...

    def read(self, pointer: Pointer) -> bytes:
        """Return the payload that lies there, at most `max_size` bytes.

        Raises `PayloadError` where nothing lies there, where it is too large, and for a place from which nothing is to
        be read: anybody who may send to the queue can name any. Such a place must not even be asked.
        """
        ...

    def delete(self, pointer: Pointer) -> None:
        """Delete the payload that lies there; do nothing where there is none, or from where nothing is to be read."""
        ...


def check_payloads(payloads: object) -> None:
    """Raise `ConfigurationError` unless *payloads* has the methods of what keeps payloads, or is None."""
    wanted = 'what keeps payloads, such as S3Payloads("bucket") or DirectoryPayloads(path)'
    check_object("large_payloads", payloads, _METHODS, wanted)
