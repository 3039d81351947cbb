"""The slow twin of the dispatch table: every handler is asked, one after the other, by closures made of its pattern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from megaflow.dispatch.fields import see
from megaflow.dispatch.table import Selection
from megaflow.handlers.handler import Handler
from megaflow.match.conditions import compile_test
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message


class LinearTable:
    """What `megaflow.dispatch.table.DispatchTable` has to agree with."""

    def __init__(self, handlers: Sequence[Handler]) -> None:
        self._tests = [(handler, compile_test(handler.pattern)) for handler in handlers]

    def select(self, message: Message) -> Selection:
        """Return the handlers that *message* reaches."""
        if not message.has_payload:
            return Selection((), {})
        left: Any = see(message.payload)
        matched, raised = [], {}
        for handler, test in self._tests:
            if handler.kind not in (message.kind, Kind.ANY):
                continue
            try:
                if test(message if handler.kind is Kind.ANY else left):
                    matched.append(handler)
            except Exception as error:  # noqa: BLE001 - a user's function raises whatever it likes
                raised[handler] = error
        return Selection(tuple(matched), raised)
