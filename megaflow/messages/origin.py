"""``megaflow-origin``: the attribute in which a dead-lettered message says where it comes from, and its readers."""

from __future__ import annotations

import json
from typing import Any, Final

from megaflow.messages.attributes import Attribute
from megaflow.messages.message import Message

ORIGIN_ATTRIBUTE: Final = "megaflow-origin"
"""The message attribute of a dead-lettered message that says where it comes from, and what failed."""


def add_origin(message: Message, origin: str) -> dict[str, Attribute]:
    """Return the attributes of *message*, and its *origin* in place of an earlier one."""
    return {**message.sqs_attributes, ORIGIN_ATTRIBUTE: Attribute("String", origin)}


def origin_of(message: Message) -> dict[str, Any]:
    """Return all that a dead-lettered message says of its past; nothing where it is no object."""
    carried = message.sqs_attributes.get(ORIGIN_ATTRIBUTE)
    try:
        origin = json.loads(carried.value) if carried else {}
    except (ValueError, RecursionError):
        return {}
    return origin if isinstance(origin, dict) else {}


def read_origin(message: Message) -> dict[str, str]:
    """Return the ``message_id`` and ``queue`` that a dead-lettered message had first, as far as it says so."""
    origin = origin_of(message)
    return {key: origin[key] for key in ("message_id", "queue") if isinstance(origin.get(key), str)}
