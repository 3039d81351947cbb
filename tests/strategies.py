"""Values for hypothesis: what JSON and BSON can hold, MEGA events, and bodies nobody would write."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from megaflow.event import Event, ObjectData, Payload
from megaflow.messages import bson

_DAY = timedelta(days=1) - timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)

texts = st.text(max_size=20)
whole_numbers = st.integers()
whole_numbers_of_64_bits = st.integers(-(2**63), 2**63 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)

# Names that mean something to somebody: to MongoDB, to MEGA, to SNS.
_telling_keys = st.sampled_from(["", "_id", "$ref", "$id", "$db", "a.b", "0", "version", "event", "Type", "Message"])
keys = st.one_of(_telling_keys, st.text(max_size=8))


def _is_free_in_bson(value: str) -> bool:
    return value != bson.RESERVED_KEY


texts_of_bson = texts.filter(_is_free_in_bson)
keys_of_bson = st.one_of(
    _telling_keys, st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8).filter(_is_free_in_bson)
)


def _objects(scalars: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=6,
    )
    return st.dictionaries(names, values, max_size=3)


json_objects = _objects(st.none() | st.booleans() | whole_numbers | numbers | texts, keys)
"""What comes back from JSON as it went in."""

bson_objects = _objects(
    st.none() | st.booleans() | whole_numbers_of_64_bits | numbers | texts_of_bson | st.binary(max_size=20),
    keys_of_bson,
)
"""What comes back from BSON as it went in."""

plain_objects = _objects(st.none() | st.booleans() | whole_numbers_of_64_bits | numbers | texts_of_bson, keys_of_bson)
"""What comes back from either."""

# Python's own `fromisoformat` reads an offset of less than a second as none; no place on earth has one.
offsets = st.builds(timezone, st.timedeltas(-_DAY, _DAY).filter(lambda each: not each or abs(each) >= _SECOND))
timestamps = st.datetimes(timezones=st.none() | offsets)


def payloads(objects: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Payload]:
    """MEGA events with *objects* wherever the protocol leaves the form free."""
    optional_text = st.none() | texts
    return st.builds(
        Payload,
        event=st.builds(
            Event,
            name=texts,
            timestamp=timestamps,
            version=whole_numbers_of_64_bits,
            domain=optional_text,
            subject=optional_text,
            publisher=optional_text,
            attributes=objects,
        ),
        object=st.none()
        | st.builds(
            ObjectData,
            type=optional_text,
            id=optional_text,
            version=whole_numbers_of_64_bits,
            current=st.none() | objects,
            previous=st.none() | objects,
        ),
        extra=objects,
    )


@st.composite
def damaged_documents(draw: st.DrawFn) -> bytes:
    """BSON with a few bytes changed, lengths above all."""
    data = bytearray(bson.encode_document(draw(bson_objects)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data) - 1))
        damage = draw(st.binary(min_size=1, max_size=4) | st.sampled_from([b"\xff\xff\xff\xff", b"\xf0\xff\xff\xff"]))
        data[place : place + len(damage)] = damage
    return bytes(data)


@st.composite
def _almost_envelopes(draw: st.DrawFn) -> str:
    anything = texts | whole_numbers | st.none() | json_objects
    envelope = {
        "Type": draw(st.sampled_from(["Notification", "SubscriptionConfirmation", "Other"])),
        "MessageId": draw(texts),
        "TopicArn": draw(texts),
        "Timestamp": draw(texts),
        "Message": draw(texts),
        "Subject": draw(anything),
        "SubscribeURL": draw(anything),
        "MessageAttributes": draw(
            anything
            | st.dictionaries(
                texts,
                anything
                | st.fixed_dictionaries(
                    {"Type": st.sampled_from(["String", "Number", "Binary"]) | anything, "Value": anything}
                ),
                max_size=3,
            )
        ),
    }
    return json.dumps(envelope)


@st.composite
def _almost_events(draw: st.DrawFn) -> str:
    anything = texts | whole_numbers | numbers | st.none() | json_objects
    event = {name: draw(anything) for name in draw(st.sets(st.sampled_from(["name", "timestamp", "version", "x"])))}
    return json.dumps(
        {
            "protocol": "mega",
            "version": draw(st.sampled_from([1, "1", 2, True, None])),
            "event": draw(st.just(event) | anything),
            "object": draw(anything),
            "extra": draw(anything),
        }
    )


bodies = st.one_of(
    st.text(st.characters()),
    st.text(st.sampled_from('{}[]",:\\u0d8ea1.-+ \n')),
    st.binary().map(lambda data: b64encode(data).decode()),
    damaged_documents().map(lambda data: b64encode(data).decode()),
    json_objects.map(json.dumps),
    json_objects.map(lambda value: json.dumps(value)[:-1]),
    _almost_envelopes(),
    _almost_events(),
)
"""What a queue may hold: anything."""

telling_texts = st.one_of(
    texts,
    st.binary(max_size=40).map(lambda data: b64encode(data).decode()),
    bson_objects.map(lambda value: b64encode(bson.encode_document(value)).decode()),
    json_objects.map(json.dumps),
    st.lists(whole_numbers).map(json.dumps),
    _almost_envelopes(),
    _almost_events(),
)
"""Text that looks like something else, or is something else as well."""


def exactly(value: object) -> object:
    """Return *value* with its types beside it: True, 1 and 1.0 are equal, and yet not the same."""
    if isinstance(value, dict):
        return {key: exactly(each) for key, each in value.items()}
    if isinstance(value, list):
        return [exactly(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return type(value), repr(value)
