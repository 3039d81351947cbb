"""Polling, in the consumer's core: how many polls are under way, for how many messages, and when there are none."""

from __future__ import annotations

import logging

import pytest

from megaflow.consumer.core.protocol import (
    AbandonPoll,
    Action,
    AskFailed,
    Finished,
    Input,
    Inspect,
    Inspected,
    Receive,
    Received,
    Stop,
    Tick,
)
from megaflow.messages.message import Message
from megaflow.processing.verdict import Fate
from megaflow.settings import ConsumerSettings
from megaflow.transport.queue import QueueFacts
from tests.consumer.core.driving import Driver, message, verdict_on


class Polls(Driver):
    """A driver that knows which polls are under way, and for how many messages each."""

    def __init__(self, settings: ConsumerSettings, *, fifo: bool = False) -> None:
        self.under_way: dict[int, int] = {}
        self._received = 0
        super().__init__(settings, fifo=fifo)

    def tell(self, input: Input) -> list[Action]:
        if isinstance(input, Received | AskFailed):
            self.under_way.pop(input.poll, None)
        answered = super().tell(input)
        self.under_way |= {each.poll: each.count for each in self.all(Receive)}
        return answered

    def bring(self, poll: int, count: int, seconds: float = 1.0, group: str = "") -> list[Message]:
        """Let a poll bring so many messages after so many seconds; return them."""
        names = [str(self._received + each) for each in range(count)]
        brought = [message(name, group=group, expires_at=1_000.0) for name in names]
        self._received += count
        self.tell(Received(brought, poll, seconds))
        return brought

    @property
    def counts(self) -> list[int]:
        return list(self.under_way.values())


def full_polls(count: int) -> Polls:
    """Return a driver whose first polls came back full one after another, so that there are *count* at once."""
    driver = Polls(ConsumerSettings(concurrency=1_000))
    for poll in range(1, count):
        driver.bring(poll, 10)
    assert len(driver.under_way) == count
    return driver


# How many polls there are at once


def test_there_are_four_polls_at_once_at_the_most() -> None:
    driver = full_polls(4)

    driver.bring(4, 10)
    driver.bring(5, 10)

    assert driver.counts == [10, 10, 10, 10]


def test_help_is_taken_back_one_by_one_where_full_polls_are_answered_at_once() -> None:
    driver = full_polls(4)

    driver.bring(4, 10, seconds=0.004)
    assert len(driver.under_way) == 3
    driver.bring(5, 10, seconds=0.001)
    assert len(driver.under_way) == 2
    driver.bring(6, 10, seconds=0.0)
    driver.bring(7, 10, seconds=0.0)

    assert len(driver.under_way) == 1


def test_help_that_was_taken_back_comes_again_where_it_is_needed() -> None:
    driver = full_polls(4)
    driver.bring(4, 10, seconds=0.0)

    driver.bring(5, 10, seconds=1.0)

    assert len(driver.under_way) == 4


def test_a_full_poll_that_took_longer_gets_help() -> None:
    driver = Polls(ConsumerSettings(concurrency=1_000))

    driver.bring(1, 10, seconds=0.0041)

    assert len(driver.under_way) == 2


@pytest.mark.parametrize(("later", "polls"), [(0.004, 1), (0.005, 2)])
def test_a_full_poll_of_which_nobody_says_how_long_it_took_took_as_long_as_since_it_was_asked_for(
    later: float, polls: int
) -> None:
    driver = Polls(ConsumerSettings(concurrency=1_000))
    driver.now = 0.0
    driver.bring(1, 0)
    driver.now = later

    driver.tell(Received([message(str(each), expires_at=1_000.0) for each in range(10)], 2))

    assert len(driver.under_way) == polls


def test_a_poll_that_brings_less_than_it_may_takes_back_all_help() -> None:
    driver = full_polls(3)

    driver.bring(3, 9)
    assert len(driver.under_way) == 2
    driver.bring(4, 0)
    driver.bring(5, 0)

    assert len(driver.under_way) == 1


def test_a_poll_that_brings_all_it_was_asked_for_takes_no_help_back() -> None:
    driver = Polls(ConsumerSettings(concurrency=25))
    first = driver.bring(1, 10)
    assert driver.counts == [10, 5]

    second = driver.bring(3, 5)
    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in (*first, *second)]))

    assert driver.counts == [10, 10]


def test_after_a_poll_that_failed_there_is_one() -> None:
    driver = full_polls(3)

    for poll in (3, 4, 5):
        driver.tell(AskFailed(ConnectionError("down"), refused=False, poll=poll))
    assert driver.counts == []
    driver.wait_for(Receive)

    assert driver.counts == [10]


def test_a_late_answer_to_a_poll_that_was_replaced_changes_nothing_but_what_it_brings() -> None:
    driver = Polls(ConsumerSettings(concurrency=1_000, wait_time_seconds=20))
    driver.bring(1, 0)
    driver.now += 20 + 90
    driver.tell(Tick())
    assert driver.all(AbandonPoll) == [AbandonPoll(2)]
    assert driver.counted("hung_polls") == 1

    driver.now += 7
    driver.bring(2, 10)

    assert driver.all(Receive) == []
    assert driver.core.health(driver.now).heard_ago == (117.0,)


