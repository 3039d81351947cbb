"""A mock has every attribute, so the search for the function inside a partial never ended."""

from __future__ import annotations

from unittest.mock import AsyncMock, Mock

import pytest

from megaflow import App
from megaflow.errors import PatternError
from megaflow.match.pattern import as_condition


def test_a_mock_can_be_a_handler() -> None:
    app, handler = App(), Mock(return_value=None)
    app.on_data()(handler)

    verdict = app.process({"id": 5})

    assert verdict.deletes
    handler.assert_called_once_with({"id": 5})


def test_an_async_mock_can_be_a_handler() -> None:
    app, handler = App(), AsyncMock(return_value=None)
    app.on_data()(handler)

    verdict = app.process({"id": 5})

    assert verdict.deletes
    handler.assert_awaited_once_with({"id": 5})


def test_a_mock_can_be_a_matcher() -> None:
    app, matcher = App(), Mock(return_value=True)
    app.on_data({"id": matcher})(Mock())

    assert app.handlers_for({"id": 5})
    matcher.assert_called_once_with(5)


def test_an_async_mock_cannot() -> None:
    with pytest.raises(PatternError, match="is async"):
        as_condition(AsyncMock())
