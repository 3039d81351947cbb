"""``megaflow dev`` said "kept" of a message that went to the dead-letter queue, as ``max_receives`` has it."""

from __future__ import annotations

import re

import pytest

from megaflow import App, RetryLater
from megaflow.cli.dev import _show_verdict


@pytest.mark.parametrize(
    ("max_receives", "said"),
    [
        (1, "  dead-lettered  busy RETRY_LATER  kept at delivery 1, and max_receives is 1"),
        (2, "  kept  busy RETRY_LATER  again in 5 s"),
        (None, "  kept  busy RETRY_LATER  again in 5 s"),
    ],
)
def test_what_became_of_it_is_said(max_receives: int | None, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    app = App(retry_on=(), max_receives=max_receives)

    @app.on_text(handler_name="busy")
    def busy(text: str) -> None:
        raise RetryLater(after=5)

    _show_verdict(app, app.process("an order"))

    first, body = capsys.readouterr().out.splitlines()
    assert re.sub(r"  [0-9.]+ ms", "", first).endswith(said)
    assert body == "  an order"
