"""What every record of megaflow's has to be: plain values, from which no body can be reached."""

from __future__ import annotations

import logging

from megaflow.processing.log_lines import LOG_KEYS

PLAIN = (str, int, float, bool, type(None))
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def find_unplain(record: logging.LogRecord) -> list[str]:
    """Return what a record has that it must not have; the traceback of an error is the one exception."""
    arguments = record.args if isinstance(record.args, tuple) else (record.args or {}).values()
    extras = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    found = [f"an argument {type(each).__name__}" for each in (record.msg, *arguments) if type(each) not in PLAIN]
    found += [f"{name}, a {type(value).__name__}" for name, value in extras.items() if type(value) not in PLAIN]
    return found + [f"{name}, which is no key" for name in extras if name not in LOG_KEYS]


class PlainRecords(logging.Handler):
    """Notes the records that are not as they have to be."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if found := find_unplain(record):
            self.problems.append(f"{record.name}:{record.lineno} {record.msg!r} has {', '.join(found)}")
