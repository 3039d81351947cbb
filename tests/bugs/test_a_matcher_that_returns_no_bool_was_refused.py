"""A function whose annotation promised anything but a bool was taken for a handler without parentheses."""

from __future__ import annotations

import re
from typing import Any

import pytest

from megaflow.handlers.router import Router
from tests.matching import handle, select


def find_order(text: str) -> re.Match[str] | None:
    return re.search("ord-[0-9]+", text)


def count(text: str) -> int:
    return len(text)


def name(text: str) -> str:
    return text


@pytest.mark.parametrize("matcher", [find_order, count, name])
def test_a_matcher_may_return_anything(matcher: Any) -> None:
    router = Router()
    router.on_text(matcher)(handle)

    assert select(router, "ord-5").matched
    assert not select(router, "").matched
