"""`MemoryPayloads`: large payloads in the memory of a test, in place of wherever the app has them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Final

from megaflow.errors import PayloadError
from megaflow.messages.pointers import Pointer

_BUCKET: Final = "memory"


@dataclass
class MemoryPayloads:
    """Keeps payloads in memory; for what else see `Payloads`."""

    max_size: int
    deletes_when_done: bool
    _bodies: dict[str, bytes] = field(default_factory=dict)

    def make_pointer(self) -> Pointer:
        """See `Payloads`."""
        return Pointer(_BUCKET, str(uuid.uuid4()))

    def write(self, pointer: Pointer, body: bytes) -> None:
        """See `Payloads`."""
        self._bodies[pointer.key] = body

    def read(self, pointer: Pointer) -> bytes:
        """See `Payloads`."""
        if pointer.bucket != _BUCKET or pointer.key not in self._bodies:
            raise PayloadError(
                f"{pointer} is not there: a TestClient has large payloads of its own, unless some are given"
            )
        return self._bodies[pointer.key]

    def delete(self, pointer: Pointer) -> None:
        """See `Payloads`."""
        self._bodies.pop(pointer.key, None)
