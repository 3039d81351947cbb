"""Messages on their way out: what is refused, how batches are cut, and what is sent again."""

from __future__ import annotations

import base64
import enum
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import (
    ConnectionClosedError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from hypothesis import given
from hypothesis import strategies as st

from megaflow import EncodeError, FailedEntry, Outgoing, PayloadBuilder, PublishError, UsageError
from megaflow.messages.attributes import Attribute
from megaflow.publishing.batches import (
    EntryAnswer,
    Sent,
    Shipment,
    cut_batches,
    read_batch_answer,
    read_error,
    read_message_ids,
    send_all,
)
from megaflow.publishing.outgoing import (
    Prepared,
    PublishOptions,
    as_outgoing,
    check_several,
    prepare,
    prepare_all,
    prepare_raw,
)
from megaflow.transport.entries import measure, write_attributes
from tests.consuming import PATIENCE
from tests.fakes import client_error

ROOM = 1_000
URL = "https://sqs.us-east-1.amazonaws.com"


class Price(int, enum.Enum):
    LOW = 1


# What a message becomes


def test_a_message_carries_its_payload_and_its_attributes() -> None:
    source = Outgoing({"id": 1}, attributes={"tenant": "acme"})

    prepared = prepare(source, max_size=ROOM, index=7)

    assert prepared == Prepared(7, source, '{"id": 1}', {"tenant": Attribute("String", "acme")}, 9 + 6 + 6 + 4)


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        ("text", Attribute("String", "text")),
        (b"\0\xff", Attribute("Binary", b"\0\xff")),
        (7, Attribute("Number", "7")),
        (-7, Attribute("Number", "-7")),
        (10**400, Attribute("Number", "1" + "0" * 400)),
        (19.99, Attribute("Number", "19.99")),
        (1e300, Attribute("Number", "1e+300")),
        (Decimal("19.990"), Attribute("Number", "19.990")),
        (Price.LOW, Attribute("Number", "1")),
        (Attribute("Number.price", "19.99"), Attribute("Number.price", "19.99")),
        (Attribute("Binary.png", b"\x89"), Attribute("Binary.png", b"\x89")),
        (Attribute("String.Array", '["a"]'), Attribute("String.Array", '["a"]')),
    ],
    ids=repr,
)
def test_an_attribute_takes_the_type_of_its_value(value: Any, attribute: Attribute) -> None:
    prepared = prepare(Outgoing("x", attributes={"it": value}), max_size=ROOM)

    assert prepared.attributes == {"it": attribute}


def test_attributes_are_written_as_boto3_takes_them() -> None:
    attributes = {"text": Attribute("String", "a"), "blob": Attribute("Binary.png", b"b")}

    written = write_attributes(attributes)

    assert written == {
        "text": {"DataType": "String", "StringValue": "a"},
        "blob": {"DataType": "Binary.png", "BinaryValue": b"b"},
    }


@pytest.mark.parametrize(
    ("payload", "hint"),
    [(b"\0\1", "binary"), ('{"id": 1}', "text"), ("ping", ""), ({"id": 1}, ""), (b"ping", "binary")],
    ids=repr,
)
def test_a_hint_goes_along_only_where_the_body_alone_would_be_misread(payload: Any, hint: str) -> None:
    prepared = prepare(Outgoing(payload), max_size=ROOM)

    assert prepared.attributes == ({"megaflow-kind": Attribute("String", hint)} if hint else {})


def test_a_raw_message_is_sent_as_it_is_and_without_a_hint() -> None:
    prepared = prepare_raw(Outgoing('{"id":1}', attributes={"megaflow-kind": "text"}), max_size=ROOM)

    assert prepared.body == '{"id":1}'
    assert prepared.attributes == {"megaflow-kind": Attribute("String", "text")}


@pytest.mark.parametrize(
    ("body", "attributes", "size"),
    [
        ("x", {}, 1),
        ("é", {}, 2),
        ("🎈", {}, 4),
        ("x", {"name": Attribute("String", "é")}, 1 + 4 + 6 + 2),
        (
            "x",
            {"n": Attribute("Number.price", "19.99"), "b": Attribute("Binary", b"\0\1\2")},
            1 + 1 + 12 + 5 + 1 + 6 + 3,
        ),
    ],
)
def test_body_names_types_and_values_count_in_bytes(body: str, attributes: dict[str, Attribute], size: int) -> None:
    assert measure(body, attributes) == size


