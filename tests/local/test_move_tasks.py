from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from megaflow.local import Account, move_tasks
from megaflow.local.content import Content
from megaflow.local.journal import Touched
from tests.local.conftest import Shop

SOON = 0.1


def arn(shop: Shop, url: str) -> str:
    return shop.account.queue(url).queue.arn


def dead_letter_queue(shop: Shop, name: str = "dead", **attributes: str) -> str:
    """Make a queue, and another whose dead letters it takes."""
    url = shop.queue(name, **attributes)
    policy = {"deadLetterTargetArn": arn(shop, url), "maxReceiveCount": 1}
    kind = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
    shop.queue(f"source-of-{name}", RedrivePolicy=json.dumps(policy), **kind)
    return url


def fill(shop: Shop, url: str, count: int) -> None:
    with shop.account.turn():
        for _ in range(count):
            shop.account.queue(url).queue.send(Content("x"))


def start(shop: Shop, dead: str, destination: str | None = None, rate: int | None = None) -> str:
    parameters: dict[str, Any] = {"SourceArn": arn(shop, dead)}
    if destination is not None:
        parameters["DestinationArn"] = arn(shop, destination)
    if rate is not None:
        parameters["MaxNumberOfMessagesPerSecond"] = rate
    handle: str = shop.sqs.start_message_move_task(**parameters)["TaskHandle"]
    return handle


def tasks(shop: Shop, dead: str) -> list[dict[str, Any]]:
    answer = shop.sqs.list_message_move_tasks(SourceArn=arn(shop, dead), MaxResults=10)
    results: list[dict[str, Any]] = answer["Results"]
    return results


def depth(shop: Shop, url: str) -> int:
    """Count messages without taking a turn."""
    return sum(shop.account.queue(url).queue.counts().values())


def until_alarm(shop: Shop) -> float | None:
    alarm = shop.account.next_alarm()
    return None if alarm is None else round(alarm - shop.clock.now, 6)


def test_an_account_where_nothing_is_moved_needs_no_turns(shop: Shop) -> None:
    dead, destination = dead_letter_queue(shop), shop.queue("there")
    before = until_alarm(shop)

    start(shop, dead, destination)
    meanwhile = until_alarm(shop)
    shop.advance(SOON)

    assert (before, meanwhile, until_alarm(shop)) == (None, 0.02, None)


def test_nobody_is_woken_more_often_than_fifty_times_a_second(shop: Shop) -> None:
    dead, destination = dead_letter_queue(shop), shop.queue("there")
    fill(shop, dead, 1000)
    start(shop, dead, destination, rate=500)

    moved = []
    for _ in range(3):
        shop.advance(until_alarm(shop) or 0.0)
        moved.append(depth(shop, destination))

    assert moved == [10, 20, 30]


def test_a_slow_task_wakes_nobody_before_its_next_message(shop: Shop) -> None:
    dead, destination = dead_letter_queue(shop), shop.queue("there")
    fill(shop, dead, 3)

    start(shop, dead, destination, rate=2)
    first = until_alarm(shop)
    shop.advance(0.7)

    assert (first, until_alarm(shop)) == (0.5, 0.3)


def test_a_turn_moves_a_thousand_messages_and_the_next_one_goes_on(shop: Shop) -> None:
    dead, destination = dead_letter_queue(shop), shop.queue("there")
    fill(shop, dead, 2500)
    start(shop, dead, destination)

    shop.clock.now += 10
    moved = []
    for _ in range(3):
        shop.account.wake()
        moved.append((depth(shop, destination), until_alarm(shop)))

    assert moved == [(1000, 0.0), (2000, 0.0), (2500, None)]


def test_tasks_share_a_turn(shop: Shop) -> None:
    destination, dead = shop.queue("there"), [dead_letter_queue(shop, name) for name in ("one", "two")]
    for url in dead:
        fill(shop, url, 1500)
        start(shop, url, destination)

    shop.advance(10)

    assert depth(shop, destination) == 1000
    assert [depth(shop, url) for url in dead] == [1000, 1000]


def test_a_clock_set_back_moves_nothing(shop: Shop) -> None:
    dead, destination = dead_letter_queue(shop), shop.queue("there")
    fill(shop, dead, 10)
    start(shop, dead, destination, rate=1)
    shop.advance(2)

    shop.advance(-100)
    before = depth(shop, destination)
    shop.advance(101)

    assert (before, depth(shop, destination)) == (2, 3)


