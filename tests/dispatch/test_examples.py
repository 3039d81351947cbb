"""Examples: bodies that a handler matches, made from its pattern."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from megaflow import App
from megaflow.dispatch.examples import make_examples
from megaflow.match.functions import absent, any_, contains, empty, gt, gte, lt, match, not_, one_of, prefix, suffix
from megaflow.messages.message import open_message


def examples_of(app: App) -> list[str]:
    (handler,) = app.handlers
    return list(make_examples(handler))


def on_data(pattern: Any) -> App:
    app = App()
    app.on_data(pattern)(lambda data: None)
    return app


@pytest.mark.parametrize(
    "pattern",
    [
        {},
        {"type": "order"},
        {"type": one_of("order", "invoice"), "total": gt(100) & lt(200)},
        {"total": gt(1.5), "old": absent()},
        {"user": {"id": gt(0), "name": prefix("x")}, "mail": suffix("@example.com")},
        {"tags": contains("a"), "more": not_(empty()), "any": any_()},
        {"kind": not_("a")},
        {"kind": None},
        {"at": gte(date(2020, 1, 1))},
    ],
)
def test_an_example_is_matched(pattern: Any) -> None:
    app = on_data(pattern)

    found = examples_of(app)

    assert found
    for body in found:
        assert app.handlers_for(open_message(body)) == app.handlers


def test_of_several_values_each_has_an_example() -> None:
    assert [json.loads(body)["type"] for body in examples_of(on_data({"type": one_of("a", "b", "c")}))] == [*"abc"]


def test_an_event_is_a_whole_one() -> None:
    app = App()
    quantity = {"item_id": not_(empty()), "quantity": gt(0)}
    app.on_event(domain="cart", name="item.added", version=one_of(1, 2), attributes=quantity, object_type="cart")(
        lambda payload: None
    )

    found = examples_of(app)

    assert {json.loads(body)["event"]["version"] for body in found} == {1, 2}
    assert json.loads(found[0])["object"] == {"type": "cart"}


@pytest.mark.parametrize(
    "pattern",
    [
        {"id": lambda value: True},
        {"type": match("[a-z]{7}x")},
        {"n": gt(5) & lt(3)},
        one_of({"a": 1}, {"b": 2}),
    ],
)
def test_where_none_is_found_there_is_none(pattern: Any) -> None:
    assert examples_of(on_data(pattern)) == []


def test_functions_are_not_called() -> None:
    called: list[Any] = []

    def is_known(value: Any) -> bool:
        called.append(value)
        return True

    assert examples_of(on_data({"type": "order", "id": is_known})) == []
    assert called == []


def test_other_kinds_have_none() -> None:
    app = App()
    app.on_text("hello")(lambda text: None)

    assert examples_of(app) == []
