from __future__ import annotations

import gc
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from megaflow.local import Account, SqsClient
from megaflow.local.server import Server
from tests.local.wire import HttpShop, Wire, in_json
from tests.waiting import EARLY

Dial = Callable[[], Wire]


@pytest.fixture(scope="module")
def shop() -> Iterator[HttpShop]:
    made = HttpShop()
    with Server(made.account):
        yield made


@pytest.fixture
def dial(shop: HttpShop) -> Iterator[Dial]:
    with ExitStack() as opened:
        yield lambda: opened.enter_context(Wire(shop.account.url))


def forget_others(caplog: pytest.LogCaptureFixture) -> None:
    """Let asyncio complain now of what other tests have left behind."""
    gc.collect()
    caplog.clear()


def list_threads() -> set[str]:
    """Return the threads of this process, where the system tells; else those that Python knows."""
    tasks = Path("/proc/self/task")
    return {each.name for each in tasks.iterdir()} if tasks.exists() else {each.name for each in threading.enumerate()}


def test_a_hundred_polls_of_one_queue_cost_no_thread_and_are_served_in_their_order(shop: HttpShop, dial: Dial) -> None:
    url, other = shop.fresh_queue(), shop.fresh_queue()
    before = list_threads()
    polls = [dial() for _ in range(100)]
    for number, poll in enumerate(polls, 1):
        poll.poll(url)
        shop.wait_for_polls(number)

    threads = list_threads()
    meanwhile = dial().call("SendMessage", QueueUrl=other, MessageBody="to another queue")
    shop.send(url, *map(str, range(100)))
    received = [poll.answer().bodies for poll in polls]

    # Those of other tests may end meanwhile.
    assert threads <= before
    assert meanwhile.status == 200
    assert received == [[str(number)] for number in range(100)]


def test_a_hundred_polls_of_a_hundred_queues_cost_no_thread_and_get_their_own(shop: HttpShop, dial: Dial) -> None:
    urls = [shop.fresh_queue() for _ in range(100)]
    before = list_threads()
    polls = [dial() for _ in urls]
    for url, poll in zip(urls, polls, strict=True):
        poll.poll(url)
    shop.wait_for_polls(100)

    threads = list_threads()
    sender = dial()
    for url in reversed(urls):
        sender.call("SendMessage", QueueUrl=url, MessageBody=url)

    # Those of other tests may end meanwhile.
    assert threads <= before
    assert [poll.answer().bodies for poll in polls] == [[url] for url in urls]


def test_a_poll_gets_all_that_one_batch_brings(shop: HttpShop, dial: Dial) -> None:
    url, poll = shop.fresh_queue(), dial()
    poll.poll(url, count=10)
    shop.wait_for_polls(1)

    dial().call(
        "SendMessageBatch", QueueUrl=url, Entries=[{"Id": body, "MessageBody": body} for body in ("a", "b", "c")]
    )

    assert poll.answer().bodies == ["a", "b", "c"]


def test_a_visibility_that_ends_ends_a_poll(shop: HttpShop, dial: Dial) -> None:
    url, poll = shop.fresh_queue(VisibilityTimeout="10"), dial()
    shop.send(url, "a")
    shop.receive(url)
    poll.poll(url)
    shop.wait_for_polls(1)

    shop.advance(10)

    assert poll.answer().bodies == ["a"]


def test_a_delay_that_ends_ends_a_poll(shop: HttpShop, dial: Dial) -> None:
    url, poll = shop.fresh_queue(), dial()
    shop.send(url, "a", DelaySeconds=10)
    poll.poll(url)
    shop.wait_for_polls(1)

    shop.advance(10)

    assert poll.answer().bodies == ["a"]


def test_a_poll_ends_empty_when_its_time_is_over(shop: HttpShop, dial: Dial) -> None:
    poll = dial()
    poll.poll(shop.fresh_queue())
    shop.wait_for_polls(1)

    shop.advance(20)
    began = time.monotonic()
    answer = poll.answer()

    assert (answer.status, answer.json) == (200, {})
    assert time.monotonic() - began < EARLY


def test_a_queue_can_make_all_its_receives_wait(shop: HttpShop, dial: Dial) -> None:
    url, poll = shop.fresh_queue(ReceiveMessageWaitTimeSeconds="5"), dial()
    poll.send(in_json("ReceiveMessage", QueueUrl=url))
    shop.wait_for_polls(1)

    shop.send(url, "a")

    assert poll.answer().bodies == ["a"]


def test_on_the_real_clock_a_delay_and_a_poll_end_by_themselves() -> None:
    account = Account()
    client = SqsClient(account)
    delayed, empty = (client.create_queue(QueueName=name)["QueueUrl"] for name in ("delayed", "empty"))
    with Server(account) as server, Wire(server.url) as first, Wire(server.url) as second:
        began = time.monotonic()
        client.send_message(QueueUrl=delayed, MessageBody="a", DelaySeconds=1)
        first.poll(delayed)
        second.send(in_json("ReceiveMessage", QueueUrl=empty, WaitTimeSeconds=1))

        bodies = first.answer().bodies, second.answer().bodies

    assert bodies == (["a"], [])
    assert 0.9 < time.monotonic() - began < EARLY


