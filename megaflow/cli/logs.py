"""Log lines for people, and as JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from typing_extensions import override

from megaflow.errors import describe_error
from megaflow.logs import LOG_KEYS, make_text_handler

Format: TypeAlias = Literal["text", "json"]


def set_up_logging(form: Format, level: str) -> None:
    """Log to stderr from *level* on, as text or as JSON lines."""
    handler = make_text_handler(sys.stderr, _TEXT)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("botocore", "urllib3", "watchfiles"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


_TEXT: Final = "%(asctime)s %(levelname)-7s %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, and which of `LOG_KEYS` the record has.

    Where there is an error, it stands in ``error``, and again with its ``traceback``.
    """

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: getattr(record, key) for key in LOG_KEYS if hasattr(record, key)}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe_error(record.exc_info[1])
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
