"""Log lines for people, and as JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from typing_extensions import override

from megaflow.errors import describe_error
from megaflow.logs import make_text_handler
from megaflow.telemetry.log_keys import LogFilter

Format: TypeAlias = Literal["text", "json"]


def set_up_logging(form: Format, level: str) -> None:
    """Log to stderr from *level* on, as text or as JSON lines."""
    handler = make_text_handler(sys.stderr, _TEXT)
    if form == "json":
        handler.setFormatter(JsonFormatter())
        handler.addFilter(LogFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("botocore", "urllib3", "watchfiles"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


_TEXT: Final = "%(asctime)s %(levelname)-7s %(message)s"


_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has, or gets when it is formatted."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, and whatever else the record was given.

    Where there is an error, it stands in ``error``, and again with its ``traceback``. What a record has under one of
    these names, too, has ``extra.`` before it. What JSON cannot say is its ``repr``.
    """

    @override
    def format(self, record: logging.LogRecord) -> str:
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