# What is refused


@pytest.mark.parametrize("character", ["é", "x", "🎈"])
def test_a_body_may_be_as_large_as_the_limit_and_no_larger(character: str) -> None:
    width = len(character.encode())
    full = character * (ROOM // width)

    prepared = prepare(Outgoing(full), max_size=ROOM)
    with pytest.raises(
        EncodeError, match="bytes with its attributes are more than the 1,000 allowed; send a reference"
    ):
        prepare(Outgoing(full + character), max_size=ROOM)

    assert prepared.size == ROOM


def test_attributes_count_towards_the_limit() -> None:
    attributes = {"name": "value"}
    full = "x" * (ROOM - len("name" + "String" + "value"))

    prepared = prepare(Outgoing(full, attributes=attributes), max_size=ROOM)
    with pytest.raises(EncodeError, match="payload: 1,001 bytes"):
        prepare(Outgoing(full + "x", attributes=attributes), max_size=ROOM)

    assert prepared.size == ROOM


def test_the_hint_counts_towards_the_limit() -> None:
    blob = bytes(30)
    size = len(base64.b64encode(blob)) + len("megaflow-kind" + "String" + "binary")

    prepared = prepare(Outgoing(blob), max_size=size)
    with pytest.raises(EncodeError, match=f"{size} bytes"):
        prepare(Outgoing(blob), max_size=size - 1)

    assert prepared.size == size


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("", "payload: is empty"),
        (b"", "payload: is empty"),
        ("a\0b", r"payload: holds '\\x00', a character that SQS refuses; send bytes, or JSON"),
        ("a\x0bb", r"payload: holds '\\x0b'"),
        ("a\ud800b", r"payload: holds '\\ud800'"),
        ("a\uffff", r"payload: holds '\\uffff'"),
        (42, "payload: a message is a Payload, a dict, a str or bytes, not int"),
        ({"blob": b"\0"}, "payload.blob: bytes need binary_encoding=True"),
    ],
    ids=repr,
)
def test_a_body_that_sqs_refuses_is_refused(payload: Any, said: str) -> None:
    with pytest.raises(EncodeError, match=said):
        prepare(Outgoing(payload), max_size=ROOM)


@pytest.mark.parametrize("text", ["a\tb\r\nc", "\ud7ff\ue000\ufffd\U00010000\U0010ffff", "a\x7fb", " "], ids=ascii)
def test_every_character_that_sqs_takes_is_sent(text: str) -> None:
    assert prepare(Outgoing(text), max_size=ROOM).body == text


def test_an_object_may_hold_characters_that_a_body_may_not() -> None:
    prepared = prepare(Outgoing({"text": "a\0b\ud800"}), max_size=ROOM)

    assert json.loads(prepared.body) == {"text": "a\0b\ud800"}


def test_ten_attributes_are_sent_and_eleven_refused() -> None:
    attributes = {f"a{number}": number for number in range(10)}

    prepared = prepare(Outgoing("x", attributes=attributes), max_size=ROOM)
    with pytest.raises(EncodeError, match="attributes: 11 message attributes are more than 10"):
        prepare(Outgoing("x", attributes=attributes | {"b": 1}), max_size=ROOM)

    assert len(prepared.attributes) == 10


def test_the_hint_is_one_of_the_ten_attributes() -> None:
    attributes = {f"a{number}": number for number in range(10)}

    with pytest.raises(EncodeError, match="attributes: 11 message attributes"):
        prepare(Outgoing(b"\0", attributes=attributes), max_size=ROOM)


@pytest.mark.parametrize(
    "name", ["", "a b", "é", "a..b", ".a", "a.", "AWS.a", "aws.a", "Amazon.a", "a\n", "a" * 257, "a/b", 5], ids=repr
)
def test_a_wrong_attribute_name_is_refused(name: Any) -> None:
    with pytest.raises(EncodeError, match=r"a name is up to 256 letters, digits") as caught:
        prepare(Outgoing("x", attributes={name: "value"}), max_size=ROOM)

    assert caught.value.path == f"attributes.{name}"