# For how many messages


def test_a_poll_takes_no_more_than_the_most_at_once_beyond_it_there_is_another() -> None:
    driver = Polls(ConsumerSettings(concurrency=12, prefetch=0))
    driver.bring(1, 10)

    assert driver.counts == [2]


def test_what_is_in_advance_waits_for_a_full_batch() -> None:
    driver = Polls(ConsumerSettings(concurrency=10, prefetch=100))
    first = driver.bring(1, 10, seconds=0.0)

    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in first[:4]]))
    assert driver.counts == [8], "four for the free slots, and as many in advance as were finished"
    driver.bring(2, 8, seconds=0.0)
    assert driver.counts == []
    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in first[4:5]]))
    assert driver.counts == []
    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in first[5:10]]))

    assert driver.counts == [10]


@pytest.mark.parametrize(("later", "count"), [(0.0, 8), (1.99, 8), (2.0, 4)])
def test_what_was_finished_in_the_last_one_or_two_seconds_may_come_in_advance(later: float, count: int) -> None:
    driver = Polls(ConsumerSettings(concurrency=4, prefetch=100, wait_time_seconds=20))
    started = driver.bring(1, 4)
    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in started]))
    driver.now += later

    driver.bring(2, 0)

    assert driver.counts == [count]


@pytest.mark.parametrize(
    ("last_at", "asked_at", "count"), [(101.0, 102.99, 7), (101.0, 103.0, 4), (101.99, 102.0, 7), (102.0, 102.5, 5)]
)
def test_of_the_last_two_seconds_the_better_one_counts(last_at: float, asked_at: float, count: int) -> None:
    driver = Polls(ConsumerSettings(concurrency=4, prefetch=100))
    started = driver.bring(1, 4)
    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in started[:2]]))
    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in started[2:3]]))
    driver.now = last_at
    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in started[3:]]))

    driver.now = asked_at
    driver.bring(2, 0)

    assert driver.counts == [count]


def test_no_more_is_held_than_could_be_started_however_few_groups_there_are() -> None:
    driver = Polls(ConsumerSettings(concurrency=2, max_number_of_messages=4, prefetch=0), fifo=True)

    for poll in range(1, 21):
        driver.bring(poll, driver.under_way.get(poll, 0), group="one")

    assert driver.core.health(driver.now).in_hand == 4 * (2 + 1)


def test_what_may_come_in_advance_may_be_held_on_top() -> None:
    driver = Polls(ConsumerSettings(concurrency=2, max_number_of_messages=4, prefetch=3), fifo=True)

    for poll in range(1, 21):
        driver.bring(poll, driver.under_way.get(poll, 0), group="one")

    assert driver.core.health(driver.now).in_hand == 4 * (2 + 1) + 3


# When there are none


def test_where_there_is_no_room_nobody_wakes_up_for_the_end_of_a_pause() -> None:
    driver = Polls(ConsumerSettings(concurrency=1, prefetch=0))
    driver.now = 191.0
    driver.tell(Tick())
    assert driver.all(AbandonPoll) == [AbandonPoll(1)]
    driver.tell(AskFailed(ConnectionError("down"), refused=False, poll=2))
    assert driver.core.wake_at == 192.0

    driver.bring(1, 1)

    assert driver.core.wake_at > 192.0


def test_a_poll_that_fails_late_says_nothing_of_the_question_under_way() -> None:
    driver = Polls(ConsumerSettings(concurrency=1), fifo=True)
    driver.now = 191.0
    driver.tell(Tick())
    driver.now += 61
    driver.bring(2, 0)
    assert driver.all(Inspect) == [Inspect(depth_alone=True)]

    driver.tell(AskFailed(ConnectionError("down"), refused=False, poll=1))
    driver.now += 2
    driver.tell(Tick())
    assert driver.all(Inspect) == []
    driver.tell(Inspected(QueueFacts()))

    assert len(driver.all(Receive)) == 1


def test_after_a_question_that_failed_polls_go_on() -> None:
    driver = Polls(ConsumerSettings(concurrency=1), fifo=True)
    driver.now += 61
    driver.bring(1, 0)

    driver.tell(AskFailed(ConnectionError("down"), refused=False))
    assert driver.counts == []
    driver.now += 1
    driver.tell(Tick())

    assert driver.counts == [1]


def test_once_the_queue_says_what_it_is_no_question_has_failed_of_late() -> None:
    driver = Driver(inspected=False)
    driver.tell(Tick())
    driver.tell(AskFailed(ConnectionError("down"), refused=False))
    assert driver.core.health(driver.now).problems == ("polls fail: the last 1",)

    driver.tell(Inspected(driver.facts))

    assert driver.core.health(driver.now).problems == ("SQS has not answered yet",)


