from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.local.conftest import Shop
from tests.waiting import EARLY, PATIENCE


class Watched(threading.Condition):
    """A condition that tells when somebody has begun to wait for it."""

    def __init__(self, lock: Any) -> None:
        super().__init__(lock)
        self.waited_for = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.waited_for.set()
        return super().wait(timeout)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


def parked(shop: Shop, pool: ThreadPoolExecutor, url: str, count: int = 10) -> Future[list[str]]:
    """Start a long poll of 20 seconds and return once it waits."""
    watched = shop.account.changed = Watched(shop.account.lock)
    poll = pool.submit(shop.bodies, url, count, WaitTimeSeconds=20)
    assert watched.waited_for.wait(PATIENCE)
    return poll


def test_a_send_wakes_a_poll(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url = shop.queue()
    poll = parked(shop, pool, url)

    shop.send(url, "a")

    assert poll.result(PATIENCE) == ["a"]


def test_each_of_two_polls_gets_a_message(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url = shop.queue()
    polls = [parked(shop, pool, url, 1)]
    polls.append(pool.submit(shop.bodies, url, 1, WaitTimeSeconds=20))

    shop.send(url, "a")
    shop.send(url, "b")
    results = [poll.result(PATIENCE) for poll in polls]

    assert sorted(body for bodies in results for body in bodies) == ["a", "b"]


def test_a_visibility_that_ends_wakes_a_poll(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url = shop.queue(VisibilityTimeout="10")
    shop.send(url, "a")
    shop.receive(url)
    poll = parked(shop, pool, url)

    shop.advance(10)

    assert poll.result(PATIENCE) == ["a"]


def test_a_delay_that_ends_wakes_a_poll(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url = shop.queue()
    shop.send(url, "a", DelaySeconds=10)
    poll = parked(shop, pool, url)

    shop.advance(10)

    assert poll.result(PATIENCE) == ["a"]


def test_a_visibility_that_ends_for_real_wakes_a_poll(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url = shop.queue()
    shop.send(url, "a", DelaySeconds=1)
    poll = parked(shop, pool, url)

    # Nobody wakes the poll: it looks again by itself when the delay would be over.
    shop.clock.now += 1

    assert poll.result(PATIENCE) == ["a"]


def test_a_poll_ends_empty_when_its_time_is_over(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url = shop.queue()
    poll = parked(shop, pool, url)

    shop.advance(20)

    assert poll.result(EARLY) == []


def test_a_poll_ends_for_real_where_nobody_moves_the_clock(shop: Shop) -> None:
    url = shop.queue()

    assert shop.bodies(url, WaitTimeSeconds=1) == []


def test_giving_a_message_back_wakes_a_poll(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url = shop.queue()
    shop.send(url, "a")
    (message,) = shop.receive(url)
    poll = parked(shop, pool, url)

    shop.hide(url, message, 0)

    assert poll.result(PATIENCE) == ["a"]


def test_deleting_the_head_of_a_group_wakes_a_poll(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url = shop.fifo_queue()
    shop.send(url, "a", "b", MessageGroupId="g")
    (head,) = shop.receive(url, 1)
    poll = parked(shop, pool, url)

    shop.delete(url, head)

    assert poll.result(PATIENCE) == ["b"]


def test_a_dead_letter_wakes_a_poll(shop: Shop, pool: ThreadPoolExecutor) -> None:
    dead_letters = shop.queue("dead")
    policy = {"deadLetterTargetArn": shop.account.queue(dead_letters).queue.arn, "maxReceiveCount": 1}
    url = shop.queue(RedrivePolicy=json.dumps(policy))
    shop.send(url, "a")
    shop.receive(url, VisibilityTimeout=0)
    poll = parked(shop, pool, dead_letters)

    shop.receive(url)

    assert poll.result(PATIENCE) == ["a"]


def test_a_moved_message_wakes_a_poll(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url, dead_letters = shop.queue(), shop.queue("dead")
    arns = [shop.account.queue(one).queue.arn for one in (url, dead_letters)]
    policy = {"deadLetterTargetArn": arns[1], "maxReceiveCount": 1}
    shop.queue("source", RedrivePolicy=json.dumps(policy))
    shop.send(dead_letters, "a")
    poll = parked(shop, pool, url)

    shop.sqs.start_message_move_task(SourceArn=arns[1], DestinationArn=arns[0])
    # Nobody wakes the poll: it looks again by itself when the task goes on.
    shop.clock.now += 1

    assert poll.result(PATIENCE) == ["a"]


def test_a_publication_wakes_a_poll(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url = shop.queue()
    topic = shop.sns.create_topic(Name="news")["TopicArn"]
    shop.sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=shop.account.queue(url).queue.arn,
        Attributes={"RawMessageDelivery": "true"},
    )
    poll = parked(shop, pool, url)

    shop.sns.publish(TopicArn=topic, Message="a")

    assert poll.result(PATIENCE) == ["a"]


def test_deleting_the_queue_ends_a_poll_with_an_error(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url = shop.queue()
    poll = parked(shop, pool, url)

    shop.sqs.delete_queue(QueueUrl=url)

    with pytest.raises(shop.sqs.exceptions.QueueDoesNotExist):
        poll.result(PATIENCE)


def test_a_parked_poll_holds_nobody_up(shop: Shop, pool: ThreadPoolExecutor) -> None:
    idle, busy = shop.queue("idle"), shop.queue("busy")
    poll = parked(shop, pool, idle)

    shop.send(busy, "a")
    received = shop.bodies(busy)
    shop.send(idle, "b")

    assert received == ["a"]
    assert poll.result(PATIENCE) == ["b"]


def test_many_threads_receive_each_message_once(shop: Shop, pool: ThreadPoolExecutor) -> None:
    url = shop.queue()
    barrier = threading.Barrier(4)

    def work(name: str) -> list[str]:
        barrier.wait(PATIENCE)
        for number in range(50):
            shop.send(url, f"{name}-{number}")
        return [body for _ in range(50) for body in shop.bodies(url, 1)]

    results = [poll.result(PATIENCE) for poll in [pool.submit(work, name) for name in "abcd"]]

    received = [body for bodies in results for body in bodies]
    left = [body for _ in range(20) for body in shop.bodies(url)]
    assert sorted(received + left) == sorted(f"{name}-{number}" for name in "abcd" for number in range(50))
