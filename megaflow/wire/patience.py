"""Patience: how long a call may take in all, its attempts and the pauses between them, by what its client was told."""

from __future__ import annotations

import math
from typing import Any, Final

from megaflow.wire.retries import MAX_ATTEMPTS

PATIENCE: Final = 14.0
"""Seconds for a client that was told nothing, such as one without a network."""

_PAUSE: Final = 1.0
"""Seconds for each pause."""


def read_patience(client: Any) -> float:
    """Return how many seconds a call of *client* may take: each attempt either does not connect, or is not answered."""
    config = getattr(getattr(client, "meta", None), "config", None)
    connect, read = (getattr(config, f"{what}_timeout", 0.0) for what in ("connect", "read"))
    if connect is None or read is None:
        return math.inf
    retries = getattr(config, "retries", None)
    attempts = (retries if isinstance(retries, dict) else {}).get("total_max_attempts", MAX_ATTEMPTS)
    if not all(isinstance(each, int | float) for each in (connect, read, attempts)) or not (connect or read):
        return PATIENCE
    return float(attempts * max(connect, read) + (attempts - 1) * _PAUSE)


def is_boto3(client: object) -> bool:
    """Tell whether *client* is boto3's, or the wire's: there is a network then, and any thread may call it."""
    from botocore.client import BaseClient

    return isinstance(getattr(client, "boto3_client", client), BaseClient)
