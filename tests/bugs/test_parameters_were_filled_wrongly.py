"""The payload and the message went to the wrong parameters, or to none, so that every call failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import pytest

from megaflow.errors import RegistrationError
from megaflow.handlers.router import Router
from megaflow.messages.message import Message
from tests.handlers.test_router import MESSAGE, call

if TYPE_CHECKING:
    from collections.abc import Mapping as Cart


def message_by_keyword_alone(*, message: Message) -> Any:
    return message


def message_and_the_rest(message: Message, *rest: Any) -> Any:
    return rest or message


@pytest.mark.parametrize("function", [message_by_keyword_alone, message_and_the_rest])
def test_the_message_alone_is_given_as_it_can_be_taken(function: Any) -> None:
    assert call(function) is MESSAGE


def payload_and_messages(payload: Any, *messages: Message) -> Any:
    return payload, messages


def payload_and_more(payload: Any, **more: Message) -> Any:
    return payload, tuple(more)


@pytest.mark.parametrize("function", [payload_and_messages, payload_and_more])
def test_what_takes_any_number_gets_none(function: Any) -> None:
    assert call(function) == ({"id": 5}, ())


def list_of_messages(payload: Any, batch: list[Message] | None = None, kinds: type[Message] = Message) -> Any:
    return payload, batch, kinds


def test_a_type_with_messages_in_it_is_not_a_message() -> None:
    assert call(list_of_messages) == ({"id": 5}, None, Message)


def union_with_an_unknown_name(cart: Any, message: Message | Cart[str, int] | None = None) -> Any:
    return message


def optional_with_an_unknown_name(cart: Any, message: Optional[Message] | Cart[str, int] = None) -> Any:  # noqa: UP045
    return message


@pytest.mark.parametrize("function", [union_with_an_unknown_name, optional_with_an_unknown_name])
def test_the_message_is_found_where_its_annotation_cannot_be_read(function: Any) -> None:
    assert call(function) is MESSAGE


def mapping_next_to_an_unknown_name(cart: Any, seen: dict[str, Message] | Cart[str, int] | None = None) -> Any:
    return cart, seen


def test_a_message_inside_another_type_is_none_there_either() -> None:
    assert call(mapping_next_to_an_unknown_name) == ({"id": 5}, None)


def test_an_annotation_that_raises_whatever_it_likes_is_read_as_text() -> None:
    def handler(payload: Any, message: Message, fraction: 1 / 0 = 5) -> Any:  # type: ignore[valid-type]
        return payload, message

    assert call(handler) == ({"id": 5}, MESSAGE)


def test_options_annotated_so_are_no_parameter_for_the_payload() -> None:
    def handler(**options: Message) -> None: ...

    with pytest.raises(RegistrationError, match="has no parameter for the payload"):
        Router().on_data()(handler)
