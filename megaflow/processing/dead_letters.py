"""Dead letters: when a message was received often enough, and what ``megaflow-origin`` then says of it."""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple

from megaflow import limits
from megaflow.errors import describe_error
from megaflow.handlers.status import ProcessStatus
from megaflow.logs import LogKeys
from megaflow.messages.message import Message
from megaflow.messages.origin import digest_of, replace_origin
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.transport.entries import measure


def why_unhandled(message: Message, max_receives: int | None) -> str:
    """Return why *message* is not handled any more; ``""`` where it is."""
    if max_receives is None or message.receive_count <= max_receives:
        return ""
    return f"received {message.receive_count} times, and max_receives is {max_receives}"


def is_last_delivery(message: Message, max_receives: int | None) -> bool:
    """Tell whether *message* does not come again, even if it is kept."""
    return max_receives is not None and message.receive_count >= max_receives


def why_not_kept(verdict: Verdict, max_receives: int | None) -> str:
    """Return why a message that is kept does not come again; ``""`` where it does, or is not kept."""
    message = verdict.message
    if not verdict.keeps or not is_last_delivery(message, max_receives) or verdict.interruption is not None:
        return ""
    return f"kept at delivery {message.receive_count}, and max_receives is {max_receives}"


def has_room_for_origin(message: Message, origin: str, size_limit: int) -> bool:
    """Tell whether *message* can say its past where it may have *size_limit* bytes; 0 is that this is not known."""
    attributes = replace_origin(message, origin)
    fits = measure(message.body, attributes) <= (size_limit or limits.SQS_MESSAGE_SIZE)
    return fits and len(attributes) <= limits.MESSAGE_ATTRIBUTES


def why_too_large(message: Message, size_limit: int) -> str:
    """Return why *message* does not go where it may have *size_limit* bytes; ``""`` where it does, or nobody knows."""
    size = measure(message.body, replace_origin(message, ""))
    return f"it has {size:,} bytes, and the dead-letter queue takes {size_limit:,}" if 0 < size_limit < size else ""


class Farewell(NamedTuple):
    """What the log says of a message that does not come again: *text* takes the message's id, and *said*."""

    level: int
    text: str
    said: str
    error: BaseException | None = None
    keys: LogKeys = {}  # noqa: RUF012 - nobody changes it


def describe_end(verdict: Verdict, problem: str, *, is_dropped: bool) -> Farewell | None:
    """Return what the log says of a failed message that is *dropped*, or goes to the dead-letter queue, if anything.

    One line about it is an error: that of the handler that has failed for good; or this one, where the message was to
    come again, and does not for a *problem*, with the error that kept it the last time.
    """
    if not (problem or is_dropped):
        return None
    text = "message %s: no dead-letter queue, so it is deleted: %s"
    if not is_dropped:
        text = "message %s goes to the dead-letter queue: %s"
    if not problem and (verdict.outcomes or verdict.message.problem):
        return Farewell(logging.WARNING, text, str(verdict))
    keepers = [outcome for outcome in verdict.outcomes if outcome.status.keeps]
    error = next((outcome.error for outcome in keepers if outcome.error is not None), verdict.failure)
    keys: LogKeys = {"handler": ", ".join(outcome.handler.name for outcome in keepers)} if keepers else {}
    return Farewell(logging.ERROR, text, problem or str(verdict), error, keys)


def describe_origin(verdict: Verdict, problem: str = "", *, with_texts: bool = True) -> str:
    """Return what a dead-lettered message says of its past, as JSON; *problem* is why, where no handler said so.

    All that is of the message in hand: nothing is taken over from an origin that it came with. *with_texts* is whether
    what errors say is told, beside their types.
    """
    message = verdict.message
    origin: dict[str, Any] = {"message_id": message.id, "queue": message.queue_url, "digest": digest_of(message)}
    origin["failed"] = {
        outcome.handler.name: _describe_error(outcome, with_texts)
        for outcome in verdict.outcomes
        if outcome.status is not ProcessStatus.DONE
    }
    origin["finished"] = [outcome.handler.name for outcome in verdict.outcomes if outcome.status is ProcessStatus.DONE]
    if problem or verdict.unmatched:
        origin["problem"] = problem or message.problem or "no handler matched"
    return json.dumps(origin)


def _describe_error(outcome: Outcome, with_text: bool) -> str:
    return outcome.status.name if outcome.error is None else describe_error(outcome.error, with_text=with_text)
