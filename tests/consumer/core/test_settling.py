"""Settling, in the consumer's core: what goes into one call, how long it waits for company, how often it is tried."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from megaflow import Lease, Message
from megaflow.consumer.core.protocol import (
    Delete,
    Exit,
    Extend,
    Finished,
    Hide,
    Problem,
    Receive,
    Settled,
    Start,
    Stop,
    Tick,
)
from megaflow.processing.verdict import Fate
from megaflow.settings import ConsumerSettings
from tests.consumer.core.driving import Driver, ids, message, messages, verdict_on

FAILED = Problem("InternalError")


def handled(driver: Driver, count: int, *, first: int = 0) -> list[Message]:
    """Receive so many messages, and handle and delete them, ten at a time."""
    several = [message(str(first + each), expires_at=1e9) for each in range(count)]
    for start in range(0, count, 10):
        for each in driver.receive(*several[start : start + 10]):
            driver.finish(each)
        for asked in driver.all(Delete):
            driver.tell(Settled(asked))
    return several


# What was handled is known again


def test_ten_thousand_handled_messages_are_known_again_and_no_more() -> None:
    driver = Driver(ConsumerSettings(concurrency=10))
    handled(driver, 10_001)

    assert driver.receive(message("1")) == []
    assert ids(driver.one(Delete).messages) == ["1"]
    assert ids(driver.receive(message("0"))) == ["0"]


def test_four_full_calls_are_under_way_at_most() -> None:
    driver = Driver(ConsumerSettings(concurrency=100))
    started = driver.receive(*(message(str(number), expires_at=1e9) for number in range(100)))
    driver.tell(Finished(tuple(verdict_on(each, Fate.DELETE) for each in started)))
    first = driver.all(Delete)

    driver.tell(Settled(first[0]))

    assert [len(asked.messages) for asked in first] == [10] * 4
    assert len(driver.one(Delete).messages) == 10


def test_what_comes_again_while_it_is_being_deleted_is_not_handled_again() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    asked = driver.one(Delete)

    assert driver.receive(message("only")) == []
    assert driver.counted("duplicates") == 1
    assert driver.all(Delete) == [], "two calls at once about one message could undo each other"
    driver.tell(Settled(asked))

    assert ids(driver.one(Delete).messages) == ["only"]


def test_what_comes_again_while_it_is_being_deleted_is_deleted_by_its_newer_receipt_handle() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    asked = driver.one(Delete)
    driver.receive(replace(message("only"), lease=Lease("newer", 100.0, 130.0, lambda: 0.0)))

    driver.tell(Settled(asked, {"only": FAILED}))

    (deleted,) = driver.wait_for(Delete).messages
    assert deleted.lease is not None
    assert deleted.lease.receipt_handle == "newer"


def test_what_was_kept_and_comes_again_while_it_is_being_hidden_is_handled_and_not_hidden_once_more() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only, Fate.KEEP)
    asked = driver.one(Hide)

    assert ids(driver.receive(message("only"))) == ["only"]
    driver.tell(Settled(asked, {"only": FAILED}))
    driver.now += 10
    driver.tell(Tick())

    assert driver.all(Hide) == []


def test_what_is_given_back_at_the_stop_goes_on_being_deleted_where_it_was_handled() -> None:
    driver = Driver()
    first, _ = driver.receive(*messages(2))
    driver.finish(first)
    driver.tell(Settled(driver.wait_for(Delete)))
    driver.tell(Stop())

    driver.receive(message("0"))

    assert ids(driver.one(Delete).messages) == ["0"]
    assert driver.all(Hide) == []


# Company


def test_a_delete_waits_fifty_milliseconds_for_company() -> None:
    driver = Driver()
    first, second, _ = driver.receive(*messages(3))
    driver.finish(first)
    driver.now += 0.03
    driver.finish(second)
    assert driver.core.wake_at == 100.05

    driver.now = 100.05
    driver.tell(Tick())

    assert ids(driver.one(Delete).messages) == ["0", "1"]


def test_ten_that_are_to_be_deleted_or_hidden_do_not_go_before_their_time_where_neither_are_ten() -> None:
    driver = Driver(ConsumerSettings(concurrency=20))
    started = driver.receive(*messages(12))

    for each in started[:5]:
        driver.finish(each)
    for each in started[5:11]:
        driver.finish(each, Fate.KEEP)

    assert driver.all(Delete) == []
    assert driver.all(Hide) == []
    driver.now += 0.05
    driver.tell(Tick())
    assert (len(driver.one(Delete).messages), len(driver.one(Hide).messages)) == (5, 6)


def test_ten_hides_wait_for_nobody() -> None:
    driver = Driver(ConsumerSettings(concurrency=20, backoff=lambda count: 3.0))
    started = driver.receive(*messages(12))

    for each in started[:10]:
        driver.finish(each, Fate.KEEP)

    assert driver.one(Hide).seconds == (3.0,) * 10
    assert driver.counted("kept") == 1


def test_more_than_ten_go_in_several_calls() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=0), fifo=True)
    driver.receive(*[message(str(each), group="one") for each in range(10)])
    driver.receive(*[message(str(each), group="one") for each in range(10, 13)])

    driver.tell(Stop())

    assert [len(each.messages) for each in driver.all(Hide)] == [10, 2]
    assert driver.counted("given_back") == 12


def test_what_was_settled_is_counted() -> None:
    driver = Driver()
    first, second, third = driver.receive(*messages(3))
    driver.finish(first)
    driver.finish(second)
    driver.finish(third, Fate.KEEP)
    deleted, hidden = driver.one(Delete), driver.one(Hide)

    driver.tell(Settled(deleted, {"0": FAILED}))
    assert (driver.counted("deleted"), driver.counted("hidden")) == (1, 0)
    driver.tell(Settled(hidden))

    assert (driver.counted("deleted"), driver.counted("hidden")) == (0, 1)


def test_where_all_of_a_call_failed_nothing_is_known_to_be_allowed() -> None:
    driver = Driver()
    (first,) = driver.receive(message("first"))
    driver.finish(first)
    driver.tell(Settled(driver.one(Delete), {"first": FAILED}))
    refusal = PermissionError("no")

    again = driver.wait_for(Delete)
    driver.tell(Settled(again, {"first": Problem("AccessDenied", final=True)}, refusal))

    assert driver.one(Exit).error is refusal


# Tries


def test_a_delete_that_failed_is_tried_again_after_a_pause_that_grows() -> None:
    driver = Driver(ConsumerSettings(visibility_timeout=600))
    (only,) = driver.receive(message("only", expires_at=1e9))
    driver.finish(only)
    pauses = []

    for _ in range(4):
        failed_at = driver.now
        driver.tell(Settled(driver.one(Delete), {"only": FAILED}))
        driver.wait_for(Delete)
        pauses.append(driver.now - failed_at)

    assert pauses == [1.0, 2.0, 4.0, 8.0]


def test_a_delete_is_tried_again_before_half_of_what_is_left_is_over() -> None:
    driver = Driver(ConsumerSettings(visibility_timeout=1))
    (only,) = driver.receive(message("only", expires_at=101.0))
    driver.finish(only)

    driver.tell(Settled(driver.one(Delete), {"only": FAILED}))

    driver.wait_for(Delete)
    assert driver.now == 100.5


@pytest.mark.parametrize(("left", "tried"), [(0.5, True), (0.49, False)])
def test_a_lease_that_is_nearly_over_is_not_tried_again(left: float, tried: bool) -> None:
    driver = Driver(ConsumerSettings(visibility_timeout=1))
    (only,) = driver.receive(message("only", expires_at=110.0))
    driver.finish(only)
    asked = driver.one(Delete)
    driver.now = 110.0 - left

    driver.tell(Settled(asked, {"only": FAILED}))

    assert driver.counted("not_deleted") == (0 if tried else 1)
    assert bool(driver.reports(logging.WARNING)) is not tried


def test_a_hide_that_cannot_work_is_said() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only, Fate.KEEP)

    driver.tell(Settled(driver.one(Hide), {"only": Problem("ReceiptHandleIsInvalid", final=True)}))

    assert driver.counted("not_hidden") == 1
    assert driver.reports(logging.WARNING) == [
        "message only could not be hidden and comes again: ReceiptHandleIsInvalid"
    ]


def test_what_is_tried_again_is_hidden_for_as_long_as_was_asked_for() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only, Fate.KEEP, after=77)

    driver.tell(Settled(driver.one(Hide), {"only": FAILED}))

    assert driver.wait_for(Hide).seconds == (77.0,)


def test_at_the_stop_a_delete_is_tried_four_times_a_second_and_not_for_long() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only)
    asked = driver.one(Delete)
    driver.tell(Stop())
    tried_at = []

    while not driver.all(Exit):
        driver.tell(Settled(asked, {"only": FAILED}))
        if not driver.all(Exit):
            asked = driver.wait_for(Delete)
            tried_at.append(driver.now)

    assert tried_at == [100.25, 100.5, 100.75]
    assert driver.counted("not_deleted") == 1


def test_what_waited_to_be_tried_again_is_tried_at_the_stop() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    driver.finish(only, Fate.KEEP)
    driver.tell(Settled(driver.one(Hide), {"only": FAILED}))

    driver.tell(Stop())

    assert ids(driver.one(Hide).messages) == ["only"]


# Beside an extension


def test_a_delete_that_waits_for_an_extension_goes_with_the_others_after_it() -> None:
    driver = Driver()
    first, second = driver.receive(*messages(2))
    asked = driver.wait_for(Extend)
    driver.finish(first)
    assert driver.core.wake_at == 120.0

    driver.finish(second)
    assert driver.all(Delete) == []
    driver.tell(Settled(asked))

    assert ids(driver.one(Delete).messages) == ["0", "1"]


def test_what_waits_for_an_extension_holds_up_nothing_else() -> None:
    driver = Driver()
    (slow,) = driver.receive(message("slow"))
    driver.wait_for(Extend)
    driver.receive(message("quick", expires_at=1_000.0))
    driver.finish(slow)

    driver.finish(message("quick"))

    assert ids(driver.one(Delete).messages) == ["quick"]


# Order


def test_a_group_whose_delete_is_under_way_when_its_lease_ends_is_passed_over_once() -> None:
    driver = Driver(fifo=True)
    first, *_ = driver.receive(message("a1", group="a", expires_at=110.0), message("a2", group="a"))
    driver.finish(first)
    asked = driver.wait_for(Delete)
    driver.now = 110.0
    driver.tell(Tick())

    assert driver.receive(message("a3", group="a")) == []
    driver.tell(Settled(asked, {"a1": FAILED}))

    assert driver.counted("given_back") == 0
    assert driver.counted("not_deleted") == 1


def test_what_comes_after_its_group_was_passed_over_waits_on_when_another_group_is() -> None:
    driver = Driver(fifo=True)
    names = [("a1", "a", 130.0), ("b1", "b", 140.0), ("a2", "a", 1_000.0)]
    for each in driver.receive(*[message(name, group=group, expires_at=end) for name, group, end in names]):
        driver.finish(each)
    driver.wait_for(Delete)
    driver.now = 130.0
    driver.tell(Tick())
    assert driver.receive(message("a3", group="a", expires_at=1_000.0)) == []

    driver.now = 140.0
    driver.tell(Tick())

    assert ids(driver.core.waiting) == ["a3"]


def test_a_group_does_not_go_on_where_the_receipt_handle_of_its_handled_message_was_refused() -> None:
    driver = Driver(fifo=True)
    first, *_ = driver.receive(message("a1", group="a"), message("a2", group="a", expires_at=1_000.0))
    asked = driver.wait_for(Extend)
    driver.tell(Settled(asked, {"a1": Problem("ReceiptHandleIsInvalid", final=True)}))

    driver.finish(first)

    assert driver.all(Start) == []
    assert driver.counted("given_back") == 1
    assert driver.core.waiting == ()


def test_of_several_groups_only_the_one_whose_message_comes_again_is_passed_over() -> None:
    driver = Driver(fifo=True)
    names = [("a1", "a", 110.0), ("b1", "b", 1_000.0), ("a2", "a", 1_000.0), ("b2", "b", 1_000.0)]
    driver.receive(*[message(name, group=group, expires_at=end) for name, group, end in names])
    for name, group in (("a1", "a"), ("b1", "b")):
        driver.finish(message(name, group=group))
    driver.wait_for(Delete)
    driver.receive(message("a3", group="a", expires_at=1_000.0), message("b3", group="b", expires_at=1_000.0))
    assert sorted(ids(driver.core.waiting)) == ["a3", "b3"]

    driver.now = 110.0
    driver.tell(Tick())

    assert ids(driver.core.waiting) == ["b3"]
    assert driver.counted("given_back") == 1


def test_groups_whose_leases_end_one_after_another_are_each_passed_over_in_time() -> None:
    driver = Driver(fifo=True)
    ends = [("a", 110.0), ("b", 120.0), ("c", 130.0)]
    for group, end in ends:
        driver.receive(message(f"{group}1", group=group, expires_at=end), message(f"{group}2", group=group))
        driver.finish(message(f"{group}1", group=group))
    driver.wait_for(Delete)
    for group, _ in ends:
        driver.receive(message(f"{group}3", group=group, expires_at=1_000.0))

    waiting = []
    for _, end in ends:
        driver.now = end
        driver.tell(Tick())
        waiting.append(sorted(ids(driver.core.waiting)))

    assert waiting == [["b3", "c3"], ["c3"], []]


def test_a_standard_queue_has_no_order_that_a_failed_delete_could_break() -> None:
    driver = Driver(ConsumerSettings(concurrency=1, prefetch=10))
    driver.now += 0.01
    (first,) = driver.receive(message("first", group="one"))
    driver.finish(first)
    asked = driver.one(Delete)
    driver.receive(message("second", group="one"), message("third", group="one"))

    driver.tell(Settled(asked, {"first": Problem("ReceiptHandleIsInvalid", final=True)}))

    assert driver.counted("given_back") == 0
    assert ids(driver.core.waiting) == ["third"]


def test_a_group_goes_on_after_a_hide_that_failed() -> None:
    driver = Driver(fifo=True)
    (first,) = driver.receive(message("a1", group="a"))
    driver.finish(first, Fate.KEEP)
    asked = driver.one(Hide)
    driver.receive(message("a2", group="a"), message("a3", group="a"))

    driver.tell(Settled(asked, {"a1": Problem("ReceiptHandleIsInvalid", final=True)}))

    assert driver.counted("given_back") == 0


def test_what_is_received_while_a_delete_is_tried_again_goes_on() -> None:
    driver = Driver(ConsumerSettings(concurrency=1))
    (first,) = driver.receive(message("first"))
    driver.finish(first)
    driver.tell(Settled(driver.one(Delete), {"first": FAILED}))

    assert driver.core.wake_at == 101.0
    assert driver.receive(message("second"))
    assert driver.all(Start)
    assert driver.all(Receive) == []
