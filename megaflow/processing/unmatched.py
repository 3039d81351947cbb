"""Unmatched messages: what becomes of one that no handler matches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from megaflow.logs import get_logger
from megaflow.messages.message import Message
from megaflow.processing.log_lines import about
from megaflow.processing.verdict import Fate
from megaflow.settings import Unmatched

log = get_logger(__name__)

_FATES: Final[Mapping[Unmatched, Fate]] = {
    "delete": Fate.DELETE,
    "keep": Fate.KEEP,
    "dead_letter": Fate.DEAD_LETTER,
}


def decide_unmatched(message: Message, unmatched: Unmatched) -> Fate:
    """Return what becomes of *message*, of the app's *unmatched* ones, and say what is odd about it."""
    if message.problem:
        # Its publisher meant a MEGA event: nobody can have wanted it to vanish.
        text = "message %s: no handler matched, and it is %s"
        log.error(text, message.id, message.problem, extra=about(message))
        return Fate.DEAD_LETTER
    if message.sns is not None and not message.has_payload:
        text = "message %s is a %s of %s, to be answered at %s"
        sns = message.sns
        log.warning(text, message.id, sns.type, sns.topic_arn, sns.subscribe_url, extra=about(message))
    return _FATES[unmatched]
