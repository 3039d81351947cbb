"""Messages on their way from queue to queue: whatever happens, none is lost, and FIFO stays in order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from megaflow.cli.held_messages import give_back
from megaflow.cli.mover import Mover, Nowhere
from megaflow.local import Account, SqsClient
from megaflow.messages.message import Message
from megaflow.transport.queue import OpenQueue
from tests.fakes import ScriptedClient, client_error

FIFO = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}


class Clock:
    """Time that passes where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Impatient(SqsClient):
    """A client whose polls do not wait: no time passes here by itself."""

    def receive_message(self, **parameters: Any) -> Any:
        return super().receive_message(**parameters | {"WaitTimeSeconds": 0})


class Place:
    """Two queues, and what is in them."""

    def __init__(self, *, fifo: bool = False) -> None:
        self.clock = Clock()
        self.sqs = Impatient(Account(clock=self.clock, random=Random(0)))
        suffix, attributes = (".fifo", FIFO) if fifo else ("", {})
        self.source, self.target = (
            self.sqs.create_queue(QueueName=name + suffix, Attributes=attributes)["QueueUrl"] for name in ("a", "b")
        )
        self.fifo = fifo

    def send(self, count: int, groups: int = 1) -> None:
        for number in range(count):
            group = {"MessageGroupId": f"g{number % groups}"} if self.fifo else {}
            self.sqs.send_message(QueueUrl=self.source, MessageBody=f'{{"n": {number}}}', **group)
        self.clock.sleep(1)

    def mover(self, client: Any = None, **options: Any) -> Mover:
        before = options.pop("before", datetime.fromtimestamp(self.clock(), UTC))
        client = client or self.sqs
        return Mover(
            lambda url: client,
            OpenQueue(client, self.source, clock=self.clock),
            options.pop("find_target", lambda message: self.target),
            before=before,
            clock=self.clock,
            sleep=self.clock.sleep,
            **options,
        )

    def take(self, url: str) -> list[str]:
        """Take all that is in the queue, by and by."""
        taken: list[str] = []
        for _ in range(3):
            while found := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
                for each in found:
                    self.sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
                    taken.append(each["Body"])
            self.clock.sleep(3_600)
        return taken


class Faulty:
    """A client with which the *fatal*-th call fails, before or after it took effect."""

    def __init__(self, sqs: SqsClient, fatal: int, *, after: bool) -> None:
        self._sqs = sqs
        self._left = fatal
        self._after = after

    def __getattr__(self, name: str) -> Any:
        call: Callable[..., Any] = getattr(self._sqs, name)

        def fail_once(**parameters: Any) -> Any:
            self._left -= 1
            if self._left != 0:
                return call(**parameters)
            if self._after:
                call(**parameters)
            raise KeyboardInterrupt

        return fail_once


def numbers(bodies: list[str]) -> list[int]:
    return [int(body.removeprefix('{"n": ').removesuffix("}")) for body in bodies]


def odd(message: Message) -> bool:
    return bool(message.payload["n"] % 2)


def test_all_goes_with_its_attributes() -> None:
    place = Place()
    attributes = {
        "text": {"DataType": "String", "StringValue": "x"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "megaflow-origin": {"DataType": "String", "StringValue": '{"message_id": "first"}'},
    }
    place.sqs.send_message(QueueUrl=place.source, MessageBody="ping", MessageAttributes=attributes)
    place.clock.sleep(1)

    mover = place.mover()
    mover.run()

    [message] = place.sqs.receive_message(QueueUrl=place.target, MessageAttributeNames=["All"])["Messages"]
    assert message["Body"] == "ping"
    assert message["MessageAttributes"] == attributes
    assert mover.tally.moved == {place.target: 1}
    assert place.take(place.source) == []


def test_all_goes_with_its_trace() -> None:
    place, header = Place(), "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    place.sqs.send_message(
        QueueUrl=place.source,
        MessageBody="x",
        MessageAttributes={"traceparent": {"DataType": "String", "StringValue": "00-1-2-01"}},
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": header}},
    )
    place.clock.sleep(1)

    place.mover().run()

    (moved,) = place.sqs.receive_message(
        QueueUrl=place.target, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
    )["Messages"]
    assert moved["Attributes"]["AWSTraceHeader"] == header
    assert moved["MessageAttributes"]["traceparent"]["StringValue"] == "00-1-2-01"


