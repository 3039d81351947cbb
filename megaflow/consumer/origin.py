"""What a dead-lettered message says of its past, in the attribute ``megaflow-origin``."""

from __future__ import annotations

import json
from typing import Any

from megaflow.message import ORIGIN_ATTRIBUTE, Message
from megaflow.process import Verdict
from megaflow.status import ProcessStatus


def describe_origin(verdict: Verdict) -> str:
    """Return what a dead-lettered message says of its past, as JSON.

    One that was redriven and failed again keeps the id that it had first.
    """
    message = verdict.message
    origin: dict[str, Any] = {"message_id": message.id, "queue": message.queue_url}
    origin |= _read_origin(message)
    origin["failed"] = {
        outcome.handler.name: _describe_error(outcome.error)
        for outcome in verdict.outcomes
        if outcome.status is ProcessStatus.FATAL_ERROR
    }
    origin["finished"] = [outcome.handler.name for outcome in verdict.outcomes if outcome.status is ProcessStatus.DONE]
    if verdict.unmatched:
        origin["problem"] = message.problem or "no handler matched"
    return json.dumps(origin)


def _read_origin(message: Message) -> dict[str, str]:
    carried = message.sqs_attributes.get(ORIGIN_ATTRIBUTE)
    try:
        origin = json.loads(carried.value) if carried else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(origin, dict):
        return {}
    return {key: origin[key] for key in ("message_id", "queue") if isinstance(origin.get(key), str)}


def _describe_error(error: BaseException | None) -> str:
    if error is None:
        return "FATAL_ERROR"
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except Exception:  # noqa: BLE001 - an error of the user's may fail to say what it is
        return type(error).__name__