@pytest.mark.parametrize("name", ["a", "a" * 256, "a.b-c_D9", "awsome", "AWS", "Amazonas.a", "9"])
def test_a_right_attribute_name_is_sent(name: str) -> None:
    assert name in prepare(Outgoing("x", attributes={name: "value"}), max_size=ROOM).attributes


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is empty, and AWS takes no empty text"),
        (b"", "is empty, and AWS takes no empty value"),
        ("a\0", r"holds '\\x00', a character that SQS refuses"),
        (True, "True is no text, number or bytes"),
        (None, "None is no text, number or bytes"),
        (["a"], "is no text, number or bytes"),
        (float("nan"), "nan is no text, number or bytes"),
        (float("inf"), "inf is no text, number or bytes"),
        (Decimal("sNaN"), "is no text, number or bytes"),
        (Decimal("-Infinity"), "is no text, number or bytes"),
        (Attribute("String", ""), "is empty"),
        (Attribute("Binary", b""), "is empty"),
        (Attribute("String", b"a"), "is neither a String or Number of text nor a Binary of bytes"),
        (Attribute("Binary", "a"), "is neither a String or Number of text nor a Binary of bytes"),
        (Attribute("Number", 5), "is neither a String or Number of text nor a Binary of bytes"),  # type: ignore[arg-type]
        (Attribute("Text", "a"), "is neither a String or Number of text nor a Binary of bytes"),
        (Attribute("", "a"), "is neither a String or Number of text nor a Binary of bytes"),
    ],
    ids=repr,
)
def test_a_wrong_attribute_value_is_refused(value: Any, said: str) -> None:
    with pytest.raises(EncodeError, match=said) as caught:
        prepare(Outgoing("x", attributes={"it": value}), max_size=ROOM)

    assert caught.value.path == "attributes.it"


@pytest.mark.parametrize("delay", [-1, 901, 1.5, True, "5"], ids=repr)
def test_a_delay_out_of_range_is_refused(delay: Any) -> None:
    with pytest.raises(EncodeError, match=r"delay_seconds: .* is no whole number from 0 to 900"):
        prepare(Outgoing("x", delay_seconds=delay), max_size=ROOM)


@pytest.mark.parametrize("delay", [None, 0, 900])
def test_a_delay_within_the_range_is_sent(delay: int | None) -> None:
    assert prepare(Outgoing("x", delay_seconds=delay), max_size=ROOM).source.delay_seconds == delay


@pytest.mark.parametrize("field", ["group_id", "deduplication_id"])
@pytest.mark.parametrize("value", ["a b", "é", "a\n", "a" * 129, 5, 0], ids=repr)
def test_a_wrong_group_or_deduplication_id_is_refused(field: str, value: Any) -> None:
    options: dict[str, Any] = {field: value}

    with pytest.raises(EncodeError, match=rf"{field}: .* is not up to 128 printable ASCII characters"):
        prepare(Outgoing("x", **options), max_size=ROOM)


@pytest.mark.parametrize("value", ["", "a", "a" * 128, "!~/?"])
def test_a_right_group_id_is_sent(value: str) -> None:
    assert prepare(Outgoing("x", group_id=value), max_size=ROOM).source.group_id == value


@pytest.mark.parametrize("body", [b"bytes", {"id": 1}, None], ids=repr)
def test_a_raw_message_that_is_no_text_is_refused(body: Any) -> None:
    with pytest.raises(EncodeError, match="body: a raw message is text, not"):
        prepare_raw(Outgoing(body), max_size=ROOM)


@pytest.mark.parametrize("body", ["", "a\0b", "x" * (ROOM + 1)], ids=["empty", "refused character", "too large"])
def test_a_raw_message_that_sqs_refuses_is_refused(body: str) -> None:
    with pytest.raises(EncodeError):
        prepare_raw(Outgoing(body), max_size=ROOM)


# Several at once


