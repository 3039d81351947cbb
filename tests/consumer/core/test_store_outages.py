"""Outages of the stores, in the consumer's core: what is asked, held, resumed and said meanwhile."""

from __future__ import annotations

import logging

from megaflow.consumer.core.core import Core
from megaflow.consumer.core.protocol import (
    AbandonPoll,
    Action,
    CheckStores,
    Exit,
    Extend,
    Hide,
    Input,
    Inspect,
    Inspected,
    Receive,
    Received,
    Report,
    Resume,
    Settled,
    Start,
    Stop,
    StoreFailed,
    StoresChecked,
    Tick,
)
from megaflow.errors import ConfigurationError, StoreError
from megaflow.processing.verdict import Fate
from megaflow.settings import ConsumerSettings
from tests.consumer.core.driving import Driver, ids, message, messages

OUT = StoreError("the store could not save progress: OSError: disk full")
LOCKED, FULL = OSError("database is locked"), OSError("disk full")


class StoreDriver(Driver):
    """A driver of a core with stores, which are not checked yet."""

    def __init__(self, settings: ConsumerSettings | None = None, *, is_well: bool = True) -> None:
        super().__init__(settings, inspected=False)
        self.core = Core(
            settings or ConsumerSettings(concurrency=3, backoff=lambda count: 10.0 * count),
            fifo=False,
            has_stores=True,
            randomness=lambda: 1.0,
        )
        self.all_answered: list[Action] = []
        self.tell(Tick())
        if is_well:
            self.tell(StoresChecked())
            self.tell(Inspected(self.facts))

    def tell(self, input: Input) -> list[Action]:
        answered = super().tell(input)
        self.all_answered = [*getattr(self, "all_answered", ()), *answered]
        return answered

    def wake(self) -> list[Action]:
        """Let time pass until the core wants to be woken."""
        self.now = self.core.wake_at
        return self.tell(Tick())

    def said(self, level: int) -> list[str]:
        """Everything said so far."""
        return [
            each.text % each.values for each in self.all_answered if isinstance(each, Report) and each.level == level
        ]

    @property
    def problems(self) -> str:
        return "; ".join(self.core.health(self.now).problems)


def test_the_stores_are_checked_before_the_queue_is_asked_anything() -> None:
    driver = StoreDriver(is_well=False)

    assert driver.one(CheckStores)
    assert not driver.all(Inspect)
    driver.tell(StoresChecked())
    assert driver.one(Inspect)
    driver.tell(Inspected(driver.facts))
    assert driver.one(Receive)


def test_without_stores_nothing_is_checked() -> None:
    driver = Driver(inspected=False)

    driver.tell(Tick())

    assert not driver.all(CheckStores)
    assert driver.one(Inspect)


def test_a_store_that_is_set_up_wrongly_at_the_start_ends_it() -> None:
    driver, wrong = StoreDriver(is_well=False), ConfigurationError("there is no folder")

    driver.tell(StoresChecked(wrong))

    assert driver.one(Exit).error is wrong
    assert not driver.all(Inspect)


def test_a_store_that_is_out_at_the_start_is_waited_for() -> None:
    driver = StoreDriver(is_well=False)

    driver.tell(StoresChecked(LOCKED))

    assert not driver.all(Exit)
    assert not driver.all(Inspect)
    assert driver.reports(logging.ERROR) == [
        "nothing is received or begun until the store is well, which is checked again and again: database is locked"
    ]
    assert driver.core.health(driver.now).problems[0] == "a store fails, so nothing is received: database is locked"
    driver.wake()
    assert driver.one(CheckStores)
    driver.tell(StoresChecked())
    assert driver.one(Inspect)


def test_a_store_that_is_set_up_wrongly_after_it_was_well_is_waited_for() -> None:
    driver = StoreDriver()
    driver.receive(message("1"))
    driver.tell(StoreFailed(message("1"), OUT))

    driver.tell(StoresChecked(ConfigurationError("the file is gone")))

    assert not driver.all(Exit)
    driver.wake()
    assert driver.one(CheckStores)


def test_a_store_that_was_out_at_the_start_and_is_found_to_be_set_up_wrongly_ends_it() -> None:
    driver = StoreDriver(is_well=False)
    driver.tell(StoresChecked(LOCKED))
    driver.wake()

    driver.tell(StoresChecked(ConfigurationError("read-only")))

    assert isinstance(driver.one(Exit).error, ConfigurationError)


