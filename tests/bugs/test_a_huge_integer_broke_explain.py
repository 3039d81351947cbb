"""Python writes no integer of more than 4,300 digits, and `explain` passed its refusal on."""

from __future__ import annotations

from megaflow.handlers.router import Router
from tests.matching import explained, handle


def test_a_huge_integer_is_named_by_its_type() -> None:
    router = Router()
    router.on_data({"a": 5, "b": "x"})(handle)

    (explanation,) = explained(router, {"a": 10**5000, "b": [10**5000]})

    assert [failure.found for failure in explanation.failures] == ["a value of type int", "a value of type list"]
