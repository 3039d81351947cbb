"""Models and dataclasses: what is published is what a handler that takes the model gets."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import pydantic.dataclasses
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    RootModel,
    computed_field,
    field_serializer,
    field_validator,
)
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from megaflow import App, EncodeError, Outgoing, Payload, PayloadBuilder, SqsPublisher, UsageError
from megaflow.event import Event
from megaflow.local import Account, SqsClient
from megaflow.messages.codec import decode, encode
from megaflow.testing import TestClient

T = TypeVar("T")


class Size(Enum):
    SMALL = "S"
    LARGE = "L"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    part_number: str
    made_on: date | None = None


@dataclass
class Line:
    sku: str
    quantity: Annotated[int, Field(alias="qty")] = 1
    takes: timedelta | None = None
    tags: set[str] = field(default_factory=set)


class OrderPlaced(BaseModel):
    id: UUID = Field(alias="orderId")
    at: datetime
    total: Decimal
    size: Size = Size.SMALL
    level: Level = Level.LOW
    opens: time | None = None
    takes: timedelta | None = None
    address: IPv4Address | None = None
    pair: tuple[int, str] = (0, "")
    days: frozenset[date] = frozenset()
    parts: list[Part] = []
    lines: dict[str, Line] = {}
    weight: float = 0.0
    note: Literal["gift"] | str | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def year(self) -> int:
        return self.at.year


class StrictOrder(OrderPlaced):
    model_config = ConfigDict(strict=True, extra="forbid")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
PARTS = st.builds(Part, part_number=TEXTS, made_on=st.none() | st.dates())
LINES = st.builds(
    Line,
    sku=TEXTS,
    quantity=st.integers(),
    takes=st.none() | st.timedeltas(timedelta(0), timedelta(days=1_000)),
    tags=st.sets(TEXTS, max_size=2),
)
FIELDS = {
    "orderId": st.uuids(),
    "at": st.datetimes(timezones=st.just(UTC)),
    "total": st.decimals(allow_nan=False, allow_infinity=False),
    "size": st.sampled_from(Size),
    "level": st.sampled_from(Level),
    "opens": st.none() | st.times(),
    "takes": st.none() | st.timedeltas(timedelta(0), timedelta(days=1_000)),
    "address": st.none() | st.ip_addresses(v=4),
    "pair": st.tuples(st.integers(-(2**60), 2**60), TEXTS),
    "days": st.frozensets(st.dates(), max_size=2),
    "parts": st.lists(PARTS, max_size=2),
    "lines": st.dictionaries(TEXTS, LINES, max_size=2),
    "weight": st.floats(allow_nan=False, allow_infinity=False),
    "note": st.none() | TEXTS,
}


def handled(payload: Any, annotation: Any, **options: Any) -> Any:
    """Publish *payload* to a queue, and return what a handler that takes *annotation* gets from there."""
    app, got = App(on_invalid="keep"), list[Any]()

    def handle(data: Any) -> None:
        got.append(data)

    handle.__annotations__["data"] = annotation
    app.on_data()(handle)
    with TestClient(app) as client:
        client.publish(payload, **options)
        assert client.handled[0].error is None
    return got[0]


@pytest.mark.parametrize("model", [OrderPlaced, StrictOrder])
@given(data=st.data())
def test_a_model_comes_back_as_it_was_published(model: type[OrderPlaced], data: st.DataObject) -> None:
    order = data.draw(st.builds(model, **FIELDS))

    app, got = App(), list[Any]()

    def handle(order: Any) -> None:
        got.append(order)

    handle.__annotations__["order"] = model
    app.on_data()(handle)
    app.process(encode(order).body)
    app.process(order)

    assert got == [order, order]


@given(line=LINES)
def test_a_dataclass_does_too(line: Line) -> None:
    app, got = App(), list[Line]()

    @app.on_data()
    def handle(line: Line) -> None:
        got.append(line)

    app.process(encode(line).body)

    assert got == [line]


ORDER = OrderPlaced(
    orderId=UUID(int=7),
    at=datetime(2020, 5, 4, tzinfo=UTC),
    total=Decimal("19.90"),
    parts=[Part(part_number="a")],
    lines={"a": Line("x", 2, timedelta(seconds=90), {"new"})},
)


def test_aliases_are_what_is_written() -> None:
    document = decode(encode(ORDER).body).payload

    assert document["orderId"] == str(UUID(int=7))
    assert document["parts"] == [{"partNumber": "a", "madeOn": None}]
    assert document["lines"] == {"a": {"sku": "x", "qty": 2, "takes": "PT1M30S", "tags": ["new"]}}


def test_what_is_computed_stays_at_home() -> None:
    assert "year" not in decode(encode(ORDER).body).payload


@pydantic.dataclasses.dataclass
class Shipped:
    id: UUID
    by: PurePosixPath


@dataclass(frozen=True, slots=True)
class Box(Generic[T]):
    it: T


class Converted(BaseModel):
    tags: list[str]
    raw: Json[list[int]] = []

    @field_serializer("tags")
    def join(self, tags: list[str]) -> str:
        return ",".join(tags)

    @field_validator("tags", mode="before")
    @classmethod
    def split(cls, tags: Any) -> Any:
        return tags.split(",") if isinstance(tags, str) else tags


class Known(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: int = Field(validation_alias=AliasChoices("id", "ID"))


class Deferred(BaseModel):
    model_config = ConfigDict(defer_build=True)

    at: datetime


class Cart(TypedDict):
    user: int


@pytest.mark.parametrize(
    ("model", "annotation"),
    [
        (ORDER, OrderPlaced),
        (Shipped(UUID(int=7), PurePosixPath("/a")), Shipped),
        (Box(7), Box[int]),
        (Converted.model_validate({"tags": ["a", "b"], "raw": "[1]"}), Converted),
        (Known.model_validate({"id": 7, "more": "x"}), Known),
        (Deferred(at=datetime(2020, 5, 4, tzinfo=UTC)), Deferred),
        (RootModel[dict[str, int]]({"a": 1}), RootModel[dict[str, int]]),
        (Cart(user=7), Cart),
    ],
    ids=lambda each: type(each).__name__,
)
def test_every_model_that_a_handler_takes_comes_back(model: Any, annotation: Any) -> None:
    assert handled(model, annotation) == model


@pytest.mark.parametrize("model", [Line("x", 2), Known(id=7), Deferred(at=datetime(2020, 5, 4, tzinfo=UTC))])
def test_so_it_does_as_bson(model: Any) -> None:
    assert handled(model, type(model), binary_encoding=True) == model


def test_bytes_travel_as_they_are_in_bson() -> None:
    class Photo(BaseModel):
        blob: bytes

    assert handled(Photo(blob=b"\xff"), Photo, binary_encoding=True) == Photo(blob=b"\xff")


def test_models_stand_in_dicts_lists_and_events_too() -> None:
    part, line = Part(part_number="a"), Line("x")
    written = [{"partNumber": "a", "madeOn": None}, {"sku": "x", "qty": 1, "takes": None, "tags": []}]

    assert decode(encode({"it": [part, line]}).body).payload == {"it": written}
    event = PayloadBuilder().with_event(name="x", part=part).with_extra(line=line).build()
    received = decode(encode(event).body).payload
    assert isinstance(received, Payload)
    assert [received.event.part, received.extra["line"]] == written


def test_they_can_be_published_in_batches_and_streams() -> None:
    app, got = App(), list[Line]()

    @app.on_data()
    def handle(line: Line) -> None:
        got.append(line)

    with TestClient(app) as client:
        client.publish_batch([Line("a"), Outgoing(Line("b"), delay_seconds=0)])
        list(client.publish_stream([Line("c")]))

    assert [each.sku for each in got] == ["a", "b", "c"]


@pytest.mark.parametrize("single", [ORDER, Line("x")])
def test_one_alone_is_no_batch(single: Any) -> None:
    sqs = SqsClient(Account())
    publisher = SqsPublisher(queue_url=sqs.create_queue(QueueName="q")["QueueUrl"], client=sqs)

    with pytest.raises(UsageError, match=f"not one {type(single).__name__}: publish"):
        publisher.publish_batch(single)


def test_handlers_are_found_and_explained_for_one() -> None:
    app = App()

    @app.on_data({"orderId": str(UUID(int=7))})
    def handle(order: OrderPlaced) -> None: ...

    assert [each.function for each in app.handlers_for(ORDER)] == [handle]
    assert next(iter(app.explain(ORDER))).matched


class Opaque:
    pass


@dataclass
class Holder:
    it: Any


class Bytes(BaseModel):
    blob: bytes


class Loud(BaseModel):
    id: int

    @field_serializer("id")
    def write(self, id: int) -> str:
        raise KeyError("nothing")


@pytest.mark.parametrize(
    ("model", "options", "problem"),
    [
        (Bytes(blob=b"\xff"), {}, "payload: Bytes cannot be sent: UnicodeDecodeError"),
        (Loud(id=7), {}, "payload: Loud cannot be sent: "),
        (RootModel[list[int]]([1]), {}, "is written as list, and no object"),
        (Holder(Opaque()), {}, "payload"),
        (Holder(Opaque()), {"binary_encoding": True}, "payload.it: Opaque cannot be sent"),
        (Line("x", takes=timedelta(1)), {"binary_encoding": True}, "payload.takes: timedelta cannot be sent"),
        ({"a": [Bytes(blob=b"\xff")]}, {}, r"payload.a\[0\]: Bytes cannot be sent"),
    ],
)
def test_what_cannot_be_sent_is_named(model: Any, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(EncodeError, match=problem):
        encode(model, **options)


@pytest.mark.parametrize("payload", [Outgoing("x"), Line, OrderPlaced, Event("x")])
def test_neither_classes_nor_our_own_types_are_models(payload: object) -> None:
    with pytest.raises(EncodeError, match="a message is a Payload, a dict, a model, a str or bytes, not"):
        encode(payload)


def test_without_pydantic_a_dataclass_is_sent_by_the_codecs_own_rules() -> None:
    program = """
import sys
sys.modules["pydantic"] = None
from dataclasses import dataclass
from datetime import date
from megaflow.messages.codec import encode

@dataclass
class Line:
    sku: str

@dataclass
class Order:
    lines: list
    day: date

print(encode(Order([Line("a")], date(2020, 5, 4))).body)
"""

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert said.stdout == '{"lines": [{"sku": "a"}], "day": "2020-05-04"}\n'