def test_a_task_has_36_hours(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(move_tasks, "_LONGEST", 3600)
    dead, destination = dead_letter_queue(shop), shop.queue("there")
    fill(shop, dead, 3601)
    start(shop, dead, destination, rate=1)

    shop.advance(4000)
    while shop.account.next_alarm() is not None:
        shop.account.wake()

    (task,) = tasks(shop, dead)
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("FAILED", 3600)
    assert depth(shop, dead) == 1


def test_a_hundred_tasks_run_at_once(shop: Shop) -> None:
    destination = shop.queue("there")
    for number in range(100):
        start(shop, dead_letter_queue(shop, f"dead-{number}"), destination, rate=1)
    one_more = dead_letter_queue(shop)

    with pytest.raises(shop.sqs.exceptions.UnsupportedOperation):
        start(shop, one_more, destination)
    shop.advance(1)
    start(shop, one_more, destination)

    assert len(tasks(shop, one_more)) == 1


def test_the_latest_ten_tasks_are_kept(shop: Shop) -> None:
    dead = dead_letter_queue(shop)
    for rate in range(100, 112):
        start(shop, dead, rate=rate)
        shop.advance(SOON)

    assert [task["MaxNumberOfMessagesPerSecond"] for task in tasks(shop, dead)] == list(range(111, 101, -1))
    assert len(shop.account.moves.facts()) == 10


def test_a_queue_takes_its_tasks_with_it(shop: Shop) -> None:
    dead, destination = dead_letter_queue(shop), shop.queue("there")
    fill(shop, dead, 2)
    handle = start(shop, dead, destination, rate=1)

    shop.sqs.delete_queue(QueueUrl=dead)

    assert shop.account.next_alarm() is None
    shop.advance(60)
    assert shop.queue("dead") == dead
    assert tasks(shop, dead) == []
    with pytest.raises(ClientError, match="Task does not exist"):
        shop.sqs.cancel_message_move_task(TaskHandle=handle)


def test_a_message_too_large_for_its_destination_stays(shop: Shop) -> None:
    dead, destination = dead_letter_queue(shop), shop.queue("there", MaximumMessageSize="1024")
    shop.send(dead, "x" * 1025)

    start(shop, dead, destination)
    shop.advance(SOON)

    (task,) = tasks(shop, dead)
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "InvalidParameterValue")
    assert (depth(shop, dead), depth(shop, destination)) == (1, 0)


def test_a_message_that_cannot_be_moved_keeps_its_place_in_its_group(shop: Shop) -> None:
    dead = dead_letter_queue(shop, "dead.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    shop.send(dead, "a", "b", "c", MessageGroupId="g")

    start(shop, dead)
    shop.advance(SOON)

    assert tasks(shop, dead)[0]["Status"] == "FAILED"
    assert shop.bodies(dead) == ["a", "b", "c"]


def test_a_moved_message_is_delayed_like_one_that_is_sent(shop: Shop) -> None:
    dead, destination = dead_letter_queue(shop), shop.queue("there", DelaySeconds="5")
    shop.send(dead, "a")

    start(shop, dead, destination)
    shop.advance(SOON)
    before = shop.counts(destination)
    shop.advance(5)

    assert (before, shop.counts(destination)) == ((0, 0, 1), (1, 0, 0))


def test_the_retention_of_a_moved_message_begins_anew(shop: Shop) -> None:
    dead, destination = dead_letter_queue(shop), shop.queue("there", MessageRetentionPeriod="60")
    shop.send(dead, "a")
    shop.advance(100)

    start(shop, dead, destination)
    shop.advance(SOON)
    shop.advance(59.9)
    before = depth(shop, destination)
    shop.advance(0.1)

    assert (before, depth(shop, destination)) == (1, 0)


def test_a_queue_that_is_its_own_dead_letter_queue_is_gone_through_once(shop: Shop) -> None:
    url = shop.queue()
    policy = {"deadLetterTargetArn": arn(shop, url), "maxReceiveCount": 1}
    shop.sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})
    shop.send(url, "a")
    for _ in range(2):
        shop.receive(url, VisibilityTimeout=0)

    start(shop, url)
    shop.advance(10)

    (task,) = tasks(shop, url)
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
    assert depth(shop, url) == 1


class Churn:
    """A queue and its dead-letter queue, where things happen while messages are moved."""

    def __init__(self, *, fifo: bool) -> None:
        self.shop = Shop()
        self.fifo = fifo
        name, kind = ("dead.fifo", {"FifoQueue": "true"}) if fifo else ("dead", {})
        self.dead = dead_letter_queue(self.shop, name, **kind)
        self.source = self.shop.queue(f"source-of-{name}", **kind)
        self.sent: list[str] = []

    def send(self, url: str, group: str) -> None:
        body = str(len(self.sent))
        self.sent.append(body)
        self.shop.send(url, body, MessageGroupId=group, **({"MessageDeduplicationId": body} if self.fifo else {}))

    def start(self) -> None:
        if self.shop.account.next_alarm() is None:
            start(self.shop, self.dead, rate=2)

    def cancel(self) -> None:
        for handle in [task["TaskHandle"] for task in tasks(self.shop, self.dead) if "TaskHandle" in task]:
            self.shop.sqs.cancel_message_move_task(TaskHandle=handle)

    def hold(self) -> None:
        self.shop.receive(self.dead, 1, VisibilityTimeout=2)

    def fail(self) -> None:
        self.shop.receive(self.source, 3, VisibilityTimeout=0)

    def direct(self) -> None:
        self.send(self.dead, "a")

    def drain(self) -> list[str]:
        """Receive and delete all there is."""
        drained = []
        for url in (self.source, self.dead) * len(self.sent):
            for message in self.shop.receive(url):
                drained.append(message["Body"])
                self.shop.delete(url, message)
        return drained


