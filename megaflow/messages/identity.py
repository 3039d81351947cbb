"""``megaflow-id``: the attribute by which a message is known wherever it goes, and however often it is sent."""

from __future__ import annotations

from typing import Final

from megaflow.messages.message import Message

ID_ATTRIBUTE: Final = "megaflow-id"
"""The message attribute with the identity that its sender gave a message, a text."""

_LONGEST: Final = 256
"""Characters of an identity: what is longer is none."""


def find_identity(message: Message) -> str:
    """Return the identity that its sender gave *message*, or ``""``."""
    found = message.attributes.get(ID_ATTRIBUTE)
    return found if isinstance(found, str) and len(found) <= _LONGEST else ""