@pytest.mark.parametrize(("later", "questions"), [(59.9, []), (60.0, [Inspect(depth_alone=True)])])
def test_a_fifo_queue_that_gives_nothing_for_a_minute_is_asked_what_it_holds(
    later: float, questions: list[Inspect]
) -> None:
    driver = Polls(ConsumerSettings(concurrency=1), fifo=True)
    driver.now += 40
    (only,) = driver.bring(1, 1)
    driver.finish(only)
    driver.now += later

    driver.bring(2, 0)

    assert driver.all(Inspect) == questions


def test_a_fifo_queue_is_asked_what_it_holds_once_a_minute() -> None:
    driver = Polls(ConsumerSettings(concurrency=1), fifo=True)
    driver.now += 60
    driver.bring(1, 0)
    driver.tell(Inspected(QueueFacts()))
    driver.now += 59

    driver.bring(2, 0)
    assert driver.all(Inspect) == []
    driver.now += 1
    driver.bring(3, 0)

    assert driver.all(Inspect) == [Inspect(depth_alone=True)]


def test_a_fifo_queue_whose_messages_are_in_hand_is_not_asked_what_it_holds() -> None:
    driver = Polls(ConsumerSettings(concurrency=2), fifo=True)
    driver.bring(1, 1)
    driver.now += 100

    driver.bring(2, 0)

    assert driver.all(Inspect) == []


def test_a_standard_queue_is_asked_what_it_is_once() -> None:
    driver = Polls(ConsumerSettings(concurrency=1))
    driver.now += 1_000

    driver.bring(1, 0)

    assert driver.all(Inspect) == []
    assert len(driver.all(Receive)) == 1


def test_a_stop_waits_for_no_question() -> None:
    driver = Polls(ConsumerSettings(concurrency=1), fifo=True)
    driver.now += 60
    driver.bring(1, 0)
    assert driver.all(Inspect)

    driver.tell(Stop())

    assert driver.all(AbandonPoll) == [AbandonPoll(0)]


def test_a_poll_hangs_ninety_seconds_beyond_its_wait() -> None:
    driver = Polls(ConsumerSettings(concurrency=1, wait_time_seconds=7))
    driver.bring(1, 0)
    driver.now += 96.9
    driver.tell(Tick())
    assert driver.core.health(driver.now).live
    assert driver.core.wake_at == 197.0

    driver.now = 197.0
    assert not driver.core.health(driver.now).live
    driver.tell(Tick())

    assert driver.all(AbandonPoll) == [AbandonPoll(2)]
    assert len(driver.all(Receive)) == 1


def test_it_wakes_up_for_the_first_poll_that_hangs() -> None:
    driver = full_polls(2)
    driver.now += 5
    driver.bring(2, 10)

    assert driver.core.wake_at == 100.0 + 20 + 90


def test_it_wakes_up_for_a_poll_that_hangs_although_there_is_room_for_more() -> None:
    driver = Polls(ConsumerSettings(concurrency=1_000))
    assert driver.core.wake_at == 100.0 + 1 + 90

    driver.tell(AskFailed(ConnectionError("down"), refused=False, poll=1))
    assert driver.core.wake_at == 101.0
    driver.now = 101.0
    driver.tell(Tick())

    assert driver.core.wake_at == 101.0 + 1 + 90


def test_the_second_poll_that_hangs_is_replaced_too() -> None:
    driver = full_polls(2)
    driver.now += 1 + 90 + 20

    driver.tell(Tick())

    assert driver.counted("hung_polls") == 2
    assert len(driver.all(Receive)) == 2


# The limit of messages in flight


def test_the_limit_is_no_longer_reached_where_a_poll_brings_something() -> None:
    driver = Polls(ConsumerSettings(concurrency=1))
    driver.tell(AskFailed(RuntimeError("OverLimit"), refused=False, over_limit=True, poll=1))
    assert driver.core.health(driver.now).over_limit
    driver.wait_for(Receive)
    driver.bring(2, 0)
    assert driver.core.health(driver.now).over_limit

    driver.bring(3, 1)

    assert not driver.core.health(driver.now).over_limit


@pytest.mark.parametrize(
    ("facts", "over_limit"),
    [
        (QueueFacts(visible=1, in_flight=120_000), True),
        (QueueFacts(visible=0, in_flight=120_000), False),
        (QueueFacts(visible=1, in_flight=119_999), False),
    ],
)
def test_a_queue_is_at_its_limit_where_it_holds_something_to_give(facts: QueueFacts, over_limit: bool) -> None:
    driver = Polls(ConsumerSettings(concurrency=1), fifo=True)
    driver.now += 60
    driver.bring(1, 0)

    driver.tell(Inspected(facts))

    assert driver.core.health(driver.now).over_limit is over_limit
    assert bool(driver.reports(logging.WARNING)) is over_limit


# Who has heard of SQS


def test_a_poll_that_was_never_answered_has_heard_nothing() -> None:
    driver = Polls(ConsumerSettings(concurrency=1))
    driver.now += 5

    assert driver.core.health(driver.now).heard_ago == (None,)


def test_each_of_several_polls_has_heard_for_itself() -> None:
    driver = full_polls(3)
    driver.now += 5
    driver.bring(4, 10)
    driver.now += 2

    assert sorted(driver.core.health(driver.now).heard_ago, key=str) == [2.0, 2.0, 7.0, 7.0]
