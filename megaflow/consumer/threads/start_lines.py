"""Start lines: what the log says of a queue and its handlers when a consumer starts."""

from __future__ import annotations

from megaflow.logs import get_logger
from megaflow.processing.processor import Processor
from megaflow.settings import ConsumerSettings

log = get_logger(__name__)


def log_start(queue_url: str, processor: Processor, settings: ConsumerSettings) -> None:
    """Say what is consumed, and what is unusual about the handlers."""
    handlers = processor.table.handlers
    log.info(
        "consuming %s with %d %s, up to %d at once; unmatched messages: %s",
        queue_url,
        len(handlers),
        "handler" if len(handlers) == 1 else "handlers",
        settings.concurrency,
        settings.unmatched,
        extra={"queue": queue_url},
    )
    processor.log_start()
    for handler in handlers:
        if handler.matches_everything:
            text, keys = "%s matches every message of kind %s (%s)", {"handler": handler.name}
            log.warning(text, handler.name, handler.kind.value, handler.where, extra=keys)
    for handler, reason in processor.table.unindexed:
        text, keys = "%s cannot be indexed, so every message asks it: %s (%s)", {"handler": handler.name}
        log.info(text, handler.name, reason, handler.where, extra=keys)
