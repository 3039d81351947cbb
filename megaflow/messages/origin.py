"""``megaflow-origin``: the attribute in which a dead-lettered message says where it comes from, and its readers.

Anybody who may send to a queue can set it: what it says is shown, and never believed by itself.
"""

from __future__ import annotations

import json
from typing import Any, Final

from megaflow.hashes import hash_parts
from megaflow.messages.attributes import Attribute
from megaflow.messages.message import Message

ORIGIN_ATTRIBUTE: Final = "megaflow-origin"
"""The message attribute of a dead-lettered message that says where it comes from, and what failed."""

_LONGEST: Final = 2_048
"""Characters of an id or an address: what is longer is neither, and not worth remembering."""


def replace_origin(message: Message, origin: str) -> dict[str, Attribute]:
    """Return the attributes of *message*, with our *origin*, or none where it is ``""``, for the one that it came with.

    What somebody else wrote is never passed on as ours.
    """
    attributes = {name: each for name, each in message.sqs_attributes.items() if name != ORIGIN_ATTRIBUTE}
    return attributes | {ORIGIN_ATTRIBUTE: Attribute("String", origin)} if origin else attributes


def digest_of(message: Message) -> str:
    """Return the hash of body and attributes, but for the origin: it stays on the way to another queue and back."""
    attributes = sorted(replace_origin(message, "").items())
    return hash_parts(message.body, *(part for name, each in attributes for part in (name, each.type, each.value)))


def origin_of(message: Message) -> dict[str, Any]:
    """Return all that a dead-lettered message says of its past; nothing where it is no object."""
    carried = message.sqs_attributes.get(ORIGIN_ATTRIBUTE)
    try:
        origin = json.loads(carried.value) if carried else {}
    except (ValueError, RecursionError):
        return {}
    return origin if isinstance(origin, dict) else {}


def read_origin(message: Message) -> dict[str, str]:
    """Return the ``message_id``, ``queue`` and ``digest`` that a dead-lettered message had, as far as it says so."""
    origin = origin_of(message)
    said = {key: origin.get(key) for key in ("message_id", "queue", "digest")}
    return {key: each for key, each in said.items() if isinstance(each, str) and len(each) <= _LONGEST}
