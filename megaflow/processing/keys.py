"""Keys of idempotency around a call: claimed before it, completed or released after it, step by step."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from megaflow.errors import KeyBusyError
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.messages.message import Message
from megaflow.processing.idempotency import Idempotency
from megaflow.processing.steps import Asking, Result, Step, StoreCall
from megaflow.processing.verdict import Outcome
from megaflow.stores.store import Claim


def claim_key(
    idempotency: Idempotency, handler: Handler, message: Message, key: str
) -> Generator[Step, Result, Outcome | None]:
    """Claim a *key*, and return why the handler is not called; None where it is."""
    claimed = yield StoreCall(partial(idempotency.claim, message, handler, key))
    if claimed.error is not None:
        return Outcome(handler, ProcessStatus.RETRIABLE_ERROR, claimed.error)
    if claimed.returned is Claim.DONE:
        return Outcome(handler, ProcessStatus.DONE, skipped="finished earlier with the same key")
    if claimed.returned is Claim.BUSY:
        busy = KeyBusyError("its idempotency key is being worked on elsewhere")
        return Outcome(handler, ProcessStatus.RETRY_LATER, busy)
    return None


def end_key(idempotency: Idempotency, message: Message, key: str, outcome: Outcome) -> Asking:
    """Complete a *key* that was claimed, or release it, and return the outcome with what came of that."""
    handler = outcome.handler
    end = idempotency.complete if outcome.status is ProcessStatus.DONE else idempotency.release
    ended = yield StoreCall(partial(end, message, handler, key))
    if ended.error is None or outcome.status.keeps:
        return outcome
    return Outcome(handler, ProcessStatus.RETRIABLE_ERROR, ended.error)
