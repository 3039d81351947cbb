"""How deep a body may nest hung on the Python and on its caller, and what one had read another could not walk."""

from __future__ import annotations

import gc
import json
import sys
from base64 import b64encode
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaflow import App, Message, limits
from megaflow.errors import EncodeError
from megaflow.match.functions import all_items, any_, contains, empty, eq, length, neq, not_
from megaflow.messages.codec import Decoded, Encoded, Kind, decode, encode
from megaflow.messages.message import open_message
from megaflow.messages.nesting import TOO_DEEP, TOO_LONG, find_excess
from tests.examples import examples

Returned = TypeVar("Returned")

FRAMES_TO_SPARE = 300
PROBLEM = "a MEGA event that is read as text only: "


def with_few_frames(function: Callable[[], Returned]) -> Returned:
    """Call *function* as deep in the stack as a caller may be."""
    frame, depth = sys._getframe(), 1
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1

    def go_down(levels: int) -> Returned:
        return function() if levels == 0 else go_down(levels - 1)

    # What else there is to be freed may need more frames than there are down here.
    gc.disable()
    try:
        return go_down(sys.getrecursionlimit() - depth - FRAMES_TO_SPARE - 2)
    finally:
        gc.enable()


def objects(levels: int, innermost: Any = 1) -> dict[str, Any]:
    value: dict[str, Any] = {"a": innermost}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def lists(levels: int) -> dict[str, Any]:
    """Return an object of so many levels, of which all but the first are lists."""
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return {"a": value}


def event(levels: int) -> dict[str, Any]:
    """Return a MEGA event of so many levels."""
    attributes = objects(levels - 2)
    event = {"name": "x", "timestamp": "2026-11-29T00:00:00", "attributes": attributes}
    return {"protocol": "mega", "version": 1, "event": event}