def test_what_does_not_match_stays_and_can_be_seen_at_once() -> None:
    place = Place()
    place.send(25)

    mover = place.mover(matches=odd)
    mover.run()

    assert (mover.tally.total, mover.tally.skipped) == (12, 13)
    assert len(place.sqs.receive_message(QueueUrl=place.source, MaxNumberOfMessages=10)["Messages"]) == 10
    assert sorted(numbers(place.take(place.source))) == list(range(0, 25, 2))
    assert sorted(numbers(place.take(place.target))) == list(range(1, 25, 2))


def test_a_dry_run_moves_nothing() -> None:
    place = Place()
    place.send(25)

    mover = place.mover(matches=odd, dry=True)
    mover.run()

    assert (mover.tally.total, mover.tally.skipped) == (12, 13)
    assert len(place.take(place.source)) == 25
    assert place.take(place.target) == []


def test_no_more_go_than_are_to() -> None:
    place = Place()
    place.send(25)

    place.mover(count=13).run()

    assert len(place.take(place.target)) == 13


def test_the_rate_is_kept() -> None:
    place = Place()
    place.send(25)
    began = place.clock()

    place.mover(rate=5, count=20).run()

    assert place.clock() - began == pytest.approx(3, abs=0.1)  # the first five go at once


def test_what_stays_is_hidden_for_as_long_as_it_takes() -> None:
    place = Place()
    place.send(30)

    mover = place.mover(matches=odd, rate=0.05)  # ten minutes
    mover.run()

    # None of those that stay was seen a second time, though each is hidden for two minutes at first.
    received = place.sqs.receive_message(
        QueueUrl=place.source, MaxNumberOfMessages=10, MessageSystemAttributeNames=["ApproximateReceiveCount"]
    )["Messages"]
    assert {each["Attributes"]["ApproximateReceiveCount"] for each in received} == {"2"}
    assert mover.tally.skipped == 15


def test_what_was_sent_since_stays() -> None:
    place = Place()
    place.send(5)
    before = datetime.fromtimestamp(place.clock(), UTC) + timedelta(seconds=1)
    place.clock.sleep(2)
    place.send(500)

    mover = place.mover(before=before)
    mover.run()

    assert sorted(numbers(place.take(place.target))) == [0, 1, 2, 3, 4]
    assert len(place.take(place.source)) == 500


def test_messages_without_a_place_to_go_stay() -> None:
    place = Place()
    place.send(5)

    mover = place.mover(find_target=lambda message: place.target if odd(message) else Nowhere("it is even"))
    mover.run()

    assert (mover.tally.total, mover.tally.lost_track) == (2, 3)
    assert [each.rpartition(": ")[2] for each in mover.tally.reasons] == ["it is even"] * 3
    assert len(place.take(place.source)) == 3


def test_messages_whose_place_is_where_they_are_stay() -> None:
    place = Place()
    place.send(5)

    mover = place.mover(find_target=lambda message: place.source)
    mover.run()

    assert (mover.tally.total, mover.tally.lost_track) == (0, 5)
    assert len(place.take(place.source)) == 5


def test_what_came_since_does_not_end_the_move_before_all_has_gone() -> None:
    place = Place()
    place.send(30)
    before = datetime.fromtimestamp(place.clock(), UTC)
    place.clock.sleep(1)
    place.send(150)

    mover = place.mover(before=before)
    mover.run(at_once=4)

    assert mover.tally.total == 30
    assert len(place.take(place.source)) == 150


def test_a_place_that_is_not_there_does_not_keep_others_from_theirs() -> None:
    place = Place()
    place.send(30)
    nowhere = place.target.replace("/b", "/nowhere")

    mover = place.mover(find_target=lambda message: place.target if odd(message) else nowhere)
    mover.run()

    assert (mover.tally.total, mover.tally.failed) == (15, 15)
    assert "NonExistentQueue" in mover.tally.reasons[0]
    assert len(place.take(place.source)) == len(place.take(place.target)) == 15


class Refusing:
    """A client that refuses a whole batch for one body in it, as SQS does for a text that it does not take."""

    def __init__(self, sqs: SqsClient, body: str, code: str) -> None:
        self._sqs = sqs
        self._body = body
        self._code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqs, name)

    def send_message_batch(self, **parameters: Any) -> Any:
        if any(each["MessageBody"] == self._body for each in parameters["Entries"]):
            raise client_error(self._code)
        return self._sqs.send_message_batch(**parameters)


