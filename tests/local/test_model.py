"""Random operations by a random clock against a naive model of a queue: a list and a loop."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ClientError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from megaflow.local import Account, SqsClient
from megaflow.local.file.store import Store
from tests.examples import examples
from tests.local.conftest import Shop

RETENTION = 100
MAX_RECEIVES = 3

counts = st.sampled_from([1, 2, 3, 10])
delays = st.sampled_from([0, 0, 0, 5, 10])
timeouts = st.sampled_from([0, 0, 0, 1, 5, 20])
few = st.sampled_from("abc")


@dataclass
class Known:
    """What the model knows of one message."""

    id: str
    group: str
    expires_at: float
    delayed_until: float
    handles: list[str] = field(default_factory=list)
    hidden_until: float = 0.0


@dataclass
class Attempt:
    """What the model knows of an attempt to receive: whom it got, and until when they are hidden."""

    handles: list[str]
    hidden_until: float
    ends_at: float


class QueueAgainstModel(RuleBasedStateMachine):
    fifo: ClassVar[bool] = False

    @initialize()
    def start(self) -> None:
        self.shop = self.open()
        suffix, kind = (".fifo", {"FifoQueue": "true"}) if self.fifo else ("", {})
        self.dead_url = self.shop.queue(f"dead{suffix}", **kind)
        policy = {"deadLetterTargetArn": self.arn(self.dead_url), "maxReceiveCount": MAX_RECEIVES}
        self.url = self.shop.queue(
            f"orders{suffix}", RedrivePolicy=json.dumps(policy), MessageRetentionPeriod=str(RETENTION), **kind
        )
        self.known: list[Known] = []
        self.handles: deque[str] = deque(maxlen=12)
        self.sent_ids: dict[str, tuple[float, str]] = {}
        self.attempts: dict[str, Attempt] = {}
        self.dead: set[str] = set()

    def open(self) -> Shop:
        return Shop()

    def arn(self, url: str) -> str:
        return self.shop.account.queue(url).queue.arn

    @property
    def now(self) -> float:
        return self.shop.clock.now

    def in_flight(self, message: Known) -> bool:
        return message.hidden_until > self.now

    def visible(self) -> list[Known]:
        return [one for one in self.known if one.delayed_until <= self.now and not self.in_flight(one)]

    def receivable(self) -> list[Known]:
        if not self.fifo:
            return self.visible()
        return [one for one in self.visible() if not self.is_behind_one_in_flight(one)]

    def is_behind_one_in_flight(self, message: Known) -> bool:
        before = self.known[: self.known.index(message)]
        return any(one.group == message.group and self.in_flight(one) for one in before)

    @rule(seconds=st.sampled_from([1, 1, 2, 5, 10, 40]))
    def wait(self, seconds: int) -> None:
        self.shop.clock.now += seconds
        self.known = [one for one in self.known if one.expires_at > self.now]

    @rule(group=few, delay=delays, deduplication_ids=st.lists(st.integers(0, 40).map(str), min_size=1, max_size=4))
    def send(self, group: str, delay: int, deduplication_ids: list[str]) -> None:
        for deduplication_id in deduplication_ids:
            sent = self.sent(group, delay, deduplication_id)
            answer = self.shop.sqs.send_message(QueueUrl=self.url, **sent)
            self.note_sent(sent, answer["MessageId"])

    @rule(sent=st.lists(st.tuples(few, delays, st.integers(0, 40).map(str)), min_size=1, max_size=10))
    def send_batch(self, sent: list[tuple[str, int, str]]) -> None:
        entries = [{"Id": str(place), **self.sent(*one)} for place, one in enumerate(sent)]
        answer = self.shop.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
        for entry, done in zip(entries, answer["Successful"], strict=True):
            assert done["Id"] == entry["Id"]
            self.note_sent(entry, done["MessageId"])

    def sent(self, group: str, delay: int, deduplication_id: str) -> dict[str, Any]:
        own = {"MessageDeduplicationId": deduplication_id} if self.fifo else {"DelaySeconds": delay}
        return {"MessageBody": "x", "MessageGroupId": group, **own}

    def note_sent(self, sent: dict[str, Any], message_id: str) -> None:
        if self.fifo:
            sent_at, first = self.sent_ids.get(sent["MessageDeduplicationId"], (self.now - 300, ""))
            if sent_at + 300 > self.now:
                assert message_id == first
                return
            self.sent_ids[sent["MessageDeduplicationId"]] = (self.now, message_id)
        delayed_until = self.now + sent.get("DelaySeconds", 0)
        self.known.append(Known(message_id, sent["MessageGroupId"], self.now + RETENTION, delayed_until))

    @rule(count=counts, timeout=timeouts)
    def receive(self, count: int, timeout: int) -> None:
        self.receive_anew(count, timeout)

    @precondition(lambda self: self.fifo)
    @rule(count=counts, timeout=st.sampled_from([5, 5, 20, 20, 0]), attempt_id=st.sampled_from("ab"))
    def attempt_to_receive(self, count: int, timeout: int, attempt_id: str) -> None:
        attempt = self.attempts.get(attempt_id)
        if attempt is not None and attempt.ends_at > self.now and self.is_unchanged(attempt):
            again = self.shop.receive(self.url, count, VisibilityTimeout=timeout, ReceiveRequestAttemptId=attempt_id)
            assert [message["ReceiptHandle"] for message in again] == attempt.handles
            for handle in attempt.handles:
                self.current(handle).hidden_until = self.now + timeout
        else:
            ends_at = attempt.ends_at if attempt is not None and attempt.ends_at > self.now else self.now + 300
            received = self.receive_anew(count, timeout, ReceiveRequestAttemptId=attempt_id)
            if not received:
                return
            attempt = Attempt([message["ReceiptHandle"] for message in received], 0.0, ends_at)
        attempt.hidden_until = self.now + timeout
        self.attempts[attempt_id] = attempt

    def is_unchanged(self, attempt: Attempt) -> bool:
        return bool(attempt.handles) and all(
            (one := self.holder(handle)) is not None
            and one.handles[-1] == handle
            and self.in_flight(one)
            and one.hidden_until == attempt.hidden_until
            for handle in attempt.handles
        )

    def receive_anew(self, count: int, timeout: int, **parameters: str) -> list[dict[str, Any]]:
        before = self.receivable()
        received = self.shop.receive(self.url, count, VisibilityTimeout=timeout, **parameters)
        moved = self.newly_dead()

        touched = {message["MessageId"] for message in received} | moved
        assert touched <= {one.id for one in before}
        assert {one.id for one in before if len(one.handles) == MAX_RECEIVES} >= moved
        if len(received) < count:
            assert touched == {one.id for one in before}
        if self.fifo:
            self.check_order(before, touched, [message["MessageId"] for message in received])
        self.known = [one for one in self.known if one.id not in moved]
        self.note(received, timeout)
        return received

    def check_order(self, before: list[Known], touched: set[str], received: list[str]) -> None:
        for group in {one.group for one in before}:
            waiting = [one.id for one in before if one.group == group]
            mine = [one for one in waiting if one in touched]
            assert waiting[: len(mine)] == mine
            assert [one for one in received if one in mine] == [one for one in mine if one in received]

    def newly_dead(self) -> set[str]:
        queue = self.shop.account.queue(self.dead_url).queue
        dead = {stored.message.id for stored in queue.messages._messages.values()}
        moved, self.dead = dead - self.dead, dead
        return moved

    def note(self, received: list[dict[str, Any]], timeout: int) -> None:
        by_id = {one.id: one for one in self.known}
        for message in received:
            one = by_id[message["MessageId"]]
            assert len(one.handles) < MAX_RECEIVES
            one.handles.append(message["ReceiptHandle"])
            one.hidden_until = self.now + timeout
            self.handles.append(message["ReceiptHandle"])

    def holder(self, handle: str) -> Known | None:
        return next((one for one in self.known if handle in one.handles), None)

    def current(self, handle: str) -> Known:
        return next(one for one in self.known if one.handles[-1:] == [handle])

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(self.handles))
        if self.delete_in_model(handle):
            self.shop.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=handle)
        else:
            with pytest.raises(ClientError, match="The receipt handle has expired"):
                self.shop.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=handle)

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def delete_batch(self, data: st.DataObject) -> None:
        handles = data.draw(st.lists(st.sampled_from(self.handles), min_size=1, max_size=10))
        entries = [{"Id": str(place), "ReceiptHandle": handle} for place, handle in enumerate(handles)]
        answer = self.shop.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)
        assert self.outcomes(answer) == [self.delete_in_model(handle) for handle in handles]

    def delete_in_model(self, handle: str) -> bool:
        """Delete in the model; tell whether SQS says that it did so."""
        one = self.holder(handle)
        if one is None:
            return True
        if self.fifo and not (handle == one.handles[-1] and self.in_flight(one)):
            return False
        self.known.remove(one)
        return True

    def outcomes(self, answer: dict[str, Any]) -> list[bool]:
        """Return which entries of a batch succeeded, in their order."""
        done = {int(entry["Id"]): True for entry in answer.get("Successful", [])}
        failed = {int(entry["Id"]): False for entry in answer.get("Failed", [])}
        assert not done.keys() & failed.keys()
        return [succeeded for _, succeeded in sorted({**done, **failed}.items())]

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), timeout=timeouts)
    def change_visibility(self, data: st.DataObject, timeout: int) -> None:
        handle = data.draw(st.sampled_from(self.handles))
        change = {"QueueUrl": self.url, "ReceiptHandle": handle, "VisibilityTimeout": timeout}
        if self.hide_in_model(handle, timeout):
            self.shop.sqs.change_message_visibility(**change)
        else:
            with pytest.raises(ClientError):
                self.shop.sqs.change_message_visibility(**change)

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def change_visibility_batch(self, data: st.DataObject) -> None:
        changes = data.draw(st.lists(st.tuples(st.sampled_from(self.handles), timeouts), min_size=1, max_size=10))
        entries = [
            {"Id": str(place), "ReceiptHandle": handle, "VisibilityTimeout": timeout}
            for place, (handle, timeout) in enumerate(changes)
        ]
        answer = self.shop.sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)
        assert self.outcomes(answer) == [self.hide_in_model(handle, timeout) for handle, timeout in changes]

    def hide_in_model(self, handle: str, timeout: int) -> bool:
        """Hide in the model; tell whether SQS says that it did so."""
        one = self.holder(handle)
        if one is None or (self.fifo and not (handle == one.handles[-1] and self.in_flight(one))):
            return False
        one.hidden_until = self.now + timeout
        return True

    @precondition(lambda self: len(self.known) > 25)
    @rule()
    def purge(self) -> None:
        self.shop.account.queue(self.url).queue.purge()
        self.known.clear()
        self.sent_ids.clear()
        self.attempts.clear()

    @invariant()
    def both_count_the_same(self) -> None:
        delayed = sum(one.delayed_until > self.now for one in self.known)
        in_flight = sum(map(self.in_flight, self.known))
        assert self.shop.counts(self.url) == (len(self.visible()), in_flight, delayed)


class FifoQueueAgainstModel(QueueAgainstModel):
    fifo = True


class KeptQueueAgainstModel(QueueAgainstModel):
    """The same in a file, which at random is opened by another account, as after a crash."""

    def open(self) -> Shop:
        self.folder = TemporaryDirectory()
        self.store = Store(Path(self.folder.name, "queue.db"))
        shop = super().open()
        self.store.load(shop.account)
        return shop

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store(self.store.path)
        account = Account(clock=self.shop.clock)
        self.store.load(account)
        self.shop.account, self.shop.sqs = account, SqsClient(account)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


class KeptFifoQueueAgainstModel(KeptQueueAgainstModel):
    fifo = True


QueueAgainstModel.TestCase.settings = settings(
    max_examples=examples(100), stateful_step_count=60, deadline=None, database=None
)
FifoQueueAgainstModel.TestCase.settings = QueueAgainstModel.TestCase.settings
KeptQueueAgainstModel.TestCase.settings = settings(QueueAgainstModel.TestCase.settings, max_examples=examples(40))
KeptFifoQueueAgainstModel.TestCase.settings = KeptQueueAgainstModel.TestCase.settings
TestStandardQueue = QueueAgainstModel.TestCase
TestFifoQueue = FifoQueueAgainstModel.TestCase
TestStandardQueueInAFile = KeptQueueAgainstModel.TestCase
TestFifoQueueInAFile = KeptFifoQueueAgainstModel.TestCase
