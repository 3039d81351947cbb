"""Log keys: which message a user's own log lines speak of, for `logging` and for structlog."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, MutableMapping
from decimal import Decimal
from typing import Any, Final

from typing_extensions import override

from megaflow.messages.attributes import AttributeValue
from megaflow.printable import printable
from megaflow.telemetry.current import current, find_attributes

_LONGEST: Final = 256
"""Characters of an attribute that are in the log."""


class LogFilter(logging.Filter):
    """Lets every record through, with the keys of the message that is being handled, where it has not its own.

    They are ``message_id``, ``queue``, ``handler``, ``receive_count``, what `App.propagate` names and `context` gives,
    and ``trace_id`` and ``span_id`` of OpenTelemetry's current span. Add it to the handlers of the log: Python asks the
    filters of a logger for its own records alone.
    """

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Add the keys to *record*, and let it through."""
        for key, value in _read_keys():
            vars(record).setdefault(key, value)
        return True


def add_message_keys(logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add to a line of structlog's what `LogFilter` adds to a record; for its chain of processors."""
    for key, value in _read_keys():
        event_dict.setdefault(key, value)
    return event_dict


def _read_keys() -> Iterator[tuple[str, str | int]]:
    """Give the keys, those that are megaflow's own first."""
    message, handler, propagation, given = current.get()
    if message is not None:
        known = {"message_id": message.id, "queue": message.queue_url, "handler": handler}
        yield from ((key, printable(value)) for key, value in known.items() if value)
        yield "receive_count", message.receive_count
    yield from _read_span()
    for name, attribute in find_attributes(dict.fromkeys((*propagation.names, *given))).items():
        yield name, _show(attribute.plain)


def _read_span() -> Iterator[tuple[str, str]]:
    """Give the ids of OpenTelemetry's current span; where nobody has imported its API, there is none."""
    get_current_span = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
    if get_current_span is not None and (span := get_current_span().get_span_context()).is_valid:
        yield "trace_id", f"{span.trace_id:032x}"
        yield "span_id", f"{span.span_id:016x}"


def _show(value: AttributeValue) -> str | int:
    """Return what another has sent so that it forges no line of the log, and fills none."""
    if isinstance(value, int):
        return value
    text = printable(str(value) if isinstance(value, str | Decimal) else repr(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
