"""Logs: loggers and formatters whose lines are printable, so that no message can forge one, or speak to a terminal."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TextIO

from typing_extensions import override

from megaflow.errors import describe_error
from megaflow.printable import indented, printable

__all__ = ["LOG_KEYS", "JsonFormatter"]

LOG_KEYS: Final[Mapping[str, str]] = {
    "message_id": "the message's id",
    "queue": "the URL of its queue",
    "receive_count": "how often the message was received, this time counted",
    "handler": "the handler's name; of several, one after another: `shop.reserve, shop.notify`",
    "status": "what the handler made of the message, `DONE`, `RETRIABLE_ERROR` …; of several, in the same order",
    "fate": "what becomes of the message: `deleted`, `kept`, `dead-lettered`",
    "seconds": "how long the handlers took",
    "trace_id": "the trace of OpenTelemetry's current span, in 32 hexadecimal digits",
    "span_id": "that span, in 16",
}
"""What a record of megaflow's has besides its text, where it has it, and what that is."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has, or gets when it is formatted."""


def get_logger(name: str) -> logging.Logger:
    """Return the logger *name*, one of megaflow's own: what its records say is printable, whoever formats them."""
    logger = logging.getLogger(name)
    logger.addFilter(_escape)
    return logger


def _escape(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple([printable(each) if isinstance(each, str) else each for each in record.args])
    for key in LOG_KEYS:
        if isinstance(said := getattr(record, key, None), str):
            setattr(record, key, printable(said))
    return True


class TextFormatter(logging.Formatter):
    """A record of anybody's is one line of printable text; what stands below it, as a traceback does, is indented."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        below = self.formatException(record.exc_info) if record.exc_info and record.exc_info[1] is not None else ""
        lines = [printable(self.formatMessage(record)), indented(below), indented(record.stack_info or "")]
        return "\n".join(filter(None, lines))


def make_text_handler(stream: TextIO, form: str) -> logging.Handler:
    """Return what writes records to *stream* as people read them, each in the *form* that `logging` takes."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter(form))
    return handler


class JsonFormatter(logging.Formatter):
    """Makes one line of a record, a JSON object: ``time``, ``level``, ``logger``, ``message``, and what else it has.

    Where there is an error, it stands in ``error``, and again with its ``traceback``. What a record has under one of
    these names, too, has ``extra.`` before it. What JSON cannot say is its ``repr``. With `LogFilter` on the same
    handler of the log, your own lines say which message they speak of.
    """

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line for *record*; nothing that it holds makes this fail."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe_error(record.exc_info[1])
            line["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        given = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        line |= {f"extra.{key}" if key in line else key: value for key, value in given.items()}
        try:
            return _write(line)
        except Exception:  # noqa: BLE001 - a value of the user's may hold itself, or fail to say what it is
            return json.dumps({str(key): _say(value) for key, value in line.items()})


def _say(value: object) -> object:
    """Return *value* as JSON can say it, alone: the other ones of its record are not to suffer from it."""
    with suppress(Exception):
        return json.loads(_write(value))
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - see above
        return f"<{type(value).__name__}>"


_write: Final = partial(json.dumps, default=repr, allow_nan=False)
