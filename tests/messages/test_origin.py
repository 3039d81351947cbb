"""The origin of a message: what tells it from others, what is taken of what it says, what is put in its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow import Attribute, Message
from megaflow.messages.message import open_message
from megaflow.messages.origin import ORIGIN_ATTRIBUTE, digest_of, read_origin, replace_origin

OTHERS = {"a": Attribute("String", "x"), "b": Attribute("Binary", b"\0")}
TEXTS = st.text(st.sampled_from("ab\ud800é"), min_size=1, max_size=3)
ATTRIBUTES = st.dictionaries(TEXTS, st.builds(Attribute, TEXTS, TEXTS | st.binary(max_size=2)), max_size=3)


def message(body: str = "ping", attributes: Mapping[str, Attribute] | None = None, origin: str = "") -> Message:
    carried = dict(attributes or {}) | ({ORIGIN_ATTRIBUTE: Attribute("String", origin)} if origin else {})
    return replace(open_message(body, sqs_attributes=carried), id="m", queue_url="https://q")


@given(TEXTS, ATTRIBUTES, TEXTS, ATTRIBUTES)
def test_the_digest_tells_bodies_and_attributes_apart(
    body: str, attributes: Mapping[str, Attribute], other_body: str, other_attributes: Mapping[str, Attribute]
) -> None:
    is_same = (body, attributes) == (other_body, other_attributes)

    assert (digest_of(message(body, attributes)) == digest_of(message(other_body, other_attributes))) == is_same


def test_the_digest_is_the_same_with_an_origin_and_in_whatever_order_attributes_come() -> None:
    turned = dict(reversed(OTHERS.items()))

    assert digest_of(message("ping", OTHERS)) == digest_of(message("ping", turned, origin='{"digest": "?"}'))


@pytest.mark.parametrize(
    "one",
    [
        message("pong", OTHERS),
        message("ping", {**OTHERS, "a": Attribute("String", "y")}),
        message("ping", {**OTHERS, "a": Attribute("String.x", "x")}),
        message("ping", {"A": OTHERS["a"], "b": OTHERS["b"]}),
        message("ping", {"a": OTHERS["a"]}),
        message("ping", {**OTHERS, "b": Attribute("Binary", "\0")}),
        message("ping", {**OTHERS, "MEGAFLOW-ORIGIN": Attribute("String", "{}")}),
    ],
)
def test_whatever_else_differs_makes_another_digest(one: Message) -> None:
    assert digest_of(one) != digest_of(message("ping", OTHERS))


def test_an_origin_that_came_with_the_message_is_replaced_or_dropped() -> None:
    forged = message("ping", OTHERS, origin="forged")

    assert replace_origin(forged, "own") == {**OTHERS, ORIGIN_ATTRIBUTE: Attribute("String", "own")}
    assert replace_origin(forged, "") == OTHERS
    assert forged.sqs_attributes[ORIGIN_ATTRIBUTE].value == "forged"


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({"message_id": "m", "queue": "q", "failed": {}}, {"message_id": "m", "queue": "q"}),
        ({"digest": "d", "finished": []}, {"digest": "d"}),
        ({"message_id": 5, "queue": ["q"], "digest": None}, {}),
        ({"message_id": "m" * 2_048, "queue": "q" * 2_049}, {"message_id": "m" * 2_048}),
        ({"queue": "\ud800"}, {"queue": "\ud800"}),
    ],
)
def test_of_an_origin_only_what_can_be_an_id_or_an_address_is_read(said: object, read: dict[str, str]) -> None:
    assert read_origin(message(origin=json.dumps(said))) == read