def accept(source: Outgoing) -> None: ...


def test_payloads_share_their_options_and_an_outgoing_brings_its_own() -> None:
    event = PayloadBuilder().with_event(name="user.created").build()
    shared: PublishOptions = {"binary_encoding": True, "group_id": "g"}

    sources = as_outgoing((event, Outgoing({"id": 1})), shared)

    assert list(sources) == [Outgoing(event, binary_encoding=True, group_id="g"), Outgoing({"id": 1})]


def test_entries_are_numbered_in_order() -> None:
    first, second = prepare_all([Outgoing("a"), Outgoing({"id": 1})], max_size=ROOM, check=accept)

    assert [(each.index, each.body) for each in (first, second)] == [(0, "a"), (1, '{"id": 1}')]


def test_an_entry_that_cannot_be_sent_is_named() -> None:
    with pytest.raises(
        EncodeError, match=r"^entry 2: payload\.user\.avatar: bytes need binary_encoding=True$"
    ) as caught:
        prepare_all(map(Outgoing, ["a", "b", {"user": {"avatar": b""}}]), max_size=ROOM, check=accept)

    assert isinstance(caught.value.__cause__, EncodeError)


def test_an_entry_that_its_destination_does_not_take_is_named() -> None:
    def refuse_b(source: Outgoing) -> None:
        if source.payload == "b":
            raise EncodeError("is missing", "group_id")

    with pytest.raises(EncodeError, match=r"^entry 1: group_id: is missing$"):
        prepare_all(map(Outgoing, "abc"), max_size=ROOM, check=refuse_b)


# Batches


def entry(index: int, size: int = 1, group: str = "") -> Prepared:
    return Prepared(index, Outgoing(f"payload {index}", group_id=group), str(index), {}, size)


def entries(count: int) -> list[Prepared]:
    return [entry(index) for index in range(count)]


def indexes(batches: Sequence[Sequence[Prepared]]) -> list[list[int]]:
    return [[each.index for each in batch] for batch in batches]


@pytest.mark.parametrize(
    ("sizes", "cut"),
    [
        ([], []),
        ([100], [[0]]),
        ([50, 50], [[0, 1]]),
        ([50, 51], [[0], [1]]),
        ([100, 1, 99, 1], [[0], [1, 2], [3]]),
        ([1] * 11, [list(range(10)), [10]]),
        ([10] * 10 + [0], [list(range(10)), [10]]),
    ],
    ids=repr,
)
def test_a_batch_ends_at_ten_entries_or_at_the_limit(sizes: list[int], cut: list[list[int]]) -> None:
    given = [entry(index, size) for index, size in enumerate(sizes)]

    assert indexes(list(cut_batches(given, max_size=100))) == cut


@given(st.integers(1, 100).flatmap(lambda limit: st.tuples(st.just(limit), st.lists(st.integers(0, limit)))))
def test_cutting_never_exceeds_a_limit_and_loses_and_reorders_nothing(drawn: tuple[int, list[int]]) -> None:
    limit, sizes = drawn
    given = [entry(index, size) for index, size in enumerate(sizes)]

    batches = list(cut_batches(given, max_size=limit))

    assert [each for batch in batches for each in batch] == given
    assert all(1 <= len(batch) <= 10 and sum(each.size for each in batch) <= limit for batch in batches)
    for batch, following in pairwise(batches):
        assert len(batch) == 10 or sum(each.size for each in batch) + following[0].size > limit


# Sending


class Script:
    """A client that answers by script; when that has ended, it sends everything. It keeps what it was given."""

    def __init__(self, *answers: Exception | dict[int, EntryAnswer]) -> None:
        self._answers = list(answers)
        self.calls: list[list[int]] = []
        self.pauses: list[float] = []

    def __call__(self, batch: Sequence[Prepared]) -> Callable[[], list[EntryAnswer]]:
        return partial(self._answer, batch)

    def _answer(self, batch: Sequence[Prepared]) -> list[EntryAnswer]:
        self.calls.append([each.index for each in batch])
        answer = self._answers.pop(0) if self._answers else {}
        if isinstance(answer, Exception):
            raise answer
        return [answer.get(each.index, EntryAnswer(message_id=f"id {each.index}")) for each in batch]

    def send(self, given: Sequence[Prepared], *, fifo: bool = False) -> list[str]:
        shipment = Shipment(self, fifo=fifo, sleep=self.pauses.append, randomness=lambda: 0.5)
        return read_message_ids(list(send_all(given, shipment, max_size=ROOM)), shipment.cause)


