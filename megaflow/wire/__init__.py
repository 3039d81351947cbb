"""The wire: the calls of SQS that are made over and over, past boto3, whose client remains for everything else."""

from __future__ import annotations

import logging
from typing import Any, TypeVar

from megaflow.wire.client import WireClient
from megaflow.wire.exchange import Call, WholeCall
from megaflow.wire.fallback import why_aside

__all__ = ["Call", "WireClient", "begin_call", "open_wire", "why_aside"]

log = logging.getLogger(__name__)

_Client = TypeVar("_Client")


def open_wire(client: _Client, *, wanted: bool = True) -> _Client | WireClient:
    """Return a client that makes the hot calls of the boto3 client *client* itself, or *client*, and log why."""
    if isinstance(client, WireClient):
        return client
    reason = why_aside(client) if wanted else "wire=False"
    if reason:
        log.info("every call goes through the client itself: %s", reason)
        return client
    return WireClient(client)


def begin_call(client: object, method: str, **parameters: Any) -> Call:
    """Begin to call a *method* of *client*, and return what waits for the answer: on the wire it is under way."""
    if isinstance(client, WireClient):
        return client.begin(method, **parameters)
    return WholeCall(getattr(client, method), parameters)
