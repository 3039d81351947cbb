"""Reading of messages from files and the standard input: no more than one may have, whatever else there is."""

from __future__ import annotations

import json
from typing import IO, Final

from megaflow import limits
from megaflow.cli.errors import WrongUsage

LONGEST: Final = 8 * limits.SQS_MESSAGE_SIZE
"""Characters of a message as it is written: JSON may have six for one, as in ``\\u0041``, and spaces besides."""


def read_text(stream: IO[str], name: str) -> str:
    """Return all that *stream*, which is called *name*, holds but the line break at its end.

    Raises `WrongUsage` where that is more than a message may have.
    """
    text = stream.read(LONGEST + 1)
    if len(text) > LONGEST:
        raise WrongUsage(f"{name} is too long for a message: it has more than {LONGEST:,} characters")
    # An editor ends the file with a line break, which nobody means to send.
    return text.removesuffix("\n").removesuffix("\r")


def find_json_problem(text: str) -> str:
    """Return why *text* is no JSON, with line and column; ``""`` where it is JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    except (ValueError, RecursionError) as error:
        return str(error)
    return ""