RETRIABLE = EntryAnswer(code="InternalError", reason="try again", retriable=True)
FAULTY = EntryAnswer(code="InvalidMessageContents", reason="never")
UNKNOWN = EntryAnswer(code="NoAnswer", reason="who knows", unknown=True)


def test_sent_entries_give_their_message_ids_in_order() -> None:
    script = Script()

    message_ids = script.send(entries(23))

    assert message_ids == [f"id {index}" for index in range(23)]
    assert [len(call) for call in script.calls] == [10, 10, 3]
    assert script.pauses == []


def test_nothing_to_send_is_no_call() -> None:
    script = Script()

    assert script.send([]) == []
    assert script.calls == []


def test_only_retriable_entries_are_sent_again() -> None:
    script = Script({0: RETRIABLE, 1: FAULTY, 2: UNKNOWN, 3: RETRIABLE}, {3: RETRIABLE})

    with pytest.raises(PublishError) as caught:
        script.send(entries(5))

    assert script.calls == [[0, 1, 2, 3, 4], [0, 3], [3]]
    assert [(each.index, each.code, each.unknown) for each in caught.value.failed] == [
        (1, "InvalidMessageContents", False),
        (2, "NoAnswer", True),
    ]
    assert caught.value.message_ids == ("id 0", "", "", "id 3", "id 4")
    assert caught.value.__cause__ is None


def test_the_pauses_between_tries_grow_and_are_random() -> None:
    script = Script({0: RETRIABLE}, {0: RETRIABLE}, {0: RETRIABLE})

    message_ids = script.send(entries(1))

    assert message_ids == ["id 0"]
    assert script.pauses == pytest.approx([0.2, 0.4, 0.8])


def test_an_entry_that_fails_four_times_has_failed_and_the_next_batch_goes_all_the_same() -> None:
    script = Script(*[{0: RETRIABLE}] * 4)

    with pytest.raises(PublishError) as caught:
        script.send(entries(11))

    assert script.calls == [list(range(10)), [0], [0], [0], [10]]
    assert [(each.index, each.payload, each.code, each.reason) for each in caught.value.failed] == [
        (0, "payload 0", "InternalError", "try again")
    ]
    assert str(caught.value) == "1 of 11 messages were not sent: entry 0: InternalError: try again"


def test_after_a_call_that_failed_nothing_more_is_sent() -> None:
    error = client_error("AccessDenied", status=403)
    script = Script({}, error)

    with pytest.raises(PublishError) as caught:
        script.send(entries(25))

    assert script.calls == [list(range(10)), list(range(10, 20))]
    assert caught.value.__cause__ is error
    assert [each.index for each in caught.value.failed] == list(range(10, 25))
    assert {(each.code, each.reason, each.unknown) for each in caught.value.failed[:10]} == {
        ("AccessDenied", "AccessDenied, it said", False)
    }
    assert {(each.code, each.reason, each.unknown) for each in caught.value.failed[10:]} == {
        ("NotSent", "an earlier call failed", False)
    }


def test_an_answer_lost_when_trying_again_leaves_those_entries_unknown_and_no_others() -> None:
    error = ReadTimeoutError(endpoint_url=URL)
    script = Script({1: RETRIABLE, 2: FAULTY}, error)

    with pytest.raises(PublishError) as caught:
        script.send(entries(4))

    assert script.calls == [[0, 1, 2, 3], [1]]
    assert [(each.index, each.code, each.unknown) for each in caught.value.failed] == [
        (1, "ReadTimeoutError", True),
        (2, "InvalidMessageContents", False),
    ]
    assert caught.value.message_ids == ("id 0", "", "", "id 3")
    assert caught.value.__cause__ is error
    assert "entry 1: ReadTimeoutError" in str(caught.value)
    assert "(it is not known whether it was sent)" in str(caught.value)