def text_of(value: object) -> str:
    """Write JSON of any depth."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {text_of(each)}" for key, each in value.items()) + "}"
    return f"[{', '.join(map(text_of, value))}]" if isinstance(value, list) else json.dumps(value)


@pytest.mark.parametrize("make", [objects, lists])
def test_a_hundred_levels_are_read_and_no_more(make: Callable[[int], dict[str, Any]]) -> None:
    allowed, beyond = text_of(make(100)), text_of(make(101))

    assert with_few_frames(lambda: decode(allowed)) == Decoded(Kind.DATA, make(100))
    assert with_few_frames(lambda: decode(beyond)) == Decoded(Kind.TEXT, beyond)


def test_digits_are_read_up_to_a_limit() -> None:
    allowed, beyond = f'{{"a": -{"7" * 4_300}}}', f'{{"a": -{"7" * 4_301}}}'

    assert decode(allowed).kind is Kind.DATA
    assert decode(beyond) == Decoded(Kind.TEXT, beyond)


@pytest.mark.parametrize(
    "body",
    [
        '{"a": "' + "7" * 9_000 + '"}',
        '{"a": 0.' + "7" * 9_000 + "}",
        '{"a": 1' + "0" * 9_000 + "e-8999}",
        '{"a": "' + "[" * 9_000 + '"}',
        '{"a": "\\"' + "{" * 9_000 + '\\\\"}',
        '{"a": [' + "[], {}, " * 9_000 + "1]}",
    ],
)
def test_what_only_looks_deep_or_long_is_read(body: str) -> None:
    assert decode(body) == Decoded(Kind.DATA, json.loads(body))


def test_a_body_within_the_limits_is_read_where_python_is_told_to_read_more_digits() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        assert decode(f'{{"a": {"7" * 4_301}}}').kind is Kind.TEXT
        with pytest.raises(EncodeError, match=r"^payload.a: a whole number of so many digits"):
            encode({"a": 10**4_300})
        assert encode({"a": 10**4_299}).body == '{"a": 1' + "0" * 4_299 + "}"
    finally:
        sys.set_int_max_str_digits(before)


def test_where_python_is_told_to_read_fewer_digits_an_event_has_a_problem() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert decode('{"protocol": "mega", "a": ' + "7" * 700 + "}").problem == PROBLEM + TOO_LONG
    finally:
        sys.set_int_max_str_digits(before)


@pytest.mark.parametrize(
    ("body", "excess"),
    [
        (text_of(event(101)), TOO_DEEP),
        (text_of(event(101)).replace(" ", "\n\t"), TOO_DEEP),
        (text_of(event(101)).replace(" ", ""), TOO_DEEP),
        ('{"protocol": "mega", "a":' * 50_000, TOO_DEEP),
        ('{"protocol": "mega", "a": ' + "7" * 4_301 + "}", TOO_LONG),
    ],
)
def test_an_event_beyond_the_limits_has_a_problem(body: str, excess: str) -> None:
    assert decode(body) == Decoded(Kind.TEXT, body, PROBLEM + excess)


def test_an_event_of_too_many_levels_of_bson_has_a_problem() -> None:
    def document(levels: int) -> bytes:
        inner = b"\x03a\0" + document(levels - 1) if levels > 1 else b""
        elements = b"\x02protocol\0\x05\0\0\0mega\0" + inner
        return (len(elements) + 5).to_bytes(4, "little") + elements + b"\0"

    allowed, beyond = (b64encode(document(levels)).decode() for levels in (100, 101))

    assert with_few_frames(lambda: decode(allowed)).kind is Kind.DATA
    assert decode(beyond) == Decoded(Kind.TEXT, beyond, PROBLEM + TOO_DEEP)


def test_an_event_that_cannot_be_read_is_dead_lettered_and_not_deleted() -> None:
    app = App()
    app.on_event(name="x")(lambda payload: None)

    assert app.process(text_of(event(101))).dead_letters
    assert app.process(text_of(objects(101))).deletes


def test_an_event_in_an_envelope_has_the_same_problem() -> None:
    body = text_of(event(101))
    envelope = {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:x:1:t", "Timestamp": "t"}

    message = open_message(json.dumps(envelope | {"Message": body}))

    assert (message.kind, message.payload, message.problem) == (Kind.TEXT, body, PROBLEM + TOO_DEEP)


def test_text_that_looks_like_such_an_event_is_sent_as_text() -> None:
    body = text_of(event(101))

    assert encode(body) == Encoded(body, Kind.TEXT)
    assert decode(body, Kind.TEXT) == Decoded(Kind.TEXT, body)


@pytest.mark.parametrize("binary_encoding", [False, True])
@pytest.mark.parametrize("make", [objects, lists, event])
def test_what_is_sent_can_be_read_again(make: Callable[[int], dict[str, Any]], binary_encoding: bool) -> None:
    sent = with_few_frames(lambda: encode(make(100), binary_encoding=binary_encoding))

    received = with_few_frames(lambda: decode(sent.body))
    again = with_few_frames(lambda: encode(received.payload, binary_encoding=binary_encoding))

    assert received.kind is not Kind.TEXT
    assert decode(again.body) == received
    with pytest.raises(EncodeError, match=r"^payload: is nested too deeply, over 100 levels, or holds itself$"):
        encode(make(101), binary_encoding=binary_encoding)


@pytest.mark.parametrize("value", [(1,), {2}, {"b": (3,)}, {}, []], ids=repr)
@pytest.mark.parametrize("binary_encoding", [False, True])
def test_levels_that_are_empty_or_become_json_are_counted_too(value: Any, binary_encoding: bool) -> None:
    with pytest.raises(EncodeError, match="nested too deeply"):
        encode(objects(100, value), binary_encoding=binary_encoding)


deepest = {"data": objects(100), "list": lists(100), "event": event(100)}


@pytest.mark.parametrize("name", deepest)
def test_what_is_read_can_be_matched_copied_explained_shown_and_handled(name: str) -> None:
    app, seen = App(), []
    patterns = [any_(), not_(empty()), not_(contains(1)), not_(all_items(1)), length(1), eq(objects(99)), neq(1), [[1]]]
    for pattern in patterns:
        app.on_data({"a": pattern})(lambda payload: seen.append(repr(payload)))
        app.on_event(name="x", attributes={"a": pattern})(lambda payload: seen.append(repr(payload)))

    app.on_message()(lambda message: seen.append(repr(message)))

    message = open_message(text_of(deepest[name]))
    app.check()  # compiles the patterns
    explanations = with_few_frames(lambda: app.explain(message))
    verdict = with_few_frames(lambda: app.process(message))

    assert len(str(explanations)) > 100
    assert len(seen) == len(verdict.outcomes) > 3
    assert with_few_frames(lambda: message.with_own_payload()) == message
    assert isinstance(message, Message)


json_values = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text('"\\{}[]a7', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\{}[]a', max_size=3), inner, max_size=3),
    max_leaves=40,
)


@settings(max_examples=examples(300))
@given(value=json_values, limit=st.integers(min_value=2, max_value=8))
def test_levels_are_counted_as_a_walk_counts_them(value: Any, limit: int) -> None:
    def levels(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(levels, inner), default=0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "NESTING", limit)
        patch.setattr("megaflow.messages.nesting._HALF", limit // 2)

        assert (find_excess(json.dumps(value)) == TOO_DEEP) == (levels(value) > limit)
