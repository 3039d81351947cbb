"""How messages end, in the consumer's core: what is counted and said of each, and what waits behind it."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import pytest

from megaflow.consumer.core.protocol import (
    Called,
    Crashed,
    DeadLetter,
    Delete,
    Exit,
    GiveUp,
    Hide,
    Inspected,
    Problem,
    Report,
    Settled,
    Start,
    Stop,
    Tick,
)
from megaflow.handlers.handler import make_handler
from megaflow.handlers.options import Options
from megaflow.match.conditions import EVERYTHING
from megaflow.messages.attributes import Attribute
from megaflow.messages.codec import Kind
from megaflow.processing.verdict import Fate
from megaflow.settings import ConsumerSettings
from megaflow.transport.queue import QueueFacts
from tests.consumer.core.driving import HANDLER, Driver, ids, message, messages

DEAD = "https://dead"
TOO_LARGE = Problem("too large", of_message=True)


def driver_of(facts: QueueFacts, settings: ConsumerSettings | None = None) -> Driver:
    driver = Driver(settings, inspected=False)
    driver.tell(Tick())
    driver.tell(Inspected(facts))
    return driver


# Kept


def test_a_kept_message_is_counted() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))

    driver.finish(only, Fate.KEEP)

    assert driver.counted("kept") == 1


@pytest.mark.parametrize("backoff", [lambda count: 1 / 0, lambda count: math.nan])
def test_where_the_backoff_fails_a_message_waits_the_longer_the_more_often_it_was_received(backoff: object) -> None:
    driver = Driver(ConsumerSettings(concurrency=1, backoff=backoff))  # type: ignore[arg-type]
    (only,) = driver.receive(message("only", count=3))

    driver.finish(only, Fate.KEEP)

    assert driver.one(Hide).seconds == (4.0,)


def test_a_backoff_that_fails_is_said_with_its_error() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, backoff=lambda count: 1 / 0))
    (only,) = driver.receive(message("only", count=3))

    driver.finish(only, Fate.KEEP)

    (report,) = [each for each in driver.all(Report) if each.level == logging.ERROR]
    assert report.text % report.values == "message only: the backoff failed for receive count 3"
    assert isinstance(report.error, ZeroDivisionError)


# Dead-lettered


def test_what_is_dead_lettered_is_counted_once_it_is_there() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only, Fate.DEAD_LETTER)
    assert driver.counted("dead_lettered") == 0

    driver.tell(Settled(driver.one(DeadLetter)))

    assert driver.counted("dead_lettered") == 1


def test_what_is_deleted_for_want_of_a_dead_letter_queue_is_counted() -> None:
    driver = Driver(dead_letters=False)
    (only,) = driver.receive(message("only"))

    driver.finish(only, Fate.DEAD_LETTER)

    assert driver.counted("dropped") == 1


def test_what_was_received_too_often_is_said_to_be_why_where_there_is_no_dead_letter_queue() -> None:
    driver = driver_of(QueueFacts(), ConsumerSettings(max_receives=3))

    driver.receive(message("crasher", count=4))

    assert driver.reports(logging.ERROR) == [
        "message crasher: no dead-letter queue, so it is deleted: received 4 times, and max_receives is 3"
    ]


@pytest.mark.parametrize(
    ("facts", "policy"),
    [
        (QueueFacts(DEAD, 5, dead_letter_size_limit=4), "the queue's redrive policy moves it in the end"),
        (
            QueueFacts(DEAD, 0, dead_letter_size_limit=4),
            "no redrive policy of the queue is known, so that it comes again until it is too old: delete it",
        ),
    ],
)
def test_what_the_dead_letter_queue_does_not_take_is_kept_and_said(facts: QueueFacts, policy: str) -> None:
    driver = driver_of(facts)
    (only,) = driver.receive(replace(message("only"), body="bodies"))

    driver.finish(only, Fate.DEAD_LETTER)

    assert driver.all(DeadLetter) == []
    assert driver.one(Hide).messages == (only,)
    assert (driver.counted("not_dead_lettered"), driver.counted("kept")) == (1, 1)
    assert driver.reports(logging.ERROR) == [
        "message only: kept, as it cannot be dead-lettered: it has 6 bytes, and the dead-letter queue takes 4; "
        + policy
    ]


@pytest.mark.parametrize(("limit", "goes"), [(6, True), (5, False), (0, True)])
def test_a_message_that_just_fits_goes_to_the_dead_letter_queue(limit: int, goes: bool) -> None:
    driver = driver_of(QueueFacts(DEAD, dead_letter_size_limit=limit))
    (only,) = driver.receive(replace(message("only"), body="bodies"))

    driver.finish(only, Fate.DEAD_LETTER)

    assert bool(driver.all(DeadLetter)) is goes


def test_of_a_message_its_attributes_count_too() -> None:
    driver = driver_of(QueueFacts(DEAD, dead_letter_size_limit=20))
    carried = {"name": Attribute("String", "a value")}
    (only,) = driver.receive(replace(message("only"), body="bodies", sqs_attributes=carried))

    driver.finish(only, Fate.DEAD_LETTER)

    assert driver.all(DeadLetter) == []


def test_a_message_that_is_refused_with_ten_attributes_is_not_sent_twice() -> None:
    driver = Driver()
    carried = {name: Attribute("String", "value") for name in "abcdefghij"}
    (only,) = driver.receive(replace(message("only"), sqs_attributes=carried))
    driver.finish(only, Fate.DEAD_LETTER)

    driver.tell(Settled(driver.one(DeadLetter), {"only": TOO_LARGE}))

    assert driver.all(DeadLetter) == []
    assert driver.one(Hide).messages == (only,)


def test_what_waits_behind_a_message_that_could_not_be_dead_lettered_comes_after_it() -> None:
    driver = Driver(fifo=True)
    first, *_ = driver.receive(message("a1", group="a"), message("a2", group="a"))
    driver.finish(first, Fate.DEAD_LETTER)

    driver.tell(Settled(driver.one(DeadLetter), {"a1": Problem("AccessDenied", final=True)}))

    assert driver.all(Start) == []
    hidden = driver.one(Hide)
    assert dict(zip(ids(hidden.messages), hidden.seconds, strict=True)) == {"a1": 10.0, "a2": 0.0}
    assert ids(driver.receive(message("a1", group="a"))) == ["a1"]


def test_of_several_what_was_received_too_often_is_dead_lettered_and_the_others_are_handled() -> None:
    driver = Driver(ConsumerSettings(concurrency=5, max_receives=3))

    started = driver.receive(message("good", count=3), message("crasher", count=4), message("other"))

    assert ids(started) == ["good", "other"]
    assert driver.one(DeadLetter).message.id == "crasher"


def test_without_a_limit_a_message_may_be_received_however_often() -> None:
    driver = Driver()

    assert ids(driver.receive(message("old", count=10_000))) == ["old"]


def test_a_message_kept_at_its_last_delivery_by_one_who_exits_comes_again() -> None:
    driver = Driver(ConsumerSettings(max_receives=3))
    (last,) = driver.receive(message("last", count=3))

    driver.tell(Crashed(last, KeyboardInterrupt()))

    assert driver.all(DeadLetter) == []
    assert driver.one(Hide).messages == (last,)


# Given up


def test_a_message_whose_handler_is_given_up_comes_again_when_the_backoff_of_that_handler_says() -> None:
    handler = make_handler(
        lambda text: None, Kind.TEXT, EVERYTHING, name="stuck", options=Options(backoff=lambda count: 7.0 * count)
    )
    driver = Driver()
    (stuck,) = driver.receive(message("stuck", count=3))
    driver.tell(Called(stuck, handler, 5.0))

    driver.wait_for(GiveUp)

    assert driver.one(Hide).seconds == (21.0,)


def test_a_handler_that_is_given_up_is_counted_and_said() -> None:
    driver = Driver()
    (stuck,) = driver.receive(message("stuck"))
    driver.tell(Called(stuck, HANDLER, 5.0))
    assert driver.core.wake_at == 105.0

    driver.wait_for(GiveUp)

    assert (driver.counted("timed_out"), driver.counted("kept")) == (1, 1)
    assert driver.reports(logging.ERROR) == [
        f"message stuck: {HANDLER.name} has not returned in its time, and cannot be stopped; its thread is replaced"
    ]
    health = driver.core.health(driver.now)
    assert health.stuck_threads == 1
    assert "handlers that did not return in their time hold 1 threads" in health.problems
    driver.now += 20
    driver.tell(Tick())
    assert driver.core.health(driver.now).stuck_threads == 1


def test_of_several_handlers_the_one_whose_time_is_over_is_given_up() -> None:
    driver = Driver()
    first, second = driver.receive(*messages(2))
    driver.tell(Called(first, HANDLER, 5.0))
    driver.tell(Called(second, HANDLER, 6.0))

    assert driver.wait_for(GiveUp).message == first
    assert driver.now == 105.0
    driver.tell(Tick())
    assert driver.wait_for(GiveUp).message == second
    assert driver.now == 106.0
    assert driver.core.health(driver.now).stuck_threads == 2


def test_the_next_handler_of_a_message_has_its_own_time() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.tell(Called(only, HANDLER, 5.0))
    driver.tell(Called(only, HANDLER, None))
    driver.now += 3
    driver.tell(Called(only, HANDLER, 5.0))

    driver.wait_for(GiveUp)

    assert driver.now == 108.0


def test_what_waits_behind_a_message_that_was_given_up_comes_after_it() -> None:
    driver = Driver(fifo=True)
    first, *_ = driver.receive(message("a1", group="a"), message("a2", group="a"))
    driver.tell(Called(first, HANDLER, 5.0))

    driver.wait_for(GiveUp)

    assert driver.all(Start) == []
    assert driver.counted("given_back") == 1


# Not waited for


def test_nobody_is_given_up_once_no_handler_is_waited_for() -> None:
    driver = Driver(ConsumerSettings(shutdown_timeout=5))
    (stuck,) = driver.receive(message("stuck"))
    driver.tell(Called(stuck, HANDLER, 7.0))
    driver.tell(Stop())
    driver.now = 105.0
    driver.tell(Tick())
    assert driver.all(Exit)

    assert driver.core.wake_at > 107.0
    driver.now = 107.0
    driver.tell(Tick())

    assert driver.all(GiveUp) == []


def test_handlers_that_are_not_waited_for_hear_that_their_message_comes_again() -> None:
    driver = Driver(ConsumerSettings(shutdown_timeout=5))
    (stuck,) = driver.receive(message("stuck"))
    driver.tell(Stop())
    driver.now = 105.0

    driver.tell(Tick())

    assert stuck.lease is not None
    assert stuck.lease.is_given_up
    assert driver.counted("given_back") == 0


# Expired while they waited


def test_a_message_that_waited_too_long_is_not_hidden_from_whoever_has_it_by_now() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=5))
    driver.receive(message("slow"), message("late", expires_at=110.0))
    driver.now = 110.0

    driver.tell(Tick())

    assert driver.counted("lost_leases") == 1
    assert driver.core.waiting == ()
    assert driver.all(Hide) == []


def test_a_handled_message_frees_its_group_for_the_next() -> None:
    driver = Driver(ConsumerSettings(concurrency=2), fifo=True)
    first, second = driver.receive(message("a1", group="a"), message("b1", group="b"), message("a2", group="a"))

    driver.finish(first)
    assert ids(driver.one(Start).messages) == ["a2"]
    driver.finish(second)

    assert ids(driver.receive(message("b2", group="b"), message("a3", group="a"))) == ["b2"]
    assert driver.all(Delete) == []
