"""Private files: those that hold bodies or errors are made for their owner's eyes only."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_MODE = 0o600


def create(path: Path) -> int:
    """Make a file and return its descriptor, to be written to; raise `OSError` where it is there, or cannot be made."""
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE)


def create_where_missing(path: Path) -> None:
    """Make an empty file where there is none; what keeps it from being made is found by whoever opens it."""
    with suppress(OSError):
        os.close(create(path))
