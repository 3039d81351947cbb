"""Right after `app.pause()`, and where the app did not run, `app.health()` said that it was not paused."""

from __future__ import annotations

from megaflow import App
from megaflow.testing import TestClient


def test_a_pause_is_known_before_the_app_runs() -> None:
    app = App(retry_on=())

    app.pause()
    assert app.health().paused

    app.resume()
    assert not app.health().paused


def test_a_pause_is_known_in_a_test() -> None:
    app = App(retry_on=())
    app.on_text()(print)

    with TestClient(app):
        app.pause()

        assert app.health().paused
