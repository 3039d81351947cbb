"""What tests need beside the calls: everything forgotten, messages seen, time let pass; in Python and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from megaflow.errors import UsageError
from megaflow.local import Account, Clock, Fault, FaultKind, Faults, PeekedMessage, SnsClient, SqsClient
from megaflow.local.file.store import Store
from megaflow.local.server import Server
from tests.local.conftest import Shop
from tests.local.wire import Answer, Wire


def states(peeked: list[PeekedMessage]) -> dict[str, tuple[str, float | None]]:
    return {each.body: (each.state, each.until) for each in peeked}


def test_messages_are_seen_in_every_state(shop: Shop) -> None:
    url = shop.queue()
    for body, delay in (("in flight", 0), ("visible", 0), ("delayed", 60)):
        shop.send(url, body, DelaySeconds=delay)
    shop.receive(url, 1, VisibilityTimeout=30)

    peeked = shop.account.peek("orders")

    now = shop.clock.now
    assert states(peeked) == {
        "in flight": ("in flight", now + 30),
        "visible": ("visible", None),
        "delayed": ("delayed", now + 60),
    }
    assert [each.receive_count for each in peeked] == [1, 0, 0]
    assert shop.counts(url) == (1, 1, 1)


def test_what_is_seen_is_all_there_is(shop: Shop) -> None:
    url = shop.fifo_queue(DelaySeconds="5")
    attributes = {"a": {"DataType": "Binary", "BinaryValue": b"\x00"}}
    sent = shop.sqs.send_message(
        QueueUrl=url,
        MessageBody="hello",
        MessageGroupId="g",
        MessageDeduplicationId="d",
        MessageAttributes=attributes,
    )

    (peeked,) = shop.account.peek(url)

    assert peeked == PeekedMessage(
        id=sent["MessageId"],
        body="hello",
        attributes=attributes,
        state="delayed",
        until=shop.clock.now + 5,
        sent_at=shop.clock.now,
        receive_count=0,
        group_id="g",
        deduplication_id="d",
        sequence_number=sent["SequenceNumber"],
    )


def test_a_queue_that_is_reset_takes_again_what_it_was_sent(shop: Shop) -> None:
    url = shop.fifo_queue()
    shop.send(url, "a", MessageGroupId="g")
    shop.sqs.purge_queue(QueueUrl=url)
    shop.send(url, "a", MessageGroupId="g")

    shop.account.reset(url)
    shop.send(url, "a", MessageGroupId="g")
    shop.sqs.purge_queue(QueueUrl=url)

    assert shop.counts(url) == (0, 0, 0)


def test_everything_is_forgotten(shop: Shop) -> None:
    url, sns = shop.queue(), SnsClient(shop.account)
    shop.send(url, "a")
    topic = sns.create_topic(Name="news")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=shop.account.queue(url).queue.arn)
    shop.sqs.delete_queue(QueueUrl=shop.queue("gone"))
    shop.account.faults = Faults([Fault("SendMessage", FaultKind.FAIL_BEFORE)])

    shop.account.reset()

    assert "QueueUrls" not in shop.sqs.list_queues()
    assert sns.list_topics()["Topics"] == []
    assert shop.counts(shop.queue("gone")) == (0, 0, 0)
    shop.send(shop.queue(), "b")
    assert states(shop.account.peek("orders")) == {"b": ("visible", None)}


def test_who_waits_for_a_queue_that_is_forgotten_is_told(shop: Shop) -> None:
    url = shop.queue()
    with shop.account.turn():
        poll = shop.account.park(url, lambda: {"Messages": each} if (each := shop.account.receive(url, 1)) else {}, 20)

    shop.account.reset()

    assert "QueueDoesNotExist" in str(poll.answer.exception())


def test_what_is_forgotten_does_not_come_back(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    account, store = Account(), Store(path)
    store.load(account)
    url = SqsClient(account).create_queue(QueueName="orders")["QueueUrl"]
    SqsClient(account).send_message(QueueUrl=url, MessageBody="a")
    SnsClient(account).create_topic(Name="news")

    account.reset()
    store.close()

    opened, store = Account(), Store(path)
    store.load(opened)
    assert (opened.queues, opened.topics) == ({}, {})
    store.close()


@pytest.mark.parametrize("name", ["nowhere", "http://localhost/111111111111/orders", ""])
def test_a_queue_that_is_not_there_is_said_to_be_none(shop: Shop, name: str) -> None:
    shop.queue()

    with pytest.raises(UsageError, match="there is no queue"):
        shop.account.peek(name)
    with pytest.raises(UsageError, match="there is no queue"):
        shop.account.reset(name)


def test_time_passes_when_it_is_told_to() -> None:
    account = Account(clock=Clock())
    sqs = SqsClient(account)
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="a", DelaySeconds=900)

    account.advance(900)

    assert [each["Body"] for each in sqs.receive_message(QueueUrl=url)["Messages"]] == ["a"]


def test_time_does_not_go_back() -> None:
    with pytest.raises(UsageError, match="not by -1"):
        Account(clock=Clock()).advance(-1)


@pytest.mark.parametrize("seconds", [1e18, float("inf"), float("nan")])
def test_time_does_not_go_beyond_what_a_date_can_say(seconds: float) -> None:
    account = Account(clock=Clock())

    with pytest.raises(UsageError, match="up to the year 9000"):
        account.advance(seconds)

    account.advance(200 * 365 * 24 * 3600)
    topic = SnsClient(account).create_topic(Name="news")["TopicArn"]
    assert SnsClient(account).publish(TopicArn=topic, Message="hello")["MessageId"]


def test_another_clock_is_moved_by_its_owner(shop: Shop) -> None:
    with pytest.raises(UsageError, match="only a Clock can be moved"):
        shop.account.advance(1)


def test_an_account_may_be_relaxed_about_the_minute() -> None:
    sqs = SqsClient(Account(relaxed=True))
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]

    for _ in range(2):
        sqs.purge_queue(QueueUrl=url)
    sqs.delete_queue(QueueUrl=url)
    sqs.create_queue(QueueName="orders")


def test_an_account_is_not_relaxed_by_itself(shop: Shop) -> None:
    url = shop.queue()
    shop.sqs.purge_queue(QueueUrl=url)

    with pytest.raises(ClientError, match="every 60 seconds"):
        shop.sqs.purge_queue(QueueUrl=url)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def sqs(server: Server) -> SqsClient:
    return SqsClient(server.account)


class Browser:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def ask(self, method: str, path: str, *headers: str, document: Any = None) -> Answer:
        body = b"" if document is None else json.dumps(document).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, f"Content-Length: {len(body)}", "", ""]
        self._wire.send("\r\n".join(lines).encode() + body)
        return self._wire.answer()


@pytest.fixture
def browser(server: Server) -> Iterator[Browser]:
    with Wire(server.url) as wire:
        yield Browser(wire)


def test_messages_are_seen_over_http(browser: Browser, sqs: SqsClient) -> None:
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    attributes = {"a": {"DataType": "Binary", "BinaryValue": b"\x00"}}
    sqs.send_message(QueueUrl=url, MessageBody="\N{SNOWMAN}", MessageAttributes=attributes)

    for queue in ("orders", url):
        (message,) = browser.ask("GET", f"/_megaflow/messages?queue={queue}").json["messages"]
        assert (message["body"], message["state"], message["receive_count"]) == ("\N{SNOWMAN}", "visible", 0)
        assert message["attributes"] == {"a": {"DataType": "Binary", "BinaryValue": "AA=="}}


def test_everything_is_forgotten_over_http(server: Server, browser: Browser, sqs: SqsClient) -> None:
    other = server.accounts.at("eu-west-1", "123456789012")
    for account in (server.account, other):
        SqsClient(account).create_queue(QueueName="orders")

    answer = browser.ask("POST", "/_megaflow/reset")

    assert answer.status == 204
    assert (server.account.queues, other.queues) == ({}, {})


def test_one_queue_is_reset_over_http(server: Server, browser: Browser) -> None:
    other = server.accounts.at("eu-west-1", "123456789012")
    for account in (server.account, other):
        SqsClient(account).create_queue(QueueName="orders")
        SqsClient(account).send_message(QueueUrl="orders", MessageBody="a")

    answer = browser.ask("POST", "/_megaflow/reset?queue=orders&region=eu-west-1&account=123456789012")

    assert answer.status == 204
    assert (len(server.account.peek("orders")), len(other.peek("orders"))) == (1, 0)


def test_time_passes_over_http(browser: Browser, sqs: SqsClient) -> None:
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="a", DelaySeconds=900)
    before = browser.ask("GET", "/_megaflow/clock").json["now"]

    after = browser.ask("POST", "/_megaflow/clock", document={"advance": 900}).json["now"]

    assert after >= before + 900
    assert len(sqs.receive_message(QueueUrl=url)["Messages"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "document", "words"),
    [
        ("GET", "messages", None, "name the queue"),
        ("GET", "messages?queue=nowhere", None, "there is no queue 'nowhere'"),
        ("GET", "messages?queue=a&region=eu-west-9", None, "nobody has called account 000000000000 in eu-west-9 yet"),
        ("POST", "reset?queue=nowhere", None, "there is no queue 'nowhere'"),
        ("POST", "clock", {"advance": -1}, "not by -1"),
        ("POST", "clock", {"advance": "1"}, "say how many seconds pass"),
        ("POST", "clock", {}, "say how many seconds pass"),
        ("POST", "clock", [], "say how many seconds pass"),
        ("POST", "clock", None, "Expecting value"),
    ],
)
def test_what_makes_no_sense_is_said_so(browser: Browser, method: str, path: str, document: Any, words: str) -> None:
    answer = browser.ask(method, f"/_megaflow/{path}", document=document)

    assert answer.status == 400
    assert words in answer.body.decode()


@pytest.mark.parametrize(("method", "path"), [("POST", "messages"), ("GET", "reset"), ("GET", "nothing"), ("POST", "")])
def test_there_are_no_other_pages(browser: Browser, method: str, path: str) -> None:
    assert browser.ask(method, f"/_megaflow/{path}?Action=CreateQueue&QueueName=a").status in (400, 405)


def test_the_pages_are_listed(browser: Browser) -> None:
    assert "POST /_megaflow/reset" in browser.ask("GET", "/_megaflow/").json


def test_a_page_of_elsewhere_forgets_nothing(server: Server, browser: Browser, sqs: SqsClient) -> None:
    sqs.create_queue(QueueName="orders")

    answer = browser.ask("POST", "/_megaflow/reset", "Origin: https://evil.example")

    assert answer.status == 403
    assert list(server.account.queues) == ["orders"]