def test_checks_come_with_longer_and_longer_pauses_and_one_at_a_time() -> None:
    driver = StoreDriver(is_well=False)
    pauses = []
    for _ in range(8):
        driver.tell(StoresChecked(LOCKED))
        assert not driver.tell(Tick())
        began = driver.now
        driver.wake()
        assert driver.one(CheckStores)
        assert not driver.tell(Tick())
        pauses.append(driver.now - began)

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_while_a_store_fails_nothing_is_asked_or_started_and_what_is_in_hand_is_kept() -> None:
    driver = StoreDriver(ConsumerSettings(concurrency=2, prefetch=5))
    first, second = messages(2)
    driver.receive(first)
    driver.tell(StoreFailed(first, OUT))
    driver.all_answered.clear()

    driver.tell(Received((second,), driver.poll))
    driver.tell(StoresChecked(FULL))
    driver.now = 116.0
    driver.tell(Tick())

    assert ids(driver.one(Extend).messages) == ["0", "1"]
    assert not any(isinstance(each, Start | Receive | Hide) for each in driver.all_answered)


def test_what_waited_for_a_store_goes_on_when_it_is_well_again_and_the_rest_after_it() -> None:
    driver = StoreDriver(ConsumerSettings(concurrency=2, prefetch=5))
    first, second, third = messages(3)
    driver.receive(first, second, third)
    driver.tell(StoreFailed(first, OUT))
    driver.tell(StoreFailed(second, OUT))
    driver.tell(StoresChecked(FULL))

    driver.wake()
    driver.tell(StoresChecked(FULL))
    driver.wake()
    driver.now += 5.0
    driver.tell(StoresChecked())

    assert driver.one(Resume) == Resume((first, second))
    assert driver.said(logging.ERROR) == [
        "nothing is received or begun until the store is well, which is checked again and again: disk full"
    ]
    assert driver.reports(logging.WARNING) == ["the store is well again, after 8 s"]
    assert "a store" not in driver.problems
    driver.now += 1.0
    driver.tell(Tick())
    assert not driver.all(Resume)
    driver.finish(first)
    assert ids(driver.one(Start).messages) == ["2"]


def test_it_is_not_ready_and_says_why_until_the_store_is_well() -> None:
    driver = StoreDriver()
    driver.receive(message("1"))
    assert driver.core.health(driver.now).ready

    driver.tell(StoreFailed(message("1"), OUT))

    health = driver.core.health(driver.now)
    assert not health.ready
    assert health.live
    assert health.running == 0
    assert driver.problems == f"a store fails, so nothing is received: {OUT}"
    driver.tell(StoresChecked())
    assert driver.core.health(driver.now).ready


def test_a_failure_that_no_check_confirms_is_no_outage() -> None:
    driver = StoreDriver()
    driver.receive(message("1"))

    driver.tell(StoreFailed(message("1"), OUT))
    assert driver.counted("failed_store_calls") == 1
    driver.tell(StoresChecked())

    assert driver.said(logging.ERROR) == driver.said(logging.WARNING) == []
    driver.now += 1.0
    driver.tell(Tick())
    assert driver.one(Resume) == Resume((message("1"),))


def test_each_call_that_failed_has_a_pause_of_its_own() -> None:
    driver = StoreDriver()
    first, second = messages(2)
    driver.receive(first, second)
    driver.tell(StoreFailed(first, OUT))
    driver.tell(StoresChecked())
    driver.now += 0.5
    driver.tell(StoreFailed(second, OUT))
    driver.tell(StoresChecked())

    for _ in range(2):
        driver.wake()
        assert driver.now in (101.0, 101.5)
        assert driver.one(Resume) == Resume((first if driver.now == 101.0 else second,))


def test_what_fails_during_an_outage_hurries_no_check() -> None:
    driver = StoreDriver()
    first, second = messages(2)
    driver.receive(first, second)
    driver.tell(StoreFailed(first, OUT))
    driver.tell(StoresChecked(FULL))

    driver.now += 0.5
    driver.tell(StoreFailed(second, OUT))

    assert not driver.all(CheckStores)
    driver.wake()
    assert driver.now == 101.0
    assert driver.one(CheckStores)
    driver.tell(StoresChecked())
    assert driver.one(Resume) == Resume((first, second))


def test_an_outage_that_is_over_is_not_over_again() -> None:
    driver = StoreDriver(is_well=False)
    driver.tell(StoresChecked(LOCKED))
    driver.wake()
    driver.tell(StoresChecked())
    driver.tell(Inspected(driver.facts))
    driver.receive(message("1"))

    driver.tell(StoreFailed(message("1"), OUT))
    driver.tell(StoresChecked())

    assert driver.said(logging.WARNING) == ["the store is well again, after 1 s"]


