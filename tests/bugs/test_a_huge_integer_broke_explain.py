"""Python writes no integer of more than 4,300 digits, and `explain` passed its refusal on."""

from __future__ import annotations

import re

from megaflow.handlers.router import Router
from tests.matching import explained, handle


def test_a_huge_integer_is_shown_without_its_digits() -> None:
    router = Router()
    router.on_data({"a": 5, "b": "x"})(handle)

    (explanation,) = explained(router, {"a": 10**5000, "b": [10**5000]})

    # Each Python has words of its own for it.
    assert [re.search("int|list", failure.found) is not None for failure in explanation.failures] == [True, True]
    assert all(len(failure.found) < 200 for failure in explanation.failures)
