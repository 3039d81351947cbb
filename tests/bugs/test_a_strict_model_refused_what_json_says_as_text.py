"""A strict model with dates or ids refused what JSON can only say as text, and every message was dead-lettered."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from base64 import b64encode
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pydantic.dataclasses
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, Strict, TypeAdapter, with_config
from typing_extensions import TypedDict

from megaflow import App, InvalidPayloadError, Message, PayloadBuilder
from megaflow.awslambda.records import open_record
from megaflow.messages.attributes import Attribute
from megaflow.messages.bson import encode_document
from megaflow.messages.codec import encode
from megaflow.messages.message import open_message
from megaflow.testing import TestClient
from tests.messages.test_message import envelope

STRICT = ConfigDict(strict=True)


class Size(Enum):
    SMALL = "S"
    LARGE = "L"


class Part(BaseModel):
    model_config = STRICT

    made: date
    tags: frozenset[str] = frozenset()


class Order(BaseModel):
    model_config = STRICT

    id: UUID
    at: datetime
    total: Decimal
    size: Size
    pair: tuple[int, str]
    days: set[date]
    opens: time | None = None
    takes: timedelta | None = None
    parts: list[Part] = []
    by_day: dict[date, int] = {}


TEXTS: dict[str, Any] = {
    "id": "61fcc874-624e-40f8-8fd7-0e663c7837e8",
    "at": "2020-05-04T15:53:23.123456+02:00",
    "total": "19.90",
    "size": "L",
    "pair": [1, "a"],
    "days": ["2020-05-04"],
    "opens": "08:30:00",
    "takes": "PT90S",
    "parts": [{"made": "2020-05-04", "tags": ["new"]}],
    "by_day": {"2020-05-04": 3},
}
ORDER = Order.model_validate_json(json.dumps(TEXTS))
VALUES: dict[str, Any] = {
    "id": ORDER.id,
    "at": ORDER.at,
    "total": ORDER.total,
    "size": ORDER.size,
    "pair": ORDER.pair,
    "days": ORDER.days,
}


def app_and_orders() -> tuple[App, list[Order]]:
    """An app, and what its only handler has got."""
    app, got = App(), list[Order]()

    @app.on_data()
    def place(order: Order) -> None:
        got.append(order)

    return app, got


@pytest.mark.parametrize("given", [TEXTS, json.dumps(TEXTS)], ids=["dict", "text"])
def test_what_came_as_json_is_validated_by_the_rules_for_json(given: Any) -> None:
    app, got = app_and_orders()

    verdict = app.process(given)

    assert verdict.deletes
    assert got == [ORDER]


@pytest.mark.parametrize("depth", [1, 2])
def test_so_is_what_came_by_sns(depth: int) -> None:
    app, got = app_and_orders()
    body = json.dumps(TEXTS)
    for _ in range(depth):
        body = json.dumps(envelope(body))

    app.process(body)

    assert got == [ORDER]


def test_so_is_what_came_over_a_queue() -> None:
    app, got = app_and_orders()

    with TestClient(app) as client:
        client.publish(TEXTS)
        client.publish(VALUES)

    assert got == [ORDER, Order.model_validate(VALUES)]


def test_so_is_what_lambda_gets() -> None:
    app, got = app_and_orders()
    arn = "arn:aws:sqs:us-west-2:424566909325:orders"
    record = {"messageId": "m", "receiptHandle": "AQEB", "body": json.dumps(TEXTS), "eventSourceARN": arn}

    app.process(open_record(record, 30.0, lambda: 0.0))

    assert got == [ORDER]


def test_several_handlers_of_one_message_get_it_alike() -> None:
    app, got = app_and_orders()
    app.on_data()(lambda data: data.clear())
    app.on_data()(lambda data: data.clear())
    app.process(encode(TEXTS).body)

    assert got == [ORDER]


async def _place(order: Order) -> None:
    assert order == ORDER


def test_async_handlers_get_it_too() -> None:
    app = App()
    app.on_data()(_place)

    assert asyncio.run(app.aprocess(TEXTS)).deletes


@pytest.mark.parametrize("name", ["id", "at", "total", "size", "pair", "days"])
def test_a_dict_counts_as_the_json_it_would_become(name: str) -> None:
    """Values that a publisher would write as text, and texts, in any mixture."""
    app, got = app_and_orders()

    app.process(TEXTS | {name: VALUES[name]})
    app.process(VALUES | {name: TEXTS[name]})

    assert got == [ORDER, Order.model_validate(VALUES)]


class Photo(BaseModel):
    model_config = STRICT

    blob: bytes
    at: datetime


def test_what_json_cannot_say_keeps_the_rules_of_python() -> None:
    app, got = App(), []

    @app.on_data()
    def keep(photo: Photo) -> None:
        got.append(photo)

    app.process({"blob": b"\xff", "at": ORDER.at})
    (outcome,) = app.process({"blob": b"\xff", "at": TEXTS["at"]}).outcomes

    assert got == [Photo(blob=b"\xff", at=ORDER.at)]
    assert str(outcome.error) == "at: datetime_type, found str"


def test_text_of_half_a_character_keeps_them_too() -> None:
    class Note(BaseModel):
        model_config = STRICT

        number: int

    app, got = App(), []

    @app.on_data()
    def read(note: Note) -> None:
        got.append(note.number)

    app.process('{"number": 7, "other": "\\ud800"}')

    assert got == [7]


# BSON.


class Moment(BaseModel):
    model_config = STRICT

    at: datetime


def bson_of(document: dict[str, Any]) -> str:
    return b64encode(encode_document(document)).decode()


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_what_came_as_bson_is_validated_by_the_rules_of_python(depth: int) -> None:
    app, got = App(), []

    @app.on_data()
    def keep(moment: Moment) -> None:
        got.append(moment.at)

    def wrap(body: str) -> str:
        for _ in range(depth):
            body = json.dumps(envelope(body))
        return body

    app.process(wrap(bson_of({"at": datetime(2020, 5, 4, tzinfo=UTC)})))
    (outcome,) = app.process(wrap(bson_of({"at": "2020-05-04T00:00:00Z"}))).outcomes

    assert got == [datetime(2020, 5, 4, tzinfo=UTC)]
    assert str(outcome.error) == "at: datetime_type, found str"


def test_a_message_knows_how_it_travelled() -> None:
    in_json, in_bson = '{"id": 7}', bson_of({"id": 7})

    assert not open_message(in_json).binary_encoding
    assert open_message(in_bson).binary_encoding
    assert open_message(json.dumps(envelope(in_bson))).binary_encoding
    assert not open_message(bson_of(envelope(in_json))).binary_encoding
    assert open_message(in_bson).with_own_payload().binary_encoding
    assert not open_message(in_bson, sqs_attributes={"megaflow-kind": Attribute("String", "text")}).binary_encoding


# Events.


@pytest.mark.parametrize("encoded", [True, False])
def test_the_parts_of_an_event_are_validated_alike(encoded: bool) -> None:
    app, got = App(), []

    @app.on_event()
    def handle(attributes: Order, current: Part, extra: Moment) -> None:
        got.append((attributes, current, extra.at))

    builder = PayloadBuilder().with_event(name="x", **TEXTS).with_object(current=TEXTS["parts"][0])
    event = builder.with_extra(at=ORDER.at).build()
    app.process(encode(event).body if encoded else event)

    assert got == [(ORDER, ORDER.parts[0], ORDER.at)]


def test_those_of_an_event_in_bson_by_the_rules_of_python() -> None:
    app = App()

    @app.on_event()
    def handle(attributes: Moment) -> None: ...

    event = PayloadBuilder().with_event(name="x", at="2020-05-04T00:00:00Z").build()
    (outcome,) = app.process(encode(event, binary_encoding=True).body).outcomes

    assert str(outcome.error) == "event.attributes.at: datetime_type, found str"


# Whatever is strict.


@pydantic.dataclasses.dataclass(config=STRICT)
class StrictDataclass:
    at: datetime


@dataclasses.dataclass
class HoldsStrict:
    moment: Moment


@with_config(STRICT)
class StrictDict(TypedDict):
    at: datetime


class StrictField(BaseModel):
    at: Annotated[datetime, Strict()]


class StrictByField(BaseModel):
    at: datetime = Field(strict=True)


class Nested(BaseModel):
    moments: list[Moment | int]


class Deferred(BaseModel):
    model_config = ConfigDict(strict=True, defer_build=True)

    at: datetime


class Tree(BaseModel):
    model_config = STRICT

    at: datetime
    below: list[Tree] = []


AT = {"at": "2020-05-04T00:00:00Z"}


@pytest.mark.parametrize(
    ("annotation", "data"),
    [
        *((each, AT) for each in (StrictDataclass, StrictDict, StrictField, StrictByField, Deferred, Moment | None)),
        (Annotated[Moment, Field()], AT),
        (HoldsStrict, {"moment": AT}),
        (Nested, {"moments": [AT, 7]}),
        (dict[str, Moment], {"a": AT}),
        (Order | Moment, AT),
        (Tree, {**AT, "below": [AT, {**AT, "below": [AT]}]}),
    ],
    ids=str,
)
def test_it_does_not_matter_where_it_is_said_that_it_is_strict(annotation: Any, data: Any) -> None:
    app, got = App(), []

    def handle(data: Any) -> None:
        got.append(data)

    handle.__annotations__["data"] = annotation
    app.on_data()(handle)
    app.process(json.dumps(data))

    assert got == [TypeAdapter(annotation).validate_json(json.dumps(data))]


@pytest.mark.skipif("val_json_bytes" not in ConfigDict.__annotations__, reason="pydantic 2.9 brings the setting")
def test_bytes_are_read_from_json_as_the_model_says() -> None:
    class Thumbnail(BaseModel):
        model_config = ConfigDict(val_json_bytes="base64")

        blob: bytes

    app, got = App(), []

    @app.on_data()
    def keep(thumbnail: Thumbnail) -> None:
        got.append(thumbnail.blob)

    app.process('{"blob": "/w=="}')

    assert got == [b"\xff"]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"id": "7"}, "id: uuid_parsing, found str"),
        ({"pair": ["1", "a"]}, "pair.0: int_type, found str"),
        ({"parts": [{"made": 7}]}, "parts.0.made: date_type, found int"),
        ({"total": True}, "total: decimal_type, found bool"),
    ],
)
def test_what_is_wrong_is_said_as_before(wrong: dict[str, Any], problem: str) -> None:
    app, _ = app_and_orders()

    (outcome,) = app.process(TEXTS | wrong).outcomes

    assert isinstance(outcome.error, InvalidPayloadError)
    assert str(outcome.error) == problem


# What is not strict is as it was.


class Lax(BaseModel):
    id: UUID | str
    at: datetime | None = None
    number: int = 0


@given(
    st.fixed_dictionaries(
        {"id": st.uuids().map(str) | st.text() | st.integers()},
        optional={"at": st.datetimes().map(str) | st.integers(), "number": st.text("0123456789") | st.booleans()},
    )
)
def test_what_is_not_strict_is_validated_as_it_was(data: dict[str, Any]) -> None:
    app, got = App(), []

    @app.on_data()
    def handle(lax: Lax) -> None:
        got.append(lax)

    app.process(json.dumps(data))

    try:
        assert got == [Lax.model_validate(data)]
    except pydantic.ValidationError:
        assert got == []


LEAVES = st.one_of(
    *(st.uuids(), st.datetimes(), st.dates(), st.decimals(allow_nan=False, allow_infinity=False), st.integers()),
    *(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.booleans(),
        st.none(),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    *(st.lists(st.integers(), max_size=2), st.sampled_from(["S", "L", "x"])),
)


@given(st.fixed_dictionaries({}, optional={name: LEAVES | st.just(TEXTS[name]) for name in TEXTS}))
def test_a_strict_model_takes_exactly_what_pydantic_takes_from_the_json(changes: dict[str, Any]) -> None:
    app, got = app_and_orders()
    body = encode(TEXTS | changes).body

    app.process(body)
    app.process(TEXTS | changes)

    try:
        wanted = Order.model_validate_json(body)
    except pydantic.ValidationError:
        assert got == []
    else:
        assert got == [wanted, wanted]


def test_a_message_in_hand_is_given_to_the_handler_as_well() -> None:
    app, got = App(), []

    @app.on_data()
    def place(order: Order, message: Message) -> None:
        got.append((order, message.binary_encoding))

    app.process(TEXTS)

    assert got == [(ORDER, False)]
