"""Log lines for people, and as JSON for programs."""

from __future__ import annotations

import logging
import sys
from typing import Final, Literal, TypeAlias

from megaflow.logs import JsonFormatter, make_text_handler
from megaflow.telemetry.log_keys import LogFilter

Format: TypeAlias = Literal["text", "json"]
_TEXT: Final = "%(asctime)s %(levelname)-7s %(message)s"


def set_up_logging(form: Format, level: str) -> None:
    """Log to stderr from *level* on, as text or as JSON lines."""
    handler = make_text_handler(sys.stderr, _TEXT)
    if form == "json":
        handler.setFormatter(JsonFormatter())
        handler.addFilter(LogFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("botocore", "urllib3", "watchfiles"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
