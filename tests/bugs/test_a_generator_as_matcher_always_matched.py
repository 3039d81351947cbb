"""What a generator function returns is always true, and neither it nor a class such as ``list[int]`` was refused.

Nor was a handler whose ``__call__`` is a generator, of which no line would run.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest

from megaflow.errors import PatternError, RegistrationError
from megaflow.handlers.router import Router
from megaflow.match.pattern import as_condition


def generate(left: Any) -> Any:
    yield left


class Generates:
    def __call__(self, left: Any) -> Any:
        yield left


@pytest.mark.parametrize("matcher", [generate, Generates(), functools.partial(generate)])
def test_a_generator_is_no_matcher(matcher: Any) -> None:
    with pytest.raises(PatternError, match="is a generator, and what it gives is always true; return a bool"):
        as_condition(matcher)


@pytest.mark.parametrize("matcher", [list[int], dict[str, int]])
def test_a_class_with_its_parameters_is_no_matcher(matcher: Any) -> None:
    with pytest.raises(PatternError, match="is no matcher"):
        as_condition(matcher)


def test_an_object_that_generates_is_no_handler() -> None:
    with pytest.raises(RegistrationError, match="is a generator"):
        Router().on_data()(Generates())
