"""Held messages, in the consumer's core: whose turn it is, and the order within message groups."""

from __future__ import annotations

import pytest

from megaflow.consumer.core.protocol import Delete, Extend, Problem, Receive, Settled, Start, Tick
from megaflow.processing.verdict import Fate
from megaflow.settings import ConsumerSettings
from tests.consumer.core.driving import Driver, ids, message


def test_messages_of_no_group_on_a_fifo_queue_do_not_wait_for_each_other() -> None:
    driver = Driver(fifo=True)

    assert ids(driver.receive(message("1"), message("2"))) == ["1", "2"]


def test_what_waits_is_started_in_the_order_received_as_slots_become_free() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=5))
    (first,) = driver.receive(message("1"), message("2"), message("3"))

    driver.finish(first)
    assert ids(driver.one(Start).messages) == ["2"]
    assert ids(driver.core.waiting) == ["3"]
    driver.finish(message("2"))

    assert ids(driver.one(Start).messages) == ["3"]


def test_what_waits_takes_the_room_of_what_could_come_in_advance() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, max_number_of_messages=5, prefetch=5))
    driver.receive(*[message(str(each)) for each in range(6)])
    for each in range(5):
        driver.finish(message(str(each)))
    assert driver.one(Receive).count == 5

    driver.receive(*[message(str(each)) for each in range(6, 11)])

    assert len(driver.core.waiting) == 5
    assert driver.all(Receive) == []


def test_the_groups_take_turns_as_slots_become_free() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=9), fifo=True)
    names = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")]
    (started,) = driver.receive(*[message(name, group=group) for name, group in names])
    order = [started.id]

    for _ in names[1:]:
        driver.finish(started)
        (started,) = driver.one(Start).messages
        order.append(started.id)

    assert order == ["a1", "b1", "a2", "b2"]


def test_a_group_of_which_a_message_is_at_work_takes_no_second_slot() -> None:
    driver = Driver(ConsumerSettings(concurrency=3), fifo=True)
    driver.receive(message("a1", group="a"))

    assert driver.receive(message("a2", group="a")) == []
    assert driver.receive(message("b1", group="b")) != []


def test_what_waits_in_a_busy_group_takes_no_room_of_others() -> None:
    driver = Driver(ConsumerSettings(concurrency=3, max_number_of_messages=10, prefetch=0), fifo=True)

    driver.receive(message("a1", group="a"), message("a2", group="a"), message("a3", group="a"))

    assert driver.one(Receive).count == 2


def test_what_waits_and_could_be_started_takes_room() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, max_number_of_messages=10, prefetch=0), fifo=True)

    driver.receive(message("a1", group="a"), message("b1", group="b"))
    driver.finish(message("a1", group="a"))

    assert driver.all(Receive) == []


def test_a_message_that_was_lost_while_it_waited_holds_up_nothing() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=9))
    (first,) = driver.receive(message("1"), message("2", expires_at=110.0), message("3"))
    driver.now = 110.0
    driver.tell(Tick())

    driver.finish(first)

    assert ids(driver.one(Start).messages) == ["3"]


def test_in_a_group_whose_first_message_was_lost_while_it_waited_nothing_is_started_before_it() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=9), fifo=True)
    (first,) = driver.receive(
        message("b1", group="b"), message("a1", group="a", expires_at=110.0), message("a2", group="a")
    )
    driver.now = 110.0
    driver.tell(Tick())
    assert (driver.counted("lost_leases"), driver.counted("given_back")) == (1, 1)

    driver.finish(first)

    assert driver.all(Start) == []
    assert driver.core.waiting == ()


def test_in_a_group_in_which_a_later_message_was_lost_what_is_before_it_goes_on() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=9), fifo=True)
    names = ("a1", "a2", "a3", "a4")
    (first,) = driver.receive(
        *[message(name, group="a", expires_at=110.0 if name == "a3" else 1_000.0) for name in names]
    )
    driver.now = 110.0
    driver.tell(Tick())
    assert (driver.counted("lost_leases"), driver.counted("given_back")) == (1, 1)

    driver.finish(first)

    assert ids(driver.one(Start).messages) == ["a2"]
    driver.finish(message("a2", group="a"))
    assert driver.all(Start) == []


def test_after_a_group_has_come_to_its_end_it_begins_anew() -> None:
    driver = Driver(fifo=True)
    for name in ("a1", "a2"):
        (only,) = driver.receive(message(name, group="a"))
        driver.finish(only)

    assert ids(driver.receive(message("a3", group="a"))) == ["a3"]


@pytest.mark.parametrize("fate", [Fate.KEEP, Fate.DELETE])
def test_a_message_that_comes_again_takes_its_turn_anew(fate: Fate) -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=9), fifo=True)
    (first,) = driver.receive(message("a1", group="a"), message("b1", group="b"))

    driver.finish(first, fate)

    assert ids(driver.one(Start).messages) == ["b1"]
    driver.receive(message("a2", group="a"))
    assert driver.all(Start) == []
    driver.finish(message("b1", group="b"))
    assert ids(driver.one(Start).messages) == ["a2"]


def test_a_message_that_is_dead_lettered_is_in_hand() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only, Fate.DEAD_LETTER)

    started = driver.receive(message("only"))

    assert started == []
    assert driver.counted("duplicates") == 1
    assert driver.core.health(driver.now).in_hand == 1


def test_the_lease_of_a_message_that_is_dead_lettered_is_extended() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only, Fate.DEAD_LETTER)

    assert ids(driver.wait_for(Extend).messages) == ["only"]
    assert driver.now == 115.0


def test_what_waits_behind_a_delete_that_failed_is_given_back_although_nothing_of_its_group_is_at_work() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=9), fifo=True)
    (first,) = driver.receive(message("a1", group="a"), message("b1", group="b"), message("a2", group="a"))
    driver.finish(first)
    assert ids(driver.one(Start).messages) == ["b1"]
    driver.now += 0.05
    driver.tell(Tick())
    driver.tell(Settled(driver.one(Delete), {"a1": Problem("ReceiptHandleIsInvalid", final=True)}))

    assert driver.counted("given_back") == 1
    assert driver.core.waiting == ()
