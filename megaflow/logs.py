"""Logs: loggers and a formatter whose lines are printable, so that no message can forge one, or speak to a terminal."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, TextIO

from typing_extensions import override

from megaflow.printable import indented, printable

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
