"""The parameters of the function inside a decorator counted, though the decorator is what is called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from megaflow.errors import RegistrationError
from megaflow.handlers.router import Router
from megaflow.messages.message import Message, message_with
from tests.handlers.test_router import MESSAGE, call


def with_database(function: Callable[..., Any]) -> Callable[[Any], Any]:
    @functools.wraps(function)
    def connected(payload: Any) -> Any:
        return function(payload, db="database")

    return connected


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@with_database
def handler(payload: Any, db: str) -> Any:
    return payload, db


def test_a_decorator_can_fill_parameters() -> None:
    assert call(handler) == ({"id": 5}, "database")


@logged
def with_message(payload: Any, *, message: Message) -> Any:
    return payload, message


@logged
def with_unknown(payload: Any, db: Any) -> None: ...


def test_a_decorator_that_takes_whatever_comes_gets_what_the_function_inside_takes() -> None:
    assert call(with_message) == ({"id": 5}, MESSAGE)
    with pytest.raises(RegistrationError, match="nobody can fill the parameter 'db'"):
        Router().on_data()(with_unknown)


@functools.lru_cache
def remembered(payload: Any) -> Any:
    return payload


def test_a_decorator_written_in_c_gets_what_the_function_inside_takes() -> None:
    assert call(remembered, message_with("text")) == "text"
