"""Batches: how they are cut, what is sent again, and what is known to be sent."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
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

from megaflow import FailedEntry, Outgoing, PayloadBuilder, PublishError, UsageError
from megaflow.publishing.batches import (
    BatchSender,
    EntryAnswer,
    Sent,
    cut_batches,
    read_batch_answer,
    read_error,
    read_message_ids,
    send_all,
)
from megaflow.publishing.outgoing import Prepared, check_several
from megaflow.wire.pending import Pending
from tests.fakes import client_error
from tests.waiting import PATIENCE

ROOM = 1_000
URL = "https://sqs.us-east-1.amazonaws.com"


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

    def __call__(self, batch: Sequence[Prepared], until: float) -> Pending[list[EntryAnswer]]:
        return Pending(partial(self._answer, batch))

    def _answer(self, batch: Sequence[Prepared]) -> list[EntryAnswer]:
        self.calls.append([each.index for each in batch])
        answer = self._answers.pop(0) if self._answers else {}
        if isinstance(answer, Exception):
            raise answer
        return [answer.get(each.index, EntryAnswer(message_id=f"id {each.index}")) for each in batch]

    def send(self, given: Sequence[Prepared], *, fifo: bool = False) -> list[str]:
        sender = BatchSender(self, fifo=fifo, sleep=self.pauses.append, randomness=lambda: 0.5)
        return read_message_ids(list(send_all(given, sender, max_size=ROOM)), sender.cause)


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

    def __call__(self, batch: Sequence[Prepared], until: float) -> Pending[list[EntryAnswer]]:
        return Pending(partial(self._answer, batch))

    def _answer(self, batch: Sequence[Prepared]) -> list[EntryAnswer]:
        self._together.wait(PATIENCE)
        return [EntryAnswer(message_id=f"id {each.index}") for each in batch]


def test_several_batches_are_under_way_at_once_and_are_told_of_in_order() -> None:
    sender = BatchSender(Gate(4), fifo=False)

    sent = list(send_all(entries(80), sender, max_size=ROOM, in_flight=4))

    assert sent == [Sent(index, f"id {index}") for index in range(80)]


def test_what_is_sent_is_taken_as_it_can_be_sent() -> None:
    taken: list[int] = []

    def give() -> Iterator[Prepared]:
        for each in entries(1_000):
            taken.append(each.index)
            yield each

    stream = send_all(give(), BatchSender(Script(), fifo=False), max_size=ROOM, in_flight=3)
    first = [next(stream) for _ in range(25)]

    assert [each.index for each in first] == list(range(25))
    assert len(taken) < 100
    assert len(list(stream)) == 975


def test_of_what_was_taken_before_the_entries_ended_with_an_error_everything_is_told() -> None:
    told: list[int] = []

    def give() -> Iterator[Prepared]:
        yield from entries(57)
        raise OSError("the file has a hole")

    with pytest.raises(OSError, match="a hole"):
        told.extend(
            each.index for each in send_all(give(), BatchSender(Script(), fifo=False), max_size=ROOM, in_flight=3)
        )

    # The last seven were no whole batch yet.
    assert told == list(range(50))


def test_what_cannot_be_sent_is_told_in_its_place() -> None:
    broken = FailedEntry(3, b"", "EncodeError", "cannot be sent")
    given: list[Prepared | FailedEntry] = [*entries(3), broken, entry(4)]
    script = Script()

    sent = list(send_all(given, BatchSender(script, fifo=False), max_size=ROOM))

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

    def __call__(self, batch: Sequence[Prepared], until: float) -> Pending[list[EntryAnswer]]:
        return Pending(partial(self._answer, batch))

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
        sender = BatchSender(unreliable, fifo=fifo, sleep=lambda _: None)
        return PublishError((), read_message_ids(list(send_all(given, sender, max_size=ROOM)), sender.cause))
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
