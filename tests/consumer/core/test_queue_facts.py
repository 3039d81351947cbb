"""Queue facts, in the consumer's core: what is said of a queue at the start, and where its failures go."""

from __future__ import annotations

import logging

import pytest

from megaflow.consumer.core.protocol import DeadLetter, Inspected, Tick
from megaflow.processing.verdict import Fate
from megaflow.settings import ConsumerSettings
from megaflow.transport.queue import QueueFacts
from tests.consumer.core.driving import Driver, message

DEAD = "https://sqs.eu-west-1.amazonaws.com/1/dead"


def driver_of(facts: QueueFacts, settings: ConsumerSettings | None = None) -> Driver:
    driver = Driver(settings, inspected=False)
    driver.tell(Tick())
    driver.tell(Inspected(facts))
    return driver


def test_it_says_where_messages_go_that_fail_for_good() -> None:
    driver = driver_of(QueueFacts(DEAD, 3))

    assert driver.reports(logging.INFO) == [f"messages that fail for good go to {DEAD}"]
    assert driver.reports(logging.WARNING) == []


@pytest.mark.parametrize(("count", "said"), [(0, 0), (1, 1), (2, 1), (3, 0)])
def test_a_low_max_receive_count_is_said(count: int, said: int) -> None:
    driver = driver_of(QueueFacts(DEAD, count))

    warnings = driver.reports(logging.WARNING)

    assert len(warnings) == said
    assert all(f"maxReceiveCount is {count}" in each and "use 3 or more" in each for each in warnings)


def test_where_there_is_no_dead_letter_queue_that_alone_is_said() -> None:
    driver = driver_of(QueueFacts())

    assert driver.reports(logging.INFO) == []
    assert driver.reports(logging.WARNING) == ["no dead-letter queue: messages that fail for good are deleted"]


def test_the_dead_letter_queue_that_was_given_wins() -> None:
    settings = ConsumerSettings(dead_letter_queue_url="https://sqs.eu-west-1.amazonaws.com/1/given")
    driver = driver_of(QueueFacts(DEAD), settings)
    (only,) = driver.receive(message("only"))

    driver.finish(only, Fate.DEAD_LETTER)

    assert driver.one(DeadLetter).queue_url == settings.dead_letter_queue_url


def test_what_is_asked_later_is_how_much_it_holds_alone() -> None:
    driver = Driver(fifo=True)
    driver.now += 60
    driver.receive()

    driver.tell(Inspected(QueueFacts(visible=0, in_flight=0)))

    assert driver.reports(logging.WARNING) == []
    (only,) = driver.receive(message("only", expires_at=1_000.0))
    driver.finish(only, Fate.DEAD_LETTER)
    assert driver.one(DeadLetter).queue_url == "https://dead"
