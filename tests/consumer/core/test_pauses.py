"""Pauses in the consumer's core: nothing is received, what is in hand is handled, and nothing else changes."""

from __future__ import annotations

import logging

from megaflow.consumer.core.protocol import (
    Delete,
    Exit,
    Hide,
    Inspect,
    Inspected,
    Pause,
    Receive,
    Received,
    Settled,
    Start,
    Stop,
    Tick,
)
from megaflow.settings import ConsumerSettings
from tests.consumer.core.driving import Driver, ids, message, messages

OVER = Pause(is_over=True)


def test_nothing_is_polled_until_the_pause_is_over() -> None:
    driver = Driver()
    driver.tell(Pause())
    driver.tell(Received((), driver.poll))
    assert driver.all(Receive) == []
    driver.now += 3600.0
    driver.tell(Tick())
    assert driver.all(Receive) == []

    driver.tell(OVER)

    assert driver.one(Receive)


def test_what_is_in_hand_is_handled_and_settled_also_what_was_not_begun() -> None:
    driver, several = Driver(ConsumerSettings(concurrency=1)), messages(2)
    assert driver.receive(*several) == [several[0]]
    driver.tell(Pause())

    driver.finish(several[0])
    assert driver.one(Start).messages == (several[1],)
    deleted = driver.all(Delete)
    driver.finish(several[1])
    deleted += driver.all(Delete)

    assert [each for asked in deleted for each in ids(asked.messages)] == ["0", "1"]
    assert driver.all(Receive) == []


def test_what_a_poll_under_way_brings_is_given_back_at_once() -> None:
    driver = Driver()
    driver.tell(Pause())

    assert driver.receive(*messages(2)) == []

    assert driver.one(Hide).seconds == (0.0, 0.0)
    assert driver.core.health(driver.now).in_hand == 0


def test_what_comes_again_during_a_pause_goes_on_as_one_with_what_is_in_hand() -> None:
    driver, (first,) = Driver(), messages(1)
    driver.receive(first)
    driver.tell(Pause())

    driver.tell(Received((message("0", expires_at=150.0),), driver.poll))

    assert driver.counted("duplicates") == 1
    assert first.lease is not None
    assert first.lease.expires_at == 150.0


def test_a_consumer_that_is_paused_from_the_beginning_asks_nothing() -> None:
    driver = Driver(inspected=False)

    driver.tell(Pause())
    assert driver.answered == [each for each in driver.answered if not isinstance(each, Inspect | Receive)]
    driver.tell(OVER)

    assert driver.one(Inspect)
    driver.tell(Inspected(driver.facts))
    assert driver.one(Receive)


def test_a_paused_consumer_is_live_and_ready_and_says_that_it_is_paused() -> None:
    driver = Driver()
    driver.tell(Received((), driver.poll))
    driver.tell(Pause())
    driver.now += 50.0

    health = driver.core.health(driver.now)

    assert (health.live, health.ready, health.paused, health.problems) == (True, True, True, ("it is paused",))
    driver.tell(OVER)
    assert not driver.core.health(driver.now).paused


def test_that_it_is_paused_and_resumed_is_said_once() -> None:
    driver = Driver()

    said = []
    for each in (Pause(), Pause(), OVER, OVER):
        driver.tell(each)
        said += driver.reports(logging.INFO)

    assert said == ["paused: nothing is received until it is resumed", "resumed: messages are received again"]


def test_a_paused_consumer_can_be_stopped() -> None:
    driver, (first,) = Driver(), messages(1)
    driver.receive(first)
    driver.tell(Pause())

    driver.tell(Stop())
    driver.finish(first)
    driver.tell(Settled(driver.one(Delete)))

    assert driver.one(Exit).error is None
