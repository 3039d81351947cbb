"""boto3's clients as they are in production: without the hook that moto, once imported, puts into each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from botocore import handlers

Client = TypeVar("Client")


def unmocked(client: Client) -> Client:
    """Return *client* without moto's hook, which would keep the wire out."""
    moto = sys.modules.get("moto.core.models")
    if moto is not None:
        client.meta.events.unregister("before-send", moto.botocore_stubber)  # type: ignore[attr-defined]
    return client


@contextmanager
def making_unmocked() -> Iterator[None]:
    """Let all clients that are made within a ``with`` be without that hook, those that megaflow makes too."""
    before = list(handlers.BUILTIN_HANDLERS)
    handlers.BUILTIN_HANDLERS[:] = [each for each in before if not type(each[1]).__module__.startswith("moto.")]
    try:
        yield
    finally:
        handlers.BUILTIN_HANDLERS[:] = before
