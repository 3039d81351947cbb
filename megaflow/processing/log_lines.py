"""Log lines about messages: their records have plain values alone, and nothing from which a body could be reached."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from megaflow.dispatch.suspects import find_suspects
from megaflow.errors import EarlierFailureError, InvalidPayloadError, text_of
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus, Reject
from megaflow.logs import LogKeys, get_logger
from megaflow.messages.message import Message
from megaflow.processing.dead_letters import is_last_delivery, why_not_kept
from megaflow.processing.verdict import BatchOutcome, Fate, Outcome, Verdict

log = get_logger(__name__)

_SUSPECTS: Final = 3
"""How many conditions are named at most that can have taken long."""


def about(message: Message, **more: str | float) -> LogKeys:
    """Return the keys of a record about *message*, to be given as ``extra``."""
    known: LogKeys = {"message_id": message.id, "queue": message.queue_url, "receive_count": message.receive_count}
    return {name: value for name, value in known.items() if value} | more


def log_verdict(verdict: Verdict, max_receives: int | None = None) -> None:
    """Say what becomes of a message; one that is kept at its last delivery goes where those go that failed for good."""
    if log.isEnabledFor(logging.INFO):
        if why_not_kept(verdict, max_receives):
            verdict = replace(verdict, fate=Fate.DEAD_LETTER)
        log.info("message %s: %s", verdict.message.id, str(verdict), extra=about(verdict.message, **_keys_of(verdict)))


def log_outcome(message: Message, outcome: Outcome, max_receives: int | None = None) -> None:
    """Say what failed, and why; a handler that only asks for later is no news."""
    name, status, error = outcome.handler.name, outcome.status, outcome.error
    if isinstance(outcome, BatchOutcome):
        # Each message has its own line.
        return
    keys = about(message, handler=name, status=status.name, seconds=outcome.seconds)
    if isinstance(error, InvalidPayloadError):
        level = logging.ERROR if status is ProcessStatus.FATAL_ERROR else logging.WARNING
        log.log(level, "message %s: it is not what %s takes: %s", message.id, name, text_of(error), extra=keys)
    elif isinstance(error, EarlierFailureError):
        # It had its line when it failed.
        log.info("message %s: %s failed for good earlier: %s", message.id, name, text_of(error), extra=keys)
    elif status is ProcessStatus.RETRIABLE_ERROR:
        # What ends it, and is an error, is said by whoever ends it.
        is_last = is_last_delivery(message, max_receives) and not outcome.interrupts
        told = f"for the last time, as max_receives is {max_receives}" if is_last else "and will be tried again"
        log.warning("message %s: %s failed %s", message.id, name, told, exc_info=error, extra=keys)
    elif isinstance(error, Reject):
        log.error("message %s: %s rejects it: %s", message.id, name, text_of(error), extra=keys)
    elif status is ProcessStatus.FATAL_ERROR:
        log.error("message %s: %s failed for good", message.id, name, exc_info=error, extra=keys)


def log_no_retries() -> None:
    """Say that no exception leads to another try, and how to say which are worth it."""
    log.warning(
        "no handler retries anything: an exception dead-letters its message, or deletes it without a "
        "dead-letter queue; say what is worth another try, App(retry_on=(ConnectionError, TimeoutError)) for "
        "instance, or retry_on=() where nothing is"
    )


def log_slow_matching(message: Message, seconds: float, handlers: Sequence[Handler]) -> None:
    """Say what can have taken so many *seconds* to match, where the patterns ask anything that can take long."""
    suspects = find_suspects(handlers, message)
    if suspects:
        said = "; ".join(map(str, suspects[:_SUSPECTS]))
        more = f"; and {len(suspects) - _SUSPECTS} more" if len(suspects) > _SUSPECTS else ""
        names = ", ".join(dict.fromkeys(suspect.handler.name for suspect in suspects[:_SUSPECTS]))
        text = "message %s: matching took %.1f s, in which no other message may have been handled: %s%s"
        log.warning(text, message.id, seconds, said, more, extra=about(message, handler=names))


def _keys_of(verdict: Verdict) -> LogKeys:
    fate: LogKeys = {"fate": verdict.fate.value}
    if not verdict.outcomes:
        return fate
    names = ", ".join(outcome.handler.name for outcome in verdict.outcomes)
    statuses = ", ".join(outcome.status.name for outcome in verdict.outcomes)
    return fate | {"handler": names, "status": statuses, "seconds": verdict.seconds}
