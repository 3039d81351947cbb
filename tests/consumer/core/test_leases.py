"""Leases, in the consumer's core: when they are extended, for how long, and when they are given up."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from megaflow import Lease
from megaflow.consumer.core.protocol import Called, Delete, Extend, GiveUp, Problem, Settled, Tick
from megaflow.settings import ConsumerSettings
from tests.consumer.core.driving import HANDLER, Driver, ids, message, messages

FAILED = Problem("InternalError")


def test_a_lease_that_is_due_soon_is_extended_together_with_one_that_is_due() -> None:
    driver = Driver(ConsumerSettings(concurrency=3, visibility_timeout=30))
    driver.receive(message("due"), message("soon", expires_at=133.0), message("later", expires_at=133.1))

    assert ids(driver.wait_for(Extend).messages) == ["due", "soon"]
    assert driver.now == 115.0


def test_leases_are_extended_ten_to_a_call() -> None:
    driver = Driver(ConsumerSettings(concurrency=12, max_number_of_messages=10))
    driver.receive(*messages(12))
    driver.now = 115.0

    driver.tell(Tick())

    assert [len(each.messages) for each in driver.all(Extend)] == [10, 2]


def test_a_lease_whose_extension_is_under_way_is_not_extended_once_more() -> None:
    driver = Driver()
    driver.receive(message("only"))
    driver.wait_for(Extend)

    driver.now += 4.9
    driver.tell(Tick())

    assert driver.all(Extend) == []


def test_a_lease_whose_extension_is_under_way_is_not_extended_with_others() -> None:
    driver = Driver()
    driver.receive(message("first"), message("later", expires_at=134.0))
    assert ids(driver.wait_for(Extend).messages) == ["first"]

    driver.now = 119.0
    driver.tell(Tick())

    assert ids(driver.one(Extend).messages) == ["later"]


def test_a_lease_is_extended_by_a_second_where_the_visibility_timeout_is_one() -> None:
    driver = Driver(ConsumerSettings(visibility_timeout=1))
    driver.receive(message("only", expires_at=101.0))

    asked = driver.wait_for(Extend)

    assert (driver.now, asked.seconds) == (100.5, (1.0,))


def test_a_lease_that_was_extended_early_and_is_refused_is_lost_at_once() -> None:
    driver = Driver()
    driver.receive(message("due"), message("soon", expires_at=133.0))
    asked = driver.wait_for(Extend)
    assert ids(asked.messages) == ["due", "soon"]

    driver.tell(Settled(asked, {"soon": Problem("ReceiptHandleIsInvalid", final=True)}))

    assert driver.counted("lost_leases") == 1
    assert driver.core.wake_at == 130.0


def test_an_extension_that_nobody_answers_is_asked_for_again_after_five_seconds() -> None:
    driver = Driver()
    driver.receive(message("only"))
    driver.wait_for(Extend)
    assert driver.core.wake_at == 120.0

    driver.now = 120.0
    driver.tell(Tick())

    assert ids(driver.one(Extend).messages) == ["only"]


def test_the_answer_to_an_earlier_extension_does_not_free_a_later_one() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    first = driver.wait_for(Extend)
    driver.now = 120.0
    driver.tell(Tick())
    assert driver.all(Extend)

    driver.tell(Settled(first))
    driver.finish(only)

    assert driver.all(Delete) == []
    assert driver.core.wake_at == 125.0


def test_an_extension_that_failed_is_tried_again_after_a_quarter_of_what_is_left() -> None:
    driver = Driver()
    driver.receive(message("only"))
    asked = driver.wait_for(Extend)
    driver.now = 118.0

    driver.tell(Settled(asked, {"only": FAILED}))

    assert driver.counted("not_extended") == 1
    assert driver.reports(logging.ERROR) == []
    assert driver.reports(logging.WARNING) == ["message only: its visibility was not extended: InternalError"]
    driver.wait_for(Extend)
    assert driver.now == 121.0


def test_just_before_the_end_an_extension_that_failed_is_tried_again_ten_times_a_second() -> None:
    driver = Driver()
    driver.receive(message("only"))
    asked = driver.wait_for(Extend)
    driver.now = 129.8

    driver.tell(Settled(asked, {"only": FAILED}))

    driver.wait_for(Extend)
    assert driver.now == pytest.approx(129.9)


def test_after_an_extension_that_succeeded_the_next_one_is_halfway_again_although_one_has_failed() -> None:
    driver = Driver()
    driver.receive(message("only"))
    driver.tell(Settled(driver.wait_for(Extend), {"only": FAILED}))
    asked = driver.wait_for(Extend)
    extended_at = driver.now

    driver.tell(Settled(asked))

    assert driver.counted("extended") == 1
    driver.wait_for(Extend)
    assert driver.now == extended_at + 15.0


def test_an_extension_that_is_refused_is_said() -> None:
    driver = Driver()
    driver.receive(message("only"))
    asked = driver.wait_for(Extend)

    driver.tell(Settled(asked, {"only": Problem("AccessDenied", final=True)}, PermissionError("no")))

    assert driver.reports(logging.ERROR) == ["visibility timeouts cannot be extended: no"]


def test_a_receipt_handle_that_is_refused_is_lost_at_once() -> None:
    driver = Driver()
    driver.receive(message("only"))
    asked = driver.wait_for(Extend)

    driver.tell(Settled(asked, {"only": Problem("ReceiptHandleIsInvalid", final=True)}))

    assert driver.counted("lost_leases") == 1
    assert driver.reports(logging.WARNING) == [
        "message only: its lease is lost: ReceiptHandleIsInvalid",
        "message only: its lease was lost while it is handled, so it may be handled twice; it comes again",
    ]


def test_what_became_of_extending_an_earlier_delivery_says_nothing_of_the_later_one() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    asked = driver.wait_for(Extend)
    driver.receive(replace(message("only"), lease=Lease("newer", 116.0, 146.0, lambda: 0.0)))

    driver.tell(Settled(asked, {"only": Problem("ReceiptHandleIsInvalid", final=True)}))

    assert only.lease is not None
    assert not only.lease.is_refused
    assert driver.counted("lost_leases") == 0
    driver.finish(only)
    assert ids(driver.one(Delete).messages) == ["only"]


def test_a_later_delivery_is_extended_as_soon_as_it_is_known_what_became_of_extending_the_earlier_one() -> None:
    driver = Driver(ConsumerSettings(visibility_timeout=2))
    driver.receive(message("only", expires_at=102.0))
    asked = driver.wait_for(Extend)
    driver.now = 102.0
    driver.receive(replace(message("only"), lease=Lease("newer", 102.0, 104.0, lambda: 0.0)))
    driver.now = 103.0
    driver.tell(Tick())
    assert driver.all(Extend) == []

    driver.now = 103.5
    driver.tell(Settled(asked))

    assert driver.one(Extend).receipt_handles == ("newer",)


def test_an_extension_never_makes_a_lease_shorter() -> None:
    driver = Driver()
    (only,) = driver.receive(message("only"))
    asked = driver.wait_for(Extend)
    assert only.lease is not None
    only.lease.expires_at = 200.0

    driver.tell(Settled(asked))

    assert only.lease.expires_at == 200.0


def test_a_lease_that_was_lost_is_no_longer_extended() -> None:
    driver = Driver()
    driver.receive(message("lost", expires_at=110.0), message("kept"))
    driver.now = 115.0

    driver.tell(Tick())

    assert ids(driver.one(Extend).messages) == ["kept"]
    assert driver.counted("lost_leases") == 1
    driver.now += 5
    driver.tell(Tick())
    assert driver.counted("lost_leases") == 0


def test_a_lease_that_was_lost_does_not_keep_others_from_being_extended_in_time() -> None:
    driver = Driver()
    driver.receive(message("lost", expires_at=110.0), message("kept"))
    driver.now = 110.0

    driver.tell(Tick())

    assert driver.core.wake_at == 115.0


def test_a_message_that_comes_again_can_be_lost_again() -> None:
    driver = Driver()
    driver.receive(message("only", expires_at=110.0))
    driver.now = 110.0
    driver.tell(Tick())

    driver.receive(message("only", expires_at=120.0))
    driver.now = 120.0
    driver.tell(Tick())

    assert driver.counted("lost_leases") == 1
    assert driver.core.health(driver.now).lost_leases == 2


def test_what_is_not_in_hand_any_more_is_forgotten() -> None:
    driver = Driver(ConsumerSettings(max_processing_time=30.0))
    lost, put_off, _ = driver.receive(message("lost", expires_at=110.0), message("put off"), message("stays"))
    driver.now = 115.0
    driver.tell(Tick())
    leases = driver.core._leases
    assert (leases._lost, set(leases._put_off)) == ({"lost"}, {"put off", "stays"})

    driver.finish(lost)
    driver.finish(put_off)
    driver.now = 130.0
    driver.tell(Tick())

    assert set(leases._put_off) == {"stays"}
    assert "lost" not in leases._lost, "it does not grow"


def test_the_longest_processing_time_is_said_once_it_is_over() -> None:
    driver = Driver(ConsumerSettings(max_processing_time=40.0))
    driver.receive(message("only"))
    driver.tell(Settled(driver.wait_for(Extend)))
    assert driver.reports(logging.WARNING) == []

    driver.now = 125.0
    driver.tell(Tick())

    assert driver.all(Extend) == []
    assert driver.reports(logging.WARNING) == [
        "message only: its handlers have had max_processing_time, 40.0 s, so its lease is not extended any more"
    ]
    driver.now += 1
    driver.tell(Tick())
    assert driver.reports(logging.WARNING) == []


def test_a_message_that_comes_again_has_the_longest_processing_time_anew() -> None:
    driver = Driver(ConsumerSettings(max_processing_time=30.0))
    driver.receive(message("only"))
    driver.now = 115.0
    driver.tell(Tick())
    assert len(driver.reports(logging.WARNING)) == 1
    driver.now = 130.0
    again = replace(message("only"), lease=Lease("newer", 130.0, 150.0, lambda: 0.0))

    driver.receive(again)
    asked = driver.wait_for(Extend)

    assert (driver.now, asked.seconds, asked.receipt_handles) == (135.0, (25.0,), ("newer",))


def test_a_lease_is_extended_to_twelve_hours_after_it_was_received_and_no_further() -> None:
    driver = Driver(ConsumerSettings(visibility_timeout=43_200, max_processing_time=43_200))
    driver.receive(message("only", expires_at=100.0 + 40_000))
    driver.now = 100.0 + 40_000 - 43_200 / 2

    driver.tell(Tick())

    asked = driver.one(Extend)
    assert asked.asked_at + asked.seconds[0] == 100.0 + 43_200 - 1


def test_an_extension_that_gains_nothing_is_not_asked_for() -> None:
    driver = Driver(ConsumerSettings(max_processing_time=30.0))
    driver.receive(message("only"))

    driver.now = 115.0
    driver.tell(Tick())

    assert driver.all(Extend) == []
    assert len(driver.reports(logging.WARNING)) == 1


def test_handlers_hear_that_their_message_was_given_up() -> None:
    driver = Driver()
    (stuck,) = driver.receive(message("stuck"))
    driver.tell(Called(stuck, HANDLER, 5.0))

    driver.wait_for(GiveUp)

    assert stuck.lease is not None
    assert stuck.lease.is_given_up
