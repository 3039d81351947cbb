"""What every record of megaflow's has to be: plain values, from which no body can be reached, and printable text."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from megaflow.logs import LOG_KEYS
from megaflow.printable import printable

PLAIN = (str, int, float, bool, type(None))
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def find_unplain(record: logging.LogRecord) -> list[str]:
    """Return what a record has that it must not have; the traceback of an error is the one exception."""
    arguments = record.args if isinstance(record.args, tuple) else (record.args or {}).values()
    extras = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    found = [f"an argument {type(each).__name__}" for each in (record.msg, *arguments) if type(each) not in PLAIN]
    found += [f"{name}, a {type(value).__name__}" for name, value in extras.items() if type(value) not in PLAIN]
    found += [f"{name}, which is no key" for name in extras if name not in LOG_KEYS]
    said = (record.getMessage(), *(value for value in extras.values() if isinstance(value, str)))
    return found + [f"{text!r}, which is not printable" for text in said if printable(text) != text]


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Take away where the log was sent to within a ``with``: once that stream is closed, each line is an error."""
    root = logging.getLogger()
    before, level = {logger: logger.handlers[:] for logger in _loggers()}, root.level
    try:
        yield
    finally:
        for logger in _loggers():
            for handler in set(logger.handlers).difference(before.get(logger, [])):
                logger.removeHandler(handler)
        root.setLevel(level)


def _loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.values()
    return [logging.root, *(each for each in known if isinstance(each, logging.Logger))]


class PlainRecords(logging.Handler):
    """Notes the records that are not as they have to be."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if found := find_unplain(record):
            self.problems.append(f"{record.name}:{record.lineno} {record.msg!r} has {', '.join(found)}")