@given(
    fifo=st.booleans(),
    groups=st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    actions=st.lists(st.sampled_from([Churn.start, Churn.cancel, Churn.hold, Churn.fail, Churn.direct]), max_size=25),
)
def test_nothing_is_lost_or_doubled_whatever_happens_meanwhile(
    fifo: bool, groups: list[str], actions: list[Callable[[Churn], None]]
) -> None:
    churn = Churn(fifo=fifo)
    for group in groups:
        churn.send(churn.source, group)
    churn.fail()

    for act in actions:
        act(churn)
        churn.shop.advance(0.3)

    churn.cancel()
    churn.shop.advance(60)
    assert sorted(churn.drain()) == sorted(churn.sent)


@dataclass
class Notes:
    """A journal that notes whether tasks changed, and which messages of a queue came or went."""

    url: str
    account: list[bool] = field(default_factory=list)
    messages: list[tuple[set[int], set[int]]] = field(default_factory=list)

    def write(self, account: Account, touched: Touched) -> None:
        unsaved = account.queue(self.url).queue.messages.unsaved
        self.account.append(touched.account)
        self.messages.append((unsaved.added, unsaved.changed))


def noted(shop: Shop, url: str, action: Callable[[], object]) -> Notes:
    notes = shop.account.journal = Notes(url)
    action()
    shop.account.journal = None
    return notes


def test_tasks_are_written_down_whenever_they_changed(shop: Shop) -> None:
    dead, destination = dead_letter_queue(shop), shop.queue("there")
    fill(shop, dead, 3)

    started = noted(shop, dead, lambda: start(shop, dead, destination, rate=1))
    waited = noted(shop, dead, lambda: shop.advance(0.5))
    moved = noted(shop, dead, lambda: shop.advance(0.5))
    failed = noted(shop, dead, lambda: shop.sqs.delete_queue(QueueUrl=destination))
    ended = noted(shop, dead, lambda: shop.advance(1))
    after = noted(shop, dead, lambda: shop.advance(1))

    notes = (started, waited, moved, failed, ended, after)
    assert [one.account for one in notes] == [[True], [False], [True], [True], [True], [False]]


def test_a_moved_message_is_written_down_in_both_queues(shop: Shop) -> None:
    dead, destination = dead_letter_queue(shop), shop.queue("there")
    fill(shop, dead, 3)
    start(shop, dead, destination, rate=1)

    gone = noted(shop, dead, lambda: shop.advance(1))
    came = noted(shop, destination, lambda: shop.advance(1))

    assert gone.messages == [(set(), {1})]
    assert came.messages == [({2}, set())]


def restarted(shop: Shop) -> Shop:
    """Make a shop with the same clock and queues, and the tasks as a file would keep them."""
    again = Shop(clock=shop.clock)
    for name, hosted in shop.account.queues.items():
        again.account.host(name, hosted.queue.settings)
    again.account.moves.restore(json.loads(json.dumps(shop.account.moves.facts())))
    return again


def test_a_task_goes_on_after_a_restart_at_its_pace(shop: Shop) -> None:
    dead, destination = dead_letter_queue(shop), shop.queue("there")
    fill(shop, dead, 10)
    handle = start(shop, dead, destination, rate=1)
    shop.advance(2)
    shop.clock.now += 1000

    again = restarted(shop)
    fill(again, dead, 8)
    at_once = depth(again, destination)
    again.advance(3)

    (task,) = tasks(again, dead)
    assert at_once == 0
    assert (task["TaskHandle"], task["ApproximateNumberOfMessagesMoved"]) == (handle, 5)
    assert depth(again, destination) == 3
    again.advance(5)
    assert tasks(again, dead)[0]["Status"] == "COMPLETED"


def test_what_has_ended_is_still_listed_after_a_restart(shop: Shop) -> None:
    dead = dead_letter_queue(shop)
    shop.send(dead, "direct")
    start(shop, dead)
    shop.advance(SOON)
    before = tasks(shop, dead)

    again = restarted(shop)

    assert tasks(again, dead) == before
    assert before[0]["FailureReason"] == "CouldNotDetermineMessageSource"
    assert again.account.next_alarm() is None


def test_tasks_of_a_queue_that_is_gone_are_not_restored(shop: Shop) -> None:
    dead = dead_letter_queue(shop)
    start(shop, dead)
    del shop.account.queues["dead"]

    again = restarted(shop)

    assert again.account.moves.facts() == []
    assert again.account.next_alarm() is None