def test_a_message_that_fails_again_and_again_in_a_store_that_is_well_is_itself_the_reason() -> None:
    driver = StoreDriver()
    poison, good = messages(2)
    driver.receive(poison, good)

    for tries in range(1, 7):
        driver.tell(StoreFailed(poison, OUT))
        driver.tell(StoresChecked())
        assert driver.core.health(driver.now).ready
        resumed = driver.wait_for(Resume)
        assert resumed == Resume((poison,), failed=tries == 6)

    driver.finish(poison, Fate.KEEP)
    driver.finish(good)
    assert driver.core.health(driver.now).in_hand == 0


def test_failures_of_an_outage_do_not_count_against_a_message() -> None:
    driver = StoreDriver()
    driver.receive(message("1"))

    for _ in range(7):
        driver.tell(StoreFailed(message("1"), OUT))
        driver.tell(StoresChecked(FULL))
        driver.now += 30.0
        driver.tell(Tick())
        driver.tell(StoresChecked())
        resumed = driver.one(Resume)
        assert not resumed.failed
        for asked in [each for each in driver.all_answered if isinstance(each, Extend)]:
            driver.tell(Settled(asked))


def test_what_waits_for_a_store_is_given_back_where_the_consumer_must_end() -> None:
    driver, done = StoreDriver(ConsumerSettings(concurrency=1, shutdown_timeout=5.0)), message("1")
    driver.receive(done)
    driver.tell(StoreFailed(done, OUT))
    driver.tell(StoresChecked(FULL))

    driver.tell(Stop())
    assert not driver.all(Hide)
    driver.now += 5.0
    driver.tell(Tick())

    assert driver.reports(logging.WARNING) == ["message 1: what came of it could not be stored; it comes again"]
    assert driver.one(Hide).seconds == (0.0,)
    assert done.lease is not None
    assert done.lease.is_given_up
    driver.tell(Settled(driver.one(Hide)))
    assert driver.one(Exit).error is None


def test_a_stop_leaves_time_for_a_store_to_answer() -> None:
    driver = StoreDriver(ConsumerSettings(concurrency=1, shutdown_timeout=25.0))
    done = message("1")
    driver.receive(done)
    driver.tell(StoreFailed(done, OUT))
    driver.tell(StoresChecked(FULL))
    driver.tell(Stop())

    driver.wait_for(CheckStores)
    driver.tell(StoresChecked())

    assert driver.one(Resume) == Resume((done,))
    driver.finish(done)
    assert [each for each in driver.all_answered if isinstance(each, Hide)] == []


def test_a_message_that_is_not_in_hand_any_more_waits_for_no_store() -> None:
    driver = StoreDriver()
    driver.receive(message("1"))
    driver.finish(message("1"))

    assert not [each for each in driver.tell(StoreFailed(message("1"), OUT)) if isinstance(each, CheckStores)]
    assert driver.core.health(driver.now).ready


def test_sqs_is_not_said_to_be_silent_for_what_it_was_not_asked() -> None:
    driver = StoreDriver(ConsumerSettings(concurrency=2, wait_time_seconds=20))
    driver.receive(message("1"))
    driver.tell(StoreFailed(message("1"), OUT))
    driver.tell(StoresChecked(FULL))
    driver.tell(Received((), driver.poll))

    driver.now += 1_000.0
    driver.tell(Tick())

    assert driver.problems.startswith("a store fails")
    assert "SQS" not in driver.problems
    assert driver.core.health(driver.now).live


def test_a_poll_that_hangs_during_an_outage_is_waited_for_no_longer() -> None:
    driver = StoreDriver(ConsumerSettings(concurrency=2, wait_time_seconds=1))
    driver.receive(message("1"))
    driver.tell(StoreFailed(message("1"), OUT))
    driver.tell(StoresChecked(FULL))

    driver.now += 200.0
    driver.tell(Tick())

    assert driver.all(AbandonPoll)
    assert driver.core.health(driver.now).live


def test_a_consumer_whose_handlers_all_wait_for_a_store_does_not_hang() -> None:
    driver = StoreDriver(ConsumerSettings(concurrency=1, max_processing_time=10.0))
    driver.receive(message("1"))
    driver.tell(StoreFailed(message("1"), OUT))
    driver.tell(StoresChecked(FULL))
    driver.run_until_counted("lost_leases")

    assert driver.core.health(driver.now).live
    driver.tell(StoresChecked())
    assert driver.one(Resume)
