"""MEGA events: the README's examples, the protocol's table of fields, and the way there and back."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given

from megaflow.errors import ProtocolError
from megaflow.event import (
    Event,
    ObjectData,
    Payload,
    PayloadBuilder,
    deserialize_payload,
    matches_payload,
    serialize_payload,
)
from tests.strategies import exactly, json_objects, payloads

NOON = datetime(2020, 5, 4, 12, 0, tzinfo=UTC)


def event_with(**changes: Any) -> dict[str, Any]:
    """A valid MEGA event as a plain object, with *changes* to its event section; None takes a field away."""
    fields = {"name": "item.added", "timestamp": "2020-05-04T15:53:23.123"} | changes
    return {"protocol": "mega", "version": 1, "event": {key: each for key, each in fields.items() if each is not None}}


def read(**changes: Any) -> Event:
    return deserialize_payload(event_with(**changes)).event


def problem_of(data: dict[str, Any]) -> str:
    with pytest.raises(ProtocolError) as caught:
        deserialize_payload(data)
    assert not matches_payload(data)
    return str(caught.value)


# The README's examples.


def test_the_simple_event_of_the_readme() -> None:
    user = {"id": 987650, "full_name": "John Doe", "birthdate": "1986-02-15"}

    payload = (
        PayloadBuilder(now=lambda: NOON)
        .with_event(name="user.created", subject="987650", email="johndoe_86@example.com")
        .with_object(current=user)
        .build()
    )

    assert serialize_payload(payload) == {
        "protocol": "mega",
        "version": 1,
        "event": {
            "name": "user.created",
            "version": 1,
            "timestamp": "2020-05-04T12:00:00+00:00",
            "subject": "987650",
            "attributes": {"email": "johndoe_86@example.com"},
        },
        "object": {"version": 1, "current": user},
    }


def test_the_rich_event_of_the_readme() -> None:
    builder = PayloadBuilder(now=lambda: NOON)

    builder.with_event(
        domain="shopping_cart",
        name="item.added",
        version=1,
        subject="987650",
        publisher="shopping-cart-service",
        item_id="61fcc874-624e-40f8-8fd7-0e663c7837e8",
        quantity=5,
        price="19.99",
    )
    builder.with_object(type="shopping_cart", id="18a3", version=2, current={"n": 10}, previous={"n": 5})
    builder.with_extra(channel="web/desktop", user_ip_address="177.182.205.103")

    assert builder.build() == Payload(
        event=Event(
            domain="shopping_cart",
            name="item.added",
            version=1,
            timestamp=NOON,
            subject="987650",
            publisher="shopping-cart-service",
            attributes={"item_id": "61fcc874-624e-40f8-8fd7-0e663c7837e8", "quantity": 5, "price": "19.99"},
        ),
        object=ObjectData(type="shopping_cart", id="18a3", version=2, current={"n": 10}, previous={"n": 5}),
        extra={"channel": "web/desktop", "user_ip_address": "177.182.205.103"},
    )


def test_the_event_that_the_readme_matches_is_read() -> None:
    data = {
        "protocol": "mega",
        "version": "1",
        "event": {
            "domain": "user",
            "name": "user:login:web",
            "version": 1,
            "timestamp": "2020-06-12T17:29:58.000",
            "subject": "987650",
            "publisher": "login-api",
            "attributes": {"email": "johndoe_86@example.com", "success": True, "attempts": 4},
        },
        "object": {"type": "user", "id": "987650", "version": 2, "current": {"id": 987650}},
        "extra": {"ip_address": "2804:14c:5ba9:b067:70cc:9baa:5287:19b3"},
    }

    payload = deserialize_payload(data)

    assert payload.event.attributes == {"email": "johndoe_86@example.com", "success": True, "attempts": 4}
    assert payload.event.timestamp == datetime(2020, 6, 12, 17, 29, 58, tzinfo=UTC)
    assert payload.object == ObjectData(type="user", id="987650", version=2, current={"id": 987650})
    assert payload.extra == {"ip_address": "2804:14c:5ba9:b067:70cc:9baa:5287:19b3"}


# There and back.


@given(payload=payloads(json_objects))
def test_what_is_serialized_comes_back_to_the_microsecond_and_the_offset(payload: Payload) -> None:
    back = deserialize_payload(serialize_payload(payload))

    assert back == payload
    assert exactly(dataclasses.asdict(back)) == exactly(dataclasses.asdict(payload))


@given(payload=payloads(json_objects))
def test_what_is_serialized_is_a_valid_event(payload: Payload) -> None:
    assert matches_payload(serialize_payload(payload))


@given(payload=payloads(json_objects))
def test_neither_none_nor_an_empty_object_is_sent(payload: Payload) -> None:
    data = serialize_payload(payload)

    for section in (data, data["event"], data.get("object", {})):
        assert all(value is not None and value != {} for value in section.values())


def test_a_payload_names_its_protocol() -> None:
    payload = PayloadBuilder().with_event(name="x").build()

    assert (payload.protocol, payload.version) == ("mega", 1)


# What is needed, and what is taken for granted.


def test_only_name_and_timestamp_are_needed() -> None:
    payload = deserialize_payload(event_with())

    assert payload == Payload(
        event=Event(
            name="item.added",
            timestamp=datetime(2020, 5, 4, 15, 53, 23, 123000, tzinfo=UTC),
            version=1,
            domain=None,
            subject=None,
            publisher=None,
            attributes={},
        ),
        object=None,
        extra={},
    )


@pytest.mark.parametrize("version", [1, "1"])
def test_protocol_1_is_written_as_a_number_or_as_text(version: object) -> None:
    assert matches_payload(event_with() | {"version": version})


@pytest.mark.parametrize("version", [0, 2, "2", "1.0", "01", True, None, [1]])
def test_no_other_version_is_known(version: object) -> None:
    assert problem_of(event_with() | {"version": version}).startswith("version: must be 1, not ")


def test_an_event_without_a_version_of_the_protocol_is_none() -> None:
    data = event_with()
    del data["version"]

    assert problem_of(data) == "version: must be 1, not None"


@pytest.mark.parametrize("protocol", ["MEGA", "", None, 1, ["mega"]])
def test_no_other_protocol_is_meant(protocol: object) -> None:
    assert problem_of(event_with() | {"protocol": protocol}).startswith("protocol: must be 'mega', not ")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"protocol": "mega", "version": 1}, "event: is missing"),
        ({"protocol": "mega", "version": 1, "event": None}, "event: is missing"),
        ({"protocol": "mega", "version": 1, "event": []}, "event: must be an object, not list"),
        (event_with(name=None), "event.name: is missing: every event has a name"),
        (event_with(name=7), "event.name: must be text, not int"),
        (event_with(domain=7), "event.domain: must be text, not int"),
        (event_with(subject=987650), "event.subject: must be text, not int"),
        (event_with(publisher=[]), "event.publisher: must be text, not list"),
        (event_with(version="1"), "event.version: must be a whole number, not str"),
        (event_with(version=True), "event.version: must be a whole number, not bool"),
        (event_with(attributes=[1]), "event.attributes: must be an object, not list"),
        (event_with(timestamp=None), "event.timestamp: is missing"),
        (event_with() | {"object": []}, "object: must be an object, not list"),
        (event_with() | {"object": {"type": 1}}, "object.type: must be text, not int"),
        (event_with() | {"object": {"id": 1}}, "object.id: must be text, not int"),
        (event_with() | {"object": {"version": 1.5}}, "object.version: must be a whole number, not float"),
        (event_with() | {"object": {"current": []}}, "object.current: must be an object, not list"),
        (event_with() | {"object": {"previous": "x"}}, "object.previous: must be an object, not str"),
        (event_with() | {"extra": []}, "extra: must be an object, not list"),
    ],
)
def test_the_field_that_breaks_the_protocol_is_named(data: dict[str, Any], problem: str) -> None:
    assert problem_of(data) == problem


def test_null_stands_for_nothing() -> None:
    data = event_with() | {"object": {"type": None, "version": None, "current": None}, "extra": None}
    data["event"] |= {"domain": None, "version": None, "attributes": None}

    assert deserialize_payload(data) == deserialize_payload(event_with() | {"object": {}})


def test_an_empty_object_section_is_one_all_the_same() -> None:
    payload = deserialize_payload(event_with() | {"object": {}})

    assert payload.object == ObjectData(type=None, id=None, version=1, current=None, previous=None)


def test_what_the_protocol_does_not_know_in_an_object_is_left_out() -> None:
    payload = deserialize_payload(event_with() | {"object": {"type": "cart", "color": "red"}})

    assert payload.object == ObjectData(type="cart")


# Attributes.


def test_any_other_key_of_an_event_becomes_an_attribute() -> None:
    event = read(item_id="61fc", quantity=5)

    assert event.attributes == {"item_id": "61fc", "quantity": 5}


def test_an_explicit_attribute_wins_over_a_loose_one() -> None:
    event = read(quantity=5, price="19.99", attributes={"quantity": 6})

    assert event.attributes == {"quantity": 6, "price": "19.99"}


def test_a_loose_null_is_an_attribute_too() -> None:
    data = event_with()
    data["event"]["coupon"] = None

    assert deserialize_payload(data).event.attributes == {"coupon": None}


def test_an_attribute_reads_like_a_field() -> None:
    event = read(item_id="61fc")

    assert event.item_id == "61fc"


def test_a_field_hides_an_attribute_of_its_name() -> None:
    event = read(attributes={"name": "inner"})

    assert event.name == "item.added"
    assert event.attributes["name"] == "inner"


def test_what_is_neither_field_nor_attribute_is_an_attribute_error_that_shows_what_there_is() -> None:
    event = read(item_id="61fc")

    with pytest.raises(AttributeError, match=r"no field and no attribute 'item'; its attributes: \['item_id'\]"):
        event.item


def test_attributes_cannot_pose_as_pythons_own_methods() -> None:
    event = read(attributes={"__deepcopy__": "trap", "__reduce__": "trap", "__setstate__": "trap"})

    assert copy.deepcopy(event) == event
    assert pickle.loads(pickle.dumps(event)) == event
    assert not hasattr(event, "__deepcopy__")


# Timestamps.


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2020-05-04T15:53:23", datetime(2020, 5, 4, 15, 53, 23, tzinfo=UTC)),
        ("2020-05-04T15:53:23Z", datetime(2020, 5, 4, 15, 53, 23, tzinfo=UTC)),
        ("2020-05-04 15:53:23.123456", datetime(2020, 5, 4, 15, 53, 23, 123456, tzinfo=UTC)),
        ("2020-05-04T15:53:23.123456789Z", datetime(2020, 5, 4, 15, 53, 23, 123456, tzinfo=UTC)),
        ("2020-05-04T12:53:23-03:00", datetime(2020, 5, 4, 15, 53, 23, tzinfo=UTC)),
        ("20200504T155323+0000", datetime(2020, 5, 4, 15, 53, 23, tzinfo=UTC)),
        ("2020-05-04", datetime(2020, 5, 4, tzinfo=UTC)),
    ],
)
def test_timestamps_are_iso_8601_and_without_an_offset_utc(written: str, meant: datetime) -> None:
    assert read(timestamp=written).timestamp == meant


def test_a_timestamp_keeps_its_offset() -> None:
    event = read(timestamp="2020-05-04T12:53:23-03:00")

    assert event.timestamp.isoformat() == "2020-05-04T12:53:23-03:00"


@pytest.mark.parametrize(
    "written", ["yesterday", "", "2020-13-01", "15:53", 1588607603, [], "\ud800", "2020-05-04T25:00"]
)
def test_an_unreadable_timestamp_breaks_the_protocol(written: object) -> None:
    assert problem_of(event_with(timestamp=written)).startswith("event.timestamp: must be an ISO 8601 time, not ")


def test_a_huge_timestamp_is_not_quoted_whole() -> None:
    assert len(problem_of(event_with(timestamp="x" * 100_000))) < 200


def test_bson_may_bring_a_timestamp_of_its_own_type() -> None:
    assert read(timestamp=NOON).timestamp == NOON


def test_a_named_zone_becomes_its_offset() -> None:
    lisbon = timezone(timedelta(hours=1), "WEST")

    event = Event("x", timestamp=datetime(2020, 5, 4, 12, tzinfo=lisbon))

    assert str(event.timestamp.tzinfo) == "UTC+01:00"


def test_an_event_that_is_built_happened_now() -> None:
    before = datetime.now(UTC)

    events = [Event("x"), PayloadBuilder().with_event(name="x").build().event]

    assert all(before <= event.timestamp <= datetime.now(UTC) for event in events)


def test_a_timestamp_of_the_wrong_type_is_refused_where_it_is_given() -> None:
    with pytest.raises(ProtocolError, match=r"event\.timestamp: must be a datetime, not str"):
        Event("x", timestamp="2020-05-04")  # type: ignore[arg-type]


# The builder.


def test_calls_add_up_and_the_later_word_wins() -> None:
    builder = PayloadBuilder(now=lambda: NOON)

    builder.with_event(name="first", subject="1").with_event(name="second", coupon="x")
    builder.with_object(type="cart").with_object(id="7")
    builder.with_extra(a=1, b=1).with_extra(b=2)

    assert builder.build() == Payload(
        event=Event("second", timestamp=NOON, subject="1", attributes={"coupon": "x"}),
        object=ObjectData(type="cart", id="7"),
        extra={"a": 1, "b": 2},
    )


def test_a_builder_can_be_used_again_and_shares_nothing_with_what_it_built() -> None:
    items = [1]
    builder = PayloadBuilder(now=lambda: NOON).with_event(name="x", items=items).with_object(current={"items": items})
    builder.with_extra(items=items)

    first = builder.build()
    items.append(2)
    second = builder.with_event(name="y").build()

    assert first.event.name == "x"
    assert first.object is not None
    assert first.event.items == first.object.current["items"] == first.extra["items"] == [1]  # type: ignore[index]
    assert second.event.name == "y"
    assert second.event.items == [1, 2]


def test_none_leaves_a_field_at_its_default() -> None:
    builder = PayloadBuilder(now=lambda: NOON)

    payload = builder.with_event(name="x", timestamp=None, version=None, domain=None, coupon=None).build()

    assert payload.event == Event("x", timestamp=NOON, attributes={"coupon": None})


def test_without_an_object_the_object_is_none() -> None:
    payload = PayloadBuilder().with_event(name="x").build()

    assert payload.object is None


def test_an_event_without_a_name_cannot_be_built() -> None:
    with pytest.raises(ProtocolError, match=r"event\.name: is missing"):
        PayloadBuilder().with_event(subject="1").build()


def test_an_object_has_no_fields_but_its_own() -> None:
    with pytest.raises(TypeError, match=r"with_object\(\) got \['colour'\]; an object has \['current', 'id'"):
        PayloadBuilder().with_object(colour="red")


def test_wrong_fields_are_refused_when_the_event_is_built() -> None:
    with pytest.raises(ProtocolError, match=r"event\.version: must be a whole number, not str"):
        PayloadBuilder().with_event(name="x", version="one").build()


# The models.


@pytest.mark.parametrize(
    ("model", "name"),
    [(Event("x"), "name"), (ObjectData(), "type"), (Payload(Event("x")), "event"), (Payload(Event("x")), "extra")],
)
def test_the_models_are_immutable(model: object, name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(model, name, None)


def test_the_models_are_comparable() -> None:
    def payload(**changes: Any) -> Payload:
        return Payload(Event("x", timestamp=NOON, attributes=changes))

    assert payload(quantity=5) == payload(quantity=5)
    assert payload(quantity=5) != payload(quantity=6)


def test_the_models_are_printable() -> None:
    payload = Payload(Event("item.added", timestamp=NOON), ObjectData(type="cart"), {"channel": "web"})

    assert all(shown in repr(payload) for shown in ("item.added", "cart", "channel"))


@given(payload=payloads(json_objects))
def test_the_models_can_be_copied_and_pickled(payload: Payload) -> None:
    assert copy.deepcopy(payload) == payload
    assert pickle.loads(pickle.dumps(payload)) == payload


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Event(name=None), r"event\.name: is missing"),  # type: ignore[arg-type]
        (lambda: Event("x", attributes=[]), r"event\.attributes: must be an object"),  # type: ignore[arg-type]
        (lambda: ObjectData(current=[1]), r"object\.current: must be an object"),  # type: ignore[arg-type]
        (lambda: Payload(Event("x"), extra=None), "extra: must be an object"),  # type: ignore[arg-type]
    ],
)
def test_a_model_refuses_fields_of_the_wrong_type(make: Any, problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        make()