def test_a_poll_ends_for_real_where_nobody_moves_the_clock(shop: HttpShop, dial: Dial) -> None:
    answer = dial().call("ReceiveMessage", QueueUrl=shop.fresh_queue(), WaitTimeSeconds=1)

    assert answer.json == {}


def test_a_poll_ends_with_an_error_when_the_queue_is_deleted(
    shop: HttpShop, dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    forget_others(caplog)
    url, polls = shop.fresh_queue(), [dial(), dial()]
    for poll in polls:
        poll.poll(url)
    shop.wait_for_polls(2)

    dial().call("DeleteQueue", QueueUrl=url)
    answers = [poll.answer() for poll in polls]
    gc.collect()

    assert [answer.status for answer in answers] == [400, 400]
    assert {answer.json["__type"] for answer in answers} == {"com.amazonaws.sqs#QueueDoesNotExist"}
    assert caplog.records == []


def hang_up(poll: Wire) -> None:
    poll.close()


def reset(poll: Wire) -> None:
    poll.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    poll.close()


@pytest.mark.parametrize("leave", [hang_up, reset])
def test_who_hung_up_gets_no_message_that_is_sent_afterwards(
    shop: HttpShop, dial: Dial, leave: Callable[[Wire], None]
) -> None:
    urls, other = [shop.fresh_queue() for _ in range(50)], dial()
    polls = [dial() for _ in urls]
    for url, poll in zip(urls, polls, strict=True):
        poll.poll(url)
    shop.wait_for_polls(50)

    received = []
    for url, poll in zip(urls, polls, strict=True):
        leave(poll)
        other.call("SendMessage", QueueUrl=url, MessageBody=url)
        received += other.call("ReceiveMessage", QueueUrl=url).bodies

    assert received == urls
    assert len(shop.account.polls) == 0


def test_what_who_hung_up_would_have_got_goes_to_the_next_who_waits(shop: HttpShop, dial: Dial) -> None:
    url, gone, there = shop.fresh_queue(), dial(), dial()
    for number, poll in enumerate((gone, there), 1):
        poll.poll(url)
        shop.wait_for_polls(number)

    gone.close()
    dial().call("SendMessage", QueueUrl=url, MessageBody="a")

    assert there.answer().bodies == ["a"]


def test_who_ends_a_poll_by_saying_no_more_hears_that_it_brought_nothing(shop: HttpShop, dial: Dial) -> None:
    url, wire = shop.fresh_queue(), dial()
    wire.poll(url)
    shop.wait_for_polls(1)

    wire.socket.shutdown(socket.SHUT_WR)

    assert wire.answer().json == {}
    assert wire.is_closed()


def test_what_was_taken_for_who_says_no_more_is_answered(shop: HttpShop, dial: Dial) -> None:
    url = shop.fresh_queue()
    texts = [f"{number}" for number in range(100)]
    shop.send(url, *texts)

    received = []
    for _ in texts:
        wire = dial()
        wire.poll(url)
        wire.socket.shutdown(socket.SHUT_WR)
        received += wire.answer().bodies
        assert wire.is_closed()

    assert received == texts


@pytest.mark.parametrize("lines", ["Content-Length: {longer}", "Transfer-Encoding: chunked"])
def test_nothing_becomes_of_a_request_that_breaks_off(
    shop: HttpShop, dial: Dial, caplog: pytest.LogCaptureFixture, lines: str
) -> None:
    forget_others(caplog)
    url, wire = shop.fresh_queue(), dial()
    body = json.dumps({"QueueUrl": url, "MessageBody": "a"})
    head = f"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.SendMessage\r\n{lines.format(longer=len(body) + 1)}\r\n\r\n"
    wire.send((head + (f"{len(body):x}\r\n{body}\r\n" if "chunked" in lines else body)).encode())

    wire.close()
    received = dial().call("ReceiveMessage", QueueUrl=url)

    assert received.json == {}
    assert caplog.records == []


def test_a_connection_can_be_used_again_after_calls_errors_and_polls(shop: HttpShop, dial: Dial) -> None:
    url, wire = shop.fresh_queue(), dial()
    wire.poll(url)
    shop.wait_for_polls(1)
    shop.send(url, "a")

    answers = [wire.answer(), wire.call("GetQueueUrl", QueueName="none"), wire.call("ListQueues")]

    assert [answer.status for answer in answers] == [200, 400, 200]
    assert all("connection" not in answer.headers for answer in answers)


def test_requests_sent_at_once_are_answered_in_their_order(shop: HttpShop, dial: Dial) -> None:
    url, wire = shop.fresh_queue(), dial()
    send = in_json("SendMessage", QueueUrl=url, MessageBody="b")
    wire.send(
        in_json("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20), send, in_json("ReceiveMessage", QueueUrl=url)
    )
    shop.wait_for_polls(1)

    shop.send(url, "a")
    polled, sent, received = (wire.answer() for _ in range(3))

    assert polled.bodies == ["a"]
    assert "MessageId" in sent.json
    assert received.bodies == ["b"]
