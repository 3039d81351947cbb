"""Readable JSON: any value as text for logs and tests, where JSON has no word for it, too."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import date
from enum import Enum
from typing import Any

from megaflow.errors import EncodeError


def write_readable(value: Any) -> str:
    """Return *value* as JSON; dates are ISO 8601, bytes Base64, and what else JSON does not know is its own text.

    Raises `EncodeError` for what holds itself, is nested too deeply, or has keys that are no text.
    """
    try:
        return json.dumps(value, default=_say)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(f"cannot be written as JSON: {error}") from error


def _say(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    return b64encode(value).decode() if isinstance(value, bytes | bytearray) else str(value)
