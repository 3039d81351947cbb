"""What a dead-lettered message says of its past, in the attribute ``megaflow-origin``."""

from __future__ import annotations

import json
from typing import Any

from megaflow.errors import describe_error
from megaflow.handlers.status import ProcessStatus
from megaflow.messages.origin import read_origin
from megaflow.verdict import Outcome, Verdict


def describe_origin(verdict: Verdict, problem: str = "") -> str:
    """Return what a dead-lettered message says of its past, as JSON; *problem* is why, where no handler said so.

    One that was redriven and failed again keeps the id that it had first.
    """
    message = verdict.message
    origin: dict[str, Any] = {"message_id": message.id, "queue": message.queue_url}
    origin |= read_origin(message)
    origin["failed"] = {
        outcome.handler.name: _describe_error(outcome)
        for outcome in verdict.outcomes
        if outcome.status is not ProcessStatus.DONE
    }
    origin["finished"] = [outcome.handler.name for outcome in verdict.outcomes if outcome.status is ProcessStatus.DONE]
    if problem or verdict.unmatched:
        origin["problem"] = problem or message.problem or "no handler matched"
    return json.dumps(origin)


def _describe_error(outcome: Outcome) -> str:
    return outcome.status.name if outcome.error is None else describe_error(outcome.error)
