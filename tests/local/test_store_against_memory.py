"""Random operations on an account in a file that is killed now and then, and on one in memory: nobody can tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from botocore.exceptions import ClientError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from megaflow.local.stored_message import Stored
from tests.examples import examples
from tests.local.conftest import Shop
from tests.local.kept import KeptShop, picture

URL = "http://sqs.localhost/000000000000/"
ARN = "arn:aws:sqs:us-east-1:000000000000:"
TOPIC_ARN = "arn:aws:sns:us-east-1:000000000000:news"
FIFO = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
SOURCES = ("orders", "orders.fifo")
NAMES = (*SOURCES, "dead", "dead.fifo")

names = st.sampled_from(NAMES)
groups = st.sampled_from("abc")
bodies = st.sampled_from([*"abcdefghijklm", "grün", "<&>\r\n"])
attributes = st.dictionaries(
    st.sampled_from("pq"),
    st.sampled_from(
        [
            {"DataType": "String", "StringValue": "é"},
            {"DataType": "Number", "StringValue": "1.50"},
            {"DataType": "Binary.raw", "BinaryValue": b"\x00\xff"},
        ]
    ),
)


class FileAgainstMemory(RuleBasedStateMachine):
    """Whatever standard queues do in any order is done for all that is there; so the order makes no difference."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.memory = Shop()
        self.file = KeptShop(directory=Path(self.directory.name))
        self.handles: list[dict[tuple[str, str], str]] = [{}, {}]
        """Of each shop, the latest by queue and message."""

    def teardown(self) -> None:
        self.file.close()
        self.directory.cleanup()

    def shops(self) -> Iterator[tuple[Shop, dict[tuple[str, str], str]]]:
        yield from zip((self.memory, self.file), self.handles, strict=True)

    def call(self, service: str, operation: str, **parameters: Any) -> None:
        in_memory, in_file = (
            getattr(getattr(shop, service), operation)(**parameters) for shop in (self.memory, self.file)
        )
        assert in_memory == in_file

    @initialize(count=st.sampled_from([1, 1, 2, 3]), retention=st.sampled_from(["100", "345600"]))
    def start(self, count: int, retention: str) -> None:
        for name in reversed(NAMES):
            kind = FIFO if name.endswith(".fifo") else {}
            self.call("sqs", "create_queue", QueueName=name, Attributes=kind)
        for name in SOURCES:
            dead_arn = f"{ARN}{name.replace('orders', 'dead')}"
            policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": count})
            told = {"RedrivePolicy": policy, "MessageRetentionPeriod": retention}
            self.call("sqs", "set_queue_attributes", QueueUrl=f"{URL}{name}", Attributes=told)
        for suffix, kind in (("", {}), (".fifo", {"FifoTopic": "true"})):
            self.call("sns", "create_topic", Name=f"news{suffix}", Attributes=kind)
            self.call(
                "sns", "subscribe", TopicArn=f"{TOPIC_ARN}{suffix}", Protocol="sqs", Endpoint=f"{ARN}orders{suffix}",
                Attributes={"RawMessageDelivery": "true", "FilterPolicy": '{"p": [{"exists": false}]}'},
            )  # fmt: skip

    @rule()
    def kill(self) -> None:
        self.file.kill()

    @rule(seconds=st.sampled_from([0.5, 1, 2, 5, 10, 40, 299]))
    def wait(self, seconds: float) -> None:
        for shop, _ in self.shops():
            shop.advance(seconds)

    @rule(body=bodies, attributes=attributes, delay=st.sampled_from([0, 5, 10]), group=groups | st.none())
    def send(self, body: str, attributes: dict[str, Any], delay: int, group: str | None) -> None:
        tenant = {} if group is None else {"MessageGroupId": group}
        parameters = {"MessageBody": body, "MessageAttributes": attributes, "DelaySeconds": delay, **tenant}
        self.call("sqs", "send_message", QueueUrl=f"{URL}orders", **parameters)

    @rule(sent=st.lists(st.tuples(bodies, groups), min_size=1, max_size=5))
    def send_in_order(self, sent: list[tuple[str, str]]) -> None:
        entries = [
            {"Id": str(place), "MessageBody": body, "MessageGroupId": group} for place, (body, group) in enumerate(sent)
        ]
        self.call("sqs", "send_message_batch", QueueUrl=f"{URL}orders.fifo", Entries=entries)

    @rule(body=bodies, attributes=attributes, group=groups)
    def publish(self, body: str, attributes: dict[str, Any], group: str) -> None:
        publication = {"Message": body, "MessageAttributes": attributes, "MessageGroupId": group}
        self.call("sns", "publish", TopicArn=TOPIC_ARN, **publication)
        self.call(
            "sns",
            "publish",
            TopicArn=f"{TOPIC_ARN}.fifo",
            **publication,
            MessageDeduplicationId=f"id-{body.encode().hex()}",
        )

    @rule(name=st.sampled_from([*SOURCES, *NAMES]), timeout=st.sampled_from([1, 5, 20]))
    def receive_all(self, name: str, timeout: int) -> None:
        # One of each group, so that the order of groups makes no difference either.
        count = 1 if name.endswith(".fifo") else 10
        in_memory, in_file = (self.drain(shop, handles, name, count, timeout) for shop, handles in self.shops())
        assert in_memory == in_file

    def drain(
        self, shop: Shop, handles: dict[tuple[str, str], str], name: str, count: int, timeout: int
    ) -> dict[str, dict[str, Any]]:
        asked = {"VisibilityTimeout": timeout, "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
        seen: dict[str, dict[str, Any]] = {}
        while messages := shop.receive(f"{URL}{name}", count, **asked):
            for message in messages:
                handles[name, message["MessageId"]] = message.pop("ReceiptHandle")
                if name == "dead.fifo":
                    del message["Attributes"]["SequenceNumber"]
                seen[message["MessageId"]] = message
        return seen

    @precondition(lambda self: self.handles[0])
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name, message_id = data.draw(st.sampled_from(sorted(self.handles[0])))
        self.settle("delete_message", name, message_id)

    @precondition(lambda self: self.handles[0])
    @rule(data=st.data(), timeout=st.sampled_from([0, 1, 30]))
    def change_visibility(self, data: st.DataObject, timeout: int) -> None:
        name, message_id = data.draw(st.sampled_from(sorted(self.handles[0])))
        self.settle("change_message_visibility", name, message_id, VisibilityTimeout=timeout)

    def settle(self, operation: str, name: str, message_id: str, **parameters: int) -> None:
        in_memory, in_file = (
            outcome(shop, operation, QueueUrl=f"{URL}{name}", ReceiptHandle=handles[name, message_id], **parameters)
            for shop, handles in self.shops()
        )
        assert in_memory == in_file

    @rule(name=names, attribute=st.sampled_from(["DelaySeconds", "VisibilityTimeout"]), value=st.integers(0, 20))
    def set_attribute(self, name: str, attribute: str, value: int) -> None:
        told = {attribute: str(value)}
        self.call("sqs", "set_queue_attributes", QueueUrl=f"{URL}{name}", Attributes=told)

    @precondition(lambda self: len(self.handles[0]) > 20)
    @rule(name=names)
    def purge(self, name: str) -> None:
        in_memory, in_file = (outcome(shop, "purge_queue", QueueUrl=f"{URL}{name}") for shop, _ in self.shops())
        assert in_memory == in_file

    @invariant()
    def nobody_can_tell(self) -> None:
        assert normal(self.memory) == normal(self.file)


def outcome(shop: Shop, operation: str, **parameters: Any) -> str:
    try:
        getattr(shop.sqs, operation)(**parameters)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "done"


def normal(shop: Shop) -> dict[str, Any]:
    """Show all there is to know, with ids for the numbers of messages: those follow the order of receiving."""
    shown = picture(shop.account)
    for hosted in shown["queues"].values():
        queue = hosted["queue"]
        ids = {number: stored.message.id for number, stored in queue["_messages"].items()}
        for timers in ("_ages", "_delayed", "_in_flight"):
            queue[timers] = {ids[number]: time for number, time in queue[timers].items()}
        queue["_messages"] = {stored.message.id: unnumbered(stored) for stored in queue["_messages"].values()}
        queue["waiting"] = sorted(ids[number] for number in queue["waiting"])
        queue["groups"] = {
            name: (held, sorted(ids[number] for number in waiting)) for name, (held, waiting) in queue["groups"].items()
        }
    return shown


def unnumbered(stored: Stored) -> Stored:
    return replace(stored, number=0, message=replace(stored.message, sequence_number=None))


TestFileAgainstMemory = FileAgainstMemory.TestCase
TestFileAgainstMemory.settings = settings(
    max_examples=examples(60), stateful_step_count=40, deadline=None, database=None
)