@pytest.mark.parametrize("answer", [RETRIABLE, FAULTY, UNKNOWN], ids=lambda answer: answer.code)
def test_on_fifo_a_failed_entry_stops_its_group_and_no_other(answer: EntryAnswer) -> None:
    script = Script({3: answer})
    given = [entry(index, group="odd" if index % 2 else "even") for index in range(25)]

    with pytest.raises(PublishError) as caught:
        script.send(given, fifo=True)

    assert script.calls == [list(range(10)), [10, 12, 14, 16, 18], [20, 22, 24]]
    assert script.pauses == []
    assert [each.index for each in caught.value.failed] == [3, *range(11, 25, 2)]
    assert caught.value.failed[0].code == answer.code
    assert {(each.code, each.reason) for each in caught.value.failed[1:]} == {
        ("NotSent", "an earlier message of its group failed")
    }


def test_on_fifo_each_entry_says_what_kept_it_back() -> None:
    script = Script({0: FAULTY}, ReadTimeoutError(endpoint_url=URL))
    given = [entry(0, group="a"), *(entry(index, group="b") for index in range(1, 10))]
    given += [entry(10, group="a"), entry(11, group="b"), *(entry(index, group="c") for index in range(12, 24))]

    with pytest.raises(PublishError) as caught:
        script.send(given, fifo=True)

    reasons = {each.index: each.reason for each in caught.value.failed if each.code == "NotSent"}
    assert script.calls == [list(range(10)), list(range(11, 20))]
    assert reasons[10] == "an earlier message of its group failed"
    assert reasons.keys() == {10, 20, 21, 22, 23}


def test_on_a_standard_queue_a_group_is_no_order_and_nothing_is_stopped() -> None:
    script = Script({0: FAULTY, 1: RETRIABLE})

    with pytest.raises(PublishError) as caught:
        script.send([entry(index, group="g") for index in range(12)])

    assert script.calls == [list(range(10)), [1], [10, 11]]
    assert [each.index for each in caught.value.failed] == [0]


def test_a_batch_whose_groups_are_all_stopped_is_no_call() -> None:
    script = Script({0: FAULTY})

    with pytest.raises(PublishError):
        script.send([entry(index, group="g") for index in range(30)], fifo=True)

    assert script.calls == [list(range(10))]


# Several batches at once


class Gate:
    """A client that lets nobody through before so many batches wait for it."""

    def __init__(self, parties: int) -> None:
        self._together = threading.Barrier(parties)

    def __call__(self, batch: Sequence[Prepared]) -> Callable[[], list[EntryAnswer]]:
        return partial(self._answer, batch)

    def _answer(self, batch: Sequence[Prepared]) -> list[EntryAnswer]:
        self._together.wait(PATIENCE)
        return [EntryAnswer(message_id=f"id {each.index}") for each in batch]


def test_several_batches_are_under_way_at_once_and_are_told_of_in_order() -> None:
    shipment = Shipment(Gate(4), fifo=False)

    sent = list(send_all(entries(80), shipment, max_size=ROOM, in_flight=4))

    assert sent == [Sent(index, f"id {index}") for index in range(80)]


def test_what_is_sent_is_taken_as_it_can_be_sent() -> None:
    taken: list[int] = []

    def give() -> Iterator[Prepared]:
        for each in entries(1_000):
            taken.append(each.index)
            yield each

    sending = send_all(give(), Shipment(Script(), fifo=False), max_size=ROOM, in_flight=3)
    first = [next(sending) for _ in range(25)]

    assert [each.index for each in first] == list(range(25))
    assert len(taken) < 100
    assert len(list(sending)) == 975


def test_of_what_was_taken_before_the_entries_ended_with_an_error_everything_is_told() -> None:
    told: list[int] = []

    def give() -> Iterator[Prepared]:
        yield from entries(57)
        raise OSError("the file has a hole")

    with pytest.raises(OSError, match="a hole"):
        told.extend(each.index for each in send_all(give(), Shipment(Script(), fifo=False), max_size=ROOM, in_flight=3))

    # The last seven were no whole batch yet.
    assert told == list(range(50))


