"""Spans of processing: why a handler has failed is the error of its span, and of its message's."""

from __future__ import annotations

from typing import Any

import pytest

from megaflow import App, ProcessStatus, RetryLater
from tests.telemetry.spans import attributes_of, recording


@pytest.mark.parametrize(
    ("ended", "problem"),
    [
        (KeyError("no such order"), "KeyError"),
        (ProcessStatus.RETRIABLE_ERROR, "RETRIABLE_ERROR"),
        (ProcessStatus.FATAL_ERROR, "FATAL_ERROR"),
        (ProcessStatus.DONE, None),
        (RetryLater(), None),
    ],
    ids=str,
)
def test_what_a_handler_fails_with_is_the_error_of_both_spans(ended: Any, problem: str | None) -> None:
    app = App()

    @app.on_text()
    def handle(text: str) -> Any:
        if isinstance(ended, Exception):
            raise ended
        return ended

    with recording() as spans:
        app.process("ping")

    for span in (spans.one("handle"), spans.one("process")):
        assert attributes_of(span).get("error.type") == problem
