"""Selected handlers: each function once, by its first handler that matched, with a payload of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from megaflow.dispatch.table import Selection
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.messages.message import Message
from megaflow.processing.verdict import Outcome


def read_raised(selection: Selection) -> list[Outcome]:
    """Return what is to be made of the handlers whose patterns have raised something."""
    return [Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error) for handler, error in selection.raised.items()]


def each_with_own_payload(
    selection: Selection, message: Message, last: Collection[Handler] = ()
) -> Iterable[tuple[Handler, Message]]:
    """Give each function its first handler that matched, and a payload that no other handler can have changed.

    Those of *last* come after the others.
    """
    if len(selection.matched) == 1:
        return ((selection.matched[0], message),)
    return _share_out(selection, message, last)


def _share_out(selection: Selection, message: Message, last: Collection[Handler]) -> Iterator[tuple[Handler, Message]]:
    first: dict[tuple[int, int], Handler] = {}
    for handler in selection.matched:
        first.setdefault(identify(handler.function), handler)
    handlers = list(first.values())
    if last:
        handlers.sort(key=last.__contains__)
    for handler in handlers[:-1]:
        yield handler, message.with_own_payload()
    for handler in handlers[-1:]:
        yield handler, message


def identify(function: Callable[..., Any]) -> tuple[int, int]:
    """Return what two references to the same function have in common."""
    # Python makes a bound method anew each time it is asked for one.
    return id(getattr(function, "__self__", None)), id(getattr(function, "__func__", function))
