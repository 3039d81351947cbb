"""boto3's clients as they are in production: without the hook that moto, once imported, puts into each."""

from __future__ import annotations

import sys
from typing import TypeVar

Client = TypeVar("Client")


def unmocked(client: Client) -> Client:
    """Return *client* without moto's hook, which would keep the wire out."""
    moto = sys.modules.get("moto.core.models")
    if moto is not None:
        client.meta.events.unregister("before-send", moto.botocore_stubber)  # type: ignore[attr-defined]
    return client
