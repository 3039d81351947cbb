"""Messages that waited for their batch as long as they may be in hand were given back before it, again and again."""

from __future__ import annotations

import pytest

from megaflow import App, RegistrationError
from megaflow.testing import TestClient


def test_a_batch_that_would_never_be_called_is_refused() -> None:
    app = App(retry_on=(), max_processing_time=60)

    @app.on_text(batch_size=10, batch_seconds=60)
    def store(texts: list[str]) -> None: ...

    with pytest.raises(RegistrationError, match=r"batch_seconds=60, and .* max_processing_time=60 seconds at most"):
        TestClient(app).__enter__()


def test_the_longest_that_may_be_waited_is_waited() -> None:
    app, sizes = App(retry_on=(), max_processing_time=60), []

    @app.on_text(batch_size=10, batch_seconds=59)
    def store(texts: list[str]) -> None:
        sizes.append(len(texts))

    with TestClient(app) as client:
        client.publish_batch(["a", "b"])
        client.advance(59)

        assert sizes == [2]
        assert [message.receive_count for message in client.deleted] == [1, 1]
