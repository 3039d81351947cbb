"""Log lines for people, and as JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from typing_extensions import override

from megaflow.processing.verdict import Outcome, Verdict

Format: TypeAlias = Literal["text", "json"]

_ABOUT_A_MESSAGE: Final = "message %s"


def set_up_logging(form: Format, level: str) -> None:
    """Log to stderr from *level* on, as text or as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("botocore", "urllib3", "watchfiles"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


_TEXT: Final = "%(asctime)s %(levelname)-7s %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, and of what speaks about a message its id.

    What became of a message has ``verdict``, ``duration`` in seconds, and ``handlers`` with status and duration of
    each; what a handler failed with has ``handler``, ``status``, ``duration`` and ``error``.
    """

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if isinstance(record.msg, str) and record.msg.startswith(_ABOUT_A_MESSAGE) and isinstance(record.args, tuple):
            line["message_id"] = str(record.args[0])
        line |= _describe(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _describe(record: logging.LogRecord) -> dict[str, Any]:
    verdict, outcome = getattr(record, "verdict", None), getattr(record, "outcome", None)
    if isinstance(verdict, Verdict):
        return describe_verdict(verdict)
    if isinstance(outcome, Outcome):
        error = f"{type(outcome.error).__name__}: {outcome.error}" if outcome.error is not None else None
        return {"handler": outcome.handler.name, **_describe_outcome(outcome), "error": error}
    return {}


def describe_verdict(verdict: Verdict) -> dict[str, Any]:
    """Return what became of a message."""
    handlers = {outcome.handler.name: _describe_outcome(outcome) for outcome in verdict.outcomes}
    return {"verdict": verdict.fate.value, "duration": round(verdict.seconds, 6), "handlers": handlers}


def _describe_outcome(outcome: Outcome) -> dict[str, Any]:
    return {"status": outcome.status.name, "duration": round(outcome.seconds, 6)}
