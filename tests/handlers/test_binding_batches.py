"""Batch handlers: what fills their parameters, and what is refused where it is registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from megaflow import App, ConfigurationError, Message, Payload, PayloadBuilder, RegistrationError

if TYPE_CHECKING:
    from nowhere import Missing  # type: ignore[import-not-found]


class View(BaseModel):
    n: int


class Bank: ...


def on_data(function: Callable[..., Any]) -> Any:
    app = App()
    app.provide(Bank, Bank)
    app.on_data(batch_size=10)(function)
    app.process({"n": 1})
    return app


@pytest.mark.parametrize("annotation", [list, list[Any], list[dict[str, Any]], Sequence[dict[str, int]]], ids=str)
def test_a_list_of_anything_gets_payloads(annotation: Any) -> None:
    got: list[Any] = []

    def store(views: Any) -> None:
        got.append(views)

    store.__annotations__["views"] = annotation
    on_data(store)

    assert got == [[{"n": 1}]]


def test_a_parameter_without_an_annotation_gets_payloads() -> None:
    got: list[Any] = []

    def store(views):  # type: ignore[no-untyped-def]
        got.append(views)

    on_data(store)

    assert got == [[{"n": 1}]]


def test_lists_of_models_and_of_messages_have_the_same_order() -> None:
    got: list[Any] = []

    def store(views: list[View], messages: list[Message], bank: Bank) -> None:
        got.append((views, [message.payload for message in messages], type(bank)))

    on_data(store)

    assert got == [([View(n=1)], [{"n": 1}], Bank)]


def test_positional_parameters_get_theirs() -> None:
    got: list[Any] = []

    def store(views: list[View], /, *, messages: list[Message]) -> None:
        got.append((views, len(messages)))

    on_data(store)

    assert got == [([View(n=1)], 1)]


def test_a_built_in_function_gets_payloads() -> None:
    got: list[Any] = []

    on_data(got.append)

    assert got == [[{"n": 1}]]


def test_events_give_payloads_and_their_sections() -> None:
    app, got = App(), []

    @app.on_event(name="viewed", batch_size=10)
    def store(payloads: list[Payload], attributes: list[View]) -> None:
        got.append((type(payloads[0]), attributes))

    app.process(PayloadBuilder().with_event(domain="d", name="viewed", version=1, attributes={"n": 1}).build())

    assert got == [(Payload, [View(n=1)])]


def test_texts_and_bytes_and_messages_come_as_they_are() -> None:
    app, got = App(), []
    app.on_text(batch_size=2)(lambda texts: got.append(texts))
    app.on_binary(batch_size=2)(lambda several: got.append(several))

    @app.on_message(batch_size=2)
    def see(messages: list[Message]) -> None:
        got.append([message.payload for message in messages])

    app.process("ping")
    app.process(b"\x00")

    assert got == [["ping"], ["ping"], [b"\x00"], [b"\x00"]]


def test_one_function_takes_messages_one_by_one_and_in_batches_only_as_it_says() -> None:
    def one(view: View) -> None: ...
    def message(message: Message) -> None: ...
    def unknown(views: list[Bank]) -> None: ...
    def nothing(bank: Bank) -> None: ...
    def missing(views: list[Missing]) -> None: ...
    def several(views: tuple[View, ...]) -> None: ...
    def optional(views: list[View] | None) -> None: ...
    def objects(views: dict[str, int]) -> None: ...

    refused: dict[Callable[..., Any], str] = {
        one: "gets a list: annotate it list[View]",
        message: "gets a list: annotate it list[Message]",
        unknown: "nobody can fill the parameter 'views'",
        nothing: "no parameter for its batch",
        missing: "'Missing' of the parameter 'views' cannot be resolved",
        several: "gets a list: annotate it list[View]",
        optional: "gets a list: annotate it list[View]",
        objects: "gets a list: annotate it list[dict]",
    }
    for function, why in refused.items():
        with pytest.raises(RegistrationError) as raised:
            on_data(function)
        assert why in str(raised.value)


def test_without_batch_size_a_list_is_refused_as_before() -> None:
    def store(views: list[View]) -> None: ...

    with pytest.raises(RegistrationError, match="annotate it with the model itself"):
        App().on_data()(store)


@pytest.mark.parametrize("size", [0, 10_001, 2.5, True, "many"], ids=repr)
def test_a_size_that_cannot_be_is_refused(size: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"batch_size=.* must be a whole number from 1 to 10,000"):
        App().on_data(batch_size=size)


@pytest.mark.parametrize("seconds", [-1, float("inf"), "soon", True], ids=repr)
def test_a_time_that_cannot_be_is_refused(seconds: Any) -> None:
    with pytest.raises(ConfigurationError, match="batch_seconds="):
        App().on_data(batch_size=2, batch_seconds=seconds)


def test_a_time_without_a_size_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="says how long a batch is waited for, and there is none"):
        App().on_data(batch_seconds=2.0)