def test_what_cannot_be_sent_is_told_in_its_place() -> None:
    broken = FailedEntry(3, b"", "EncodeError", "cannot be sent")
    given: list[Prepared | FailedEntry] = [*entries(3), broken, entry(4)]
    script = Script()

    sent = list(send_all(given, Shipment(script, fifo=False), max_size=ROOM))

    assert sent == [Sent(index, f"id {index}") for index in range(3)] + [Sent(3, failure=broken), Sent(4, "id 4")]
    assert script.calls == [[0, 1, 2, 4]]


FATES: dict[str, Callable[[int], EntryAnswer]] = {
    "sent": lambda index: EntryAnswer(message_id=f"id {index}"),
    "retriable": lambda index: RETRIABLE,
    "faulty": lambda index: FAULTY,
    "unknown": lambda index: UNKNOWN,
}
BROKEN_CALLS = [client_error("Throttled"), client_error("Busy", status=503), ReadTimeoutError(endpoint_url=URL)]


class Unreliable:
    """A client that answers as hypothesis likes, and keeps what it said of each entry, call by call."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self.calls: list[Sequence[Prepared]] = []
        self.fates: dict[int, list[str]] = defaultdict(list)
        self.error: Exception | None = None

    def __call__(self, batch: Sequence[Prepared]) -> Callable[[], list[EntryAnswer]]:
        return partial(self._answer, batch)

    def _answer(self, batch: Sequence[Prepared]) -> list[EntryAnswer]:
        self.calls.append(batch)
        if self._data.draw(st.integers(0, 9)) == 0:
            self.error = self._data.draw(st.sampled_from(BROKEN_CALLS))
            fate = "unknown" if read_error(self.error).unknown else "faulty"
            self._note(batch, [fate] * len(batch))
            raise self.error
        fates = st.sampled_from([*FATES, "sent", "sent"])
        self._note(batch, self._data.draw(st.lists(fates, min_size=len(batch), max_size=len(batch))))
        return [FATES[self.fates[each.index][-1]](each.index) for each in batch]

    def last_said(self, fate: str) -> list[int]:
        return sorted(index for index, fates in self.fates.items() if fates[-1] == fate)

    def _note(self, batch: Sequence[Prepared], fates: Sequence[str]) -> None:
        for each, fate in zip(batch, fates, strict=True):
            self.fates[each.index].append(fate)


MESSAGES = st.lists(st.tuples(st.integers(1, 400), st.sampled_from("abc")), max_size=35).map(
    lambda drawn: [entry(index, size, group) for index, (size, group) in enumerate(drawn)]
)


def send_somehow(given: Sequence[Prepared], unreliable: Unreliable, *, fifo: bool) -> PublishError:
    """Return the error there was, or one that speaks of no failure."""
    try:
        shipment = Shipment(unreliable, fifo=fifo, sleep=lambda _: None)
        return PublishError((), read_message_ids(list(send_all(given, shipment, max_size=ROOM)), shipment.cause))
    except PublishError as error:
        return error


@given(given=MESSAGES, fifo=st.booleans(), data=st.data())
def test_whatever_the_answers_what_was_sent_and_what_failed_is_everything(
    given: list[Prepared], fifo: bool, data: st.DataObject
) -> None:
    unreliable = Unreliable(data)

    said = send_somehow(given, unreliable, fifo=fifo)

    sent = unreliable.last_said("sent")
    assert [each.index for each in said.failed] == [each.index for each in given if each.index not in sent]
    assert said.message_ids == tuple(f"id {each.index}" if each.index in sent else "" for each in given)
    assert [each.index for each in said.failed if each.unknown] == unreliable.last_said("unknown")
    assert said.__cause__ is unreliable.error


@given(given=MESSAGES, fifo=st.booleans(), data=st.data())
def test_whatever_the_answers_only_what_certainly_did_not_go_is_sent_again(
    given: list[Prepared], fifo: bool, data: st.DataObject
) -> None:
    unreliable = Unreliable(data)

    send_somehow(given, unreliable, fifo=fifo)

    assert all(set(fates[:-1]) <= {"retriable"} for fates in unreliable.fates.values())
    assert all(len(fates) <= (1 if fifo else 4) for fates in unreliable.fates.values())
    assert all(len(batch) <= 10 and sum(each.size for each in batch) <= ROOM for batch in unreliable.calls)


@given(given=MESSAGES, data=st.data())
def test_whatever_the_answers_no_message_of_a_fifo_group_goes_after_a_call_in_which_one_failed(
    given: list[Prepared], data: st.DataObject
) -> None:
    unreliable = Unreliable(data)

    send_somehow(given, unreliable, fifo=True)

    going = [each.index for batch in unreliable.calls for each in batch]
    assert going == sorted(going)
    stopped: set[str] = set()
    for batch in unreliable.calls:
        assert stopped.isdisjoint(each.source.group_id for each in batch)
        stopped |= {each.source.group_id for each in batch if unreliable.fates[each.index] != ["sent"]}


# What answers and errors mean


def test_an_answer_is_read_entry_by_entry() -> None:
    answer = {
        "Failed": [
            {"Id": "1", "Code": "Busy", "Message": "later", "SenderFault": False},
            {"Id": "2", "SenderFault": True},
        ],
        "Successful": [{"Id": "3", "MessageId": "m3"}, {"Id": "0", "MessageId": "m0"}],
    }

    said = read_batch_answer(answer, entries(5))

    assert said[0] == EntryAnswer(message_id="m0")
    assert said[1] == EntryAnswer(code="Busy", reason="later", retriable=True)
    assert said[2] == EntryAnswer(code="Unknown", retriable=False)
    assert said[3] == EntryAnswer(message_id="m3")
    assert (said[4].sent, said[4].code, said[4].retriable, said[4].unknown) == (False, "NoAnswer", False, True)


def test_an_entry_said_to_be_sent_is_sent_whatever_else_is_said_of_it() -> None:
    answer = {"Successful": [{"Id": "0", "MessageId": "m0"}], "Failed": [{"Id": "0", "Code": "Busy"}]}

    assert read_batch_answer(answer, entries(1)) == [EntryAnswer(message_id="m0")]


def test_an_empty_answer_leaves_every_entry_unknown() -> None:
    assert [each.unknown for each in read_batch_answer({}, entries(2))] == [True, True]


@pytest.mark.parametrize(
    ("error", "code", "unknown"),
    [
        (client_error("AccessDenied", status=403), "AccessDenied", False),
        (client_error("RequestThrottled", status=400), "RequestThrottled", False),
        (client_error("AccessDenied", status=403, retries=1), "AccessDenied", True),
        (client_error("InternalError", status=500), "InternalError", True),
        (client_error("ServiceUnavailable", status=503, retries=4), "ServiceUnavailable", True),
        (ReadTimeoutError(endpoint_url=URL), "ReadTimeoutError", True),
        (ConnectionClosedError(endpoint_url=URL), "ConnectionClosedError", True),
        (HTTPClientError(error="broken"), "HTTPClientError", True),
        (NoCredentialsError(), "NoCredentialsError", False),
        (ParamValidationError(report="wrong"), "ParamValidationError", False),
        (OSError("gone"), "OSError", True),
    ],
    ids=repr,
)
def test_only_a_refused_first_attempt_or_an_error_before_it_proves_that_nothing_went(
    error: Exception, code: str, unknown: bool
) -> None:
    said = read_error(error)

    assert (said.sent, said.code, said.unknown, said.retriable) == (False, code, unknown, False)
    assert said.reason


def test_an_error_that_says_nothing_more_leaves_it_unknown() -> None:
    error = client_error("Any")
    error.response = {}

    said = read_error(error)

    assert (said.code, said.unknown) == ("Unknown", True)


@pytest.mark.parametrize(
    "one", ["ping", b"ping", {"a": 1}, Outgoing("ping"), PayloadBuilder().with_event(name="n").build()]
)
def test_one_payload_is_no_batch(one: Any) -> None:
    with pytest.raises(UsageError, match=r"takes several payloads, not one \w+: publish\(\) it"):
        check_several(one)
