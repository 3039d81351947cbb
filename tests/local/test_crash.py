"""The server is killed a hundred times and more under load; what it answered stands, and nothing deleted comes back."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from megaflow.local import Account, SqsClient
from megaflow.local.file.store import Store
from tests.waiting import PATIENCE, wait_until

KILLS = 100
GROUPS = ("red", "green", "blue")
FAR = 13 * 3600
"""Seconds until everything that is in flight is visible again."""

Answer = dict[str, Any]
Call = Callable[..., Answer]
KILLED = (OSError, HTTPException)


@dataclass
class Ledger:
    """What one queue must hold, by body, as far as its callers were told."""

    there: set[str] = field(default_factory=set)
    perhaps_sent: set[str] = field(default_factory=set)
    perhaps_deleted: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    receive_counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sent(self, *bodies: str) -> None:
        """Note an answered send; its message may have been deleted before."""
        with self.lock:
            self.there.update(set(bodies) - self.gone)

    def deleted(self, *bodies: str) -> None:
        """Note an answered delete."""
        with self.lock:
            self.gone.update(bodies)
            self.there -= self.gone
            self.perhaps_sent -= self.gone
            self.perhaps_deleted -= self.gone

    def check(self, found: list[tuple[str, int]]) -> None:
        """Compare with the bodies that were *found*, each with its receive count; then nothing is doubtful any more."""
        bodies = {body for body, _ in found}
        assert len(bodies) == len(found), "a message is there twice"
        assert self.there - self.perhaps_deleted <= bodies, "an answered send is lost"
        assert bodies <= self.there | self.perhaps_sent, "a deleted message came back"
        assert [(body, count) for body, count in found if count <= self.receive_counts[body]] == []
        self.gone |= self.there - bodies
        self.there = bodies
        self.perhaps_sent.clear()
        self.perhaps_deleted.clear()


class Load:
    """Five callers of one server, each with a connection of its own, until it is killed."""

    def __init__(self) -> None:
        self.standard, self.fifo, self.topic = Ledger(), Ledger(), Ledger()
        self.ledgers = {"standard": self.standard, "topic": self.topic, "fifo.fifo": self.fifo}
        self.numbers = dict.fromkeys(GROUPS, 0)
        self.published = self.sent = 0
        self.answers = 0

    def callers(self) -> list[Callable[[Call], None]]:
        return [self.send, self.send_in_order, self.publish, self.consume, self.consume_in_order]

    def send(self, call: Call) -> None:
        bodies = [f"standard-{self.sent + index}" for index in range(3)]
        self.sent += 3
        self.standard.perhaps_sent.update(bodies)
        entries = [{"Id": str(index), "MessageBody": body} for index, body in enumerate(bodies)]
        call("SendMessageBatch", QueueUrl="standard", Entries=entries)
        self.standard.sent(*bodies)

    def send_in_order(self, call: Call) -> None:
        for group in GROUPS:
            number = self.numbers[group]
            if number:
                # It was answered: this changes nothing, be the message there or deleted.
                send_in_order(call, group, f"{group}-{number - 1}")
            body = f"{group}-{number}"
            self.fifo.perhaps_sent.add(body)
            # Unanswered, it is sent again with the same deduplication id, and is there once.
            send_in_order(call, group, body)
            self.fifo.sent(body)
            self.numbers[group] += 1

    def publish(self, call: Call) -> None:
        body = f"published-{self.published}"
        self.published += 1
        self.topic.perhaps_sent.add(body)
        call("Publish", Message=body)
        self.topic.sent(body)

    def consume(self, call: Call) -> None:
        for name, ledger in (("standard", self.standard), ("topic", self.topic)):
            received = receive(call, name, ledger)
            # Some are left, to come again.
            entries = [{"Id": str(index), "ReceiptHandle": handle} for index, (_, handle) in enumerate(received[1:])]
            if entries:
                bodies = [body for body, _ in received[1:]]
                ledger.perhaps_deleted.update(bodies)
                call("DeleteMessageBatch", QueueUrl=name, Entries=entries)
                ledger.deleted(*bodies)

    def consume_in_order(self, call: Call) -> None:
        received = receive(call, "fifo.fifo", self.fifo)
        middle = len(received) // 2 + 1
        for body, handle in received[:middle]:
            self.fifo.perhaps_deleted.add(body)
            call("DeleteMessage", QueueUrl="fifo.fifo", ReceiptHandle=handle)
            self.fifo.deleted(body)
        for _, handle in received[middle:]:
            call("ChangeMessageVisibility", QueueUrl="fifo.fifo", ReceiptHandle=handle, VisibilityTimeout=0)


def send_in_order(call: Call, group: str, body: str) -> None:
    call("SendMessage", QueueUrl="fifo.fifo", MessageBody=body, MessageGroupId=group, MessageDeduplicationId=body)


def receive(call: Call, name: str, ledger: Ledger) -> list[tuple[str, str]]:
    answer = call(
        "ReceiveMessage",
        QueueUrl=name,
        MaxNumberOfMessages=10,
        VisibilityTimeout=20,
        MessageSystemAttributeNames=["ApproximateReceiveCount"],
    )
    messages = answer.get("Messages", [])
    for message in messages:
        ledger.receive_counts[message["Body"]] = int(message["Attributes"]["ApproximateReceiveCount"])
    return [(message["Body"], message["ReceiptHandle"]) for message in messages]


@dataclass
class Connection:
    """One connection to the server, with short names for its queues and its topic."""

    port: int

    def __post_init__(self) -> None:
        self.http = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def __call__(self, operation: str, **ask: Any) -> Answer:
        if operation == "Publish":
            return self._publish(ask["Message"])
        if "QueueUrl" in ask:
            ask["QueueUrl"] = f"http://127.0.0.1/000000000000/{ask['QueueUrl']}"
        return self._post(json.dumps(ask), {"X-Amz-Target": f"AmazonSQS.{operation}"})

    def sns(self, **form: str) -> str:
        fields = "&".join(f"{name.replace('_', '.')}={value}" for name, value in form.items())
        self.http.request("POST", "/", fields, {"Content-Type": "application/x-www-form-urlencoded"})
        response = self.http.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return text

    def _publish(self, message: str) -> Answer:
        self.sns(Action="Publish", TopicArn="arn:aws:sns:us-east-1:000000000000:news", Message=message)
        return {}

    def _post(self, body: str, headers: dict[str, str]) -> Answer:
        self.http.request("POST", "/", body, headers)
        response = self.http.getresponse()
        text = response.read()
        assert response.status == 200, text
        answer: Answer = json.loads(text) if text else {}
        assert "Failed" not in answer, answer
        return answer


class Process:
    """A server on a file, as a process that can be killed."""

    def __init__(self, file: Path) -> None:
        command = [sys.executable, "-m", "megaflow.local", "--port", "0", "--data", str(file)]
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.popen.stdout is not None
        self.port = int(self.popen.stdout.readline().split(",")[0].rpartition(":")[2])

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()
        assert self.popen.stdout is not None
        self.popen.stdout.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def set_up(file: Path) -> None:
    server = Process(file)
    call = Connection(server.port)
    for name, attributes in (("standard", {}), ("topic", {}), ("fifo.fifo", {"FifoQueue": "true"})):
        call("CreateQueue", QueueName=name, Attributes=attributes)
    call.sns(Action="CreateTopic", Name="news")
    call.sns(
        Action="Subscribe",
        TopicArn="arn:aws:sns:us-east-1:000000000000:news",
        Protocol="sqs",
        Endpoint="arn:aws:sqs:us-east-1:000000000000:topic",
        Attributes_entry_1_key="RawMessageDelivery",
        Attributes_entry_1_value="true",
    )
    call.http.close()
    server.kill()


def run_until_killed(load: Load, file: Path, answers: int) -> None:
    """Let the callers have about so many answers, and kill the server in the midst of it."""
    server, enough = Process(file), load.answers + answers

    def repeat(caller: Callable[[Call], None]) -> None:
        call = Connection(server.port)
        try:
            while True:
                caller(call)
                load.answers += 1
        except KILLED:
            call.http.close()

    threads = [threading.Thread(target=repeat, args=(caller,)) for caller in load.callers()]
    for thread in threads:
        thread.start()
    wait_until(lambda: load.answers >= enough)
    server.kill()
    for thread in threads:
        thread.join()


def drain(file: Path, scratch: Path) -> dict[str, list[tuple[str, int]]]:
    """Return what a copy of the file holds: each queue's bodies in the order of receiving, and their receive counts."""
    for part in file.parent.glob(f"{file.name}*"):
        shutil.copy(part, scratch / part.name)
    account = Account(clock=lambda: time.time() + FAR)
    store = Store(scratch / file.name)
    store.load(account)
    sqs = SqsClient(account)
    found = {name: drain_queue(sqs, account.queue_url(name)) for name in ("standard", "topic", "fifo.fifo")}
    store.close()
    return found