@pytest.mark.parametrize("fifo", [False, True])
def test_a_message_for_which_a_batch_is_refused_keeps_no_other_from_its_place(fifo: bool) -> None:
    place = Place(fifo=fifo)
    place.send(10, groups=10)

    mover = place.mover(Refusing(place.sqs, '{"n": 3}', "InvalidMessageContents"))
    mover.run()

    assert (mover.tally.total, mover.tally.failed) == (9, 1)
    assert "InvalidMessageContents" in mover.tally.reasons[0]
    assert [each["Body"] for each in place.sqs.receive_message(QueueUrl=place.source)["Messages"]] == ['{"n": 3}']


def test_whatever_ends_a_move_all_that_was_received_is_given_back() -> None:
    place = Place()
    place.send(10)
    others = place.sqs.create_queue(QueueName="c")["QueueUrl"]

    with pytest.raises(KeyboardInterrupt):  # at the first of two batches
        place.mover(
            Faulty(place.sqs, 2, after=False), find_target=lambda message: others if odd(message) else place.target
        ).run()

    assert len(place.sqs.receive_message(QueueUrl=place.source, MaxNumberOfMessages=10)["Messages"]) == 10


def test_each_message_is_given_back_whatever_becomes_of_others() -> None:
    handles = [str(number) for number in range(25)]
    answers = [client_error("InternalError", status=500), {"Successful": []}, {"Successful": []}]
    client = ScriptedClient(*answers)

    with pytest.raises(ClientError, match="InternalError"):
        give_back(OpenQueue(client, "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"), handles)

    assert [each["ReceiptHandle"] for _, call in client.calls for each in call["Entries"]] == handles


def test_after_a_failed_entry_no_later_one_of_its_group_goes() -> None:
    place = Place(fifo=True)
    place.send(9, groups=3)
    bad = _FailsOne(place.sqs, '{"n": 3}')

    mover = place.mover(bad)
    mover.run()

    assert (mover.tally.total, mover.tally.failed) == (7, 1)
    assert sorted(numbers(place.take(place.target))) == [0, 1, 2, 4, 5, 7, 8]
    assert numbers(place.take(place.source)) == [3, 6]


class _FailsOne:
    """A client with which one body is refused."""

    def __init__(self, sqs: SqsClient, body: str) -> None:
        self._sqs = sqs
        self._body = body

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqs, name)

    def send_message_batch(self, **parameters: Any) -> Any:
        entries = parameters["Entries"]
        refused = [each for each in entries if each["MessageBody"] == self._body]
        rest = [each for each in entries if each not in refused]
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        if rest:
            answer = dict(self._sqs.send_message_batch(**parameters | {"Entries": rest}))
        failed = [{"Id": each["Id"], "Code": "InternalError", "SenderFault": False} for each in refused]
        return answer | {"Failed": failed}


@given(
    count=st.integers(0, 40),
    groups=st.integers(1, 5),
    fifo=st.booleans(),
    fatal=st.integers(1, 40),
    after=st.booleans(),
    filtered=st.booleans(),
)
def test_interrupted_anywhere_it_loses_nothing_and_repeats_what_was_in_hand_at_most(
    count: int, groups: int, fifo: bool, fatal: int, after: bool, filtered: bool
) -> None:
    place = Place(fifo=fifo)
    place.send(count, groups)

    try:
        place.mover(Faulty(place.sqs, fatal, after=after), **({"matches": odd} if filtered else {})).run()
    except KeyboardInterrupt:
        place.clock.sleep(3_600)
    there, here = numbers(place.take(place.target)), numbers(place.take(place.source))

    assert {*there, *here} == set(range(count))
    assert len(there) == len(set(there))
    assert len(here) == len(set(here))
    assert len(set(there) & set(here)) <= 10
    if fifo:
        for group in range(groups):
            assert [each for each in there if each % groups == group] == sorted(
                each for each in there if each % groups == group
            )


@given(count=st.integers(0, 30), groups=st.integers(1, 4), cuts=st.lists(st.tuples(st.integers(1, 20), st.booleans())))
def test_begun_again_and_again_a_fifo_move_brings_all_in_order_and_once(
    count: int, groups: int, cuts: list[tuple[int, bool]]
) -> None:
    place = Place(fifo=True)
    place.send(count, groups)

    for fatal, after in cuts:
        try:
            place.mover(Faulty(place.sqs, fatal, after=after)).run()
        except KeyboardInterrupt:
            place.clock.sleep(121)  # whoever died gave nothing back
    place.mover().run()

    there = numbers(place.take(place.target))
    assert len(there) >= count
    first_seen = list(dict.fromkeys(there))
    for group in range(groups):
        assert [each for each in first_seen if each % groups == group] == list(range(group, count, groups))
