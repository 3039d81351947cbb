"""Contexts: what `contextvars` hold for one message, whichever threads and tasks its handlers run in."""

from __future__ import annotations

from contextvars import Context
from typing import Final

_UNSET: Final = object()


def adopt(context: Context) -> None:
    """Take over what was set in *context*, a copy of the current one in which something else has run meanwhile."""
    for variable, value in context.items():
        if variable.get(_UNSET) is not value:
            variable.set(value)
