"""The comment of a verbose regex was compiled without the flag, so `explain` raised."""

from __future__ import annotations

import re

from megaflow.handlers.router import Router
from megaflow.match.pattern import as_condition
from tests.matching import explained, handle

ORDER = re.compile("ord-[0-9]+  # (as the shop writes it", re.VERBOSE)


def test_a_verbose_regex_shows_with_its_flag() -> None:
    assert str(as_condition(ORDER)) == f"match({ORDER!r})"


def test_a_verbose_regex_is_explained() -> None:
    router = Router()
    router.on_data({"id": ORDER})(handle)

    explanation = explained(router, {"id": "x"})

    assert "id: wanted match(re.compile(" in str(explanation)