def drain_queue(sqs: SqsClient, url: str) -> list[tuple[str, int]]:
    found = []
    names = ["ApproximateReceiveCount"]
    while received := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=names).get("Messages"):
        for message in received:
            found.append((message["Body"], int(message["Attributes"]["ApproximateReceiveCount"])))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def check_order(found: list[tuple[str, int]]) -> None:
    for group in GROUPS:
        numbers = [int(body.rpartition("-")[2]) for body, _ in found if body.startswith(f"{group}-")]
        in_order = list(range(numbers[0], numbers[-1] + 1)) if numbers else []
        assert numbers == in_order, "a message of a group is missing, out of order or there twice"


@pytest.mark.long
@pytest.mark.usefixtures("set_up")
def test_what_was_answered_survives_a_hundred_kills(file: Path, tmp_path: Path) -> None:
    load, moments = Load(), random.Random(7)
    scratch = tmp_path / "copy"
    scratch.mkdir()

    kills = 0
    # A kill may leave every group in flight for its visibility timeout: how much is deleted between two is chance.
    while kills < KILLS or min(len(ledger.gone) for ledger in load.ledgers.values()) <= KILLS:
        assert kills < 20 * KILLS, "almost nothing is deleted"
        run_until_killed(load, file, moments.randrange(50))
        kills += 1
        found = drain(file, scratch)
        check_order(found["fifo.fifo"])
        for name, ledger in load.ledgers.items():
            ledger.check(found[name])

    gone = [len(ledger.gone) for ledger in load.ledgers.values()]
    print(f"{kills} kills, {load.answers} rounds of calls; gone: {gone}")
