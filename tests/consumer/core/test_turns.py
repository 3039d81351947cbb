"""Turns at handlers with limits, in the consumer's core: what is in line, and what goes on when."""

from __future__ import annotations

import logging

import pytest

from megaflow import Kind, Message
from megaflow.consumer.core.protocol import (
    Called,
    Crashed,
    Delete,
    Exit,
    Extend,
    Finished,
    GiveUp,
    Hide,
    LinedUp,
    Receive,
    Received,
    Resume,
    Settled,
    Start,
    Stop,
    Tick,
)
from megaflow.handlers.handler import Handler, make_handler
from megaflow.handlers.options import read_options
from megaflow.match.conditions import EVERYTHING
from megaflow.processing.verdict import Fate
from megaflow.settings import ConsumerSettings
from tests.consumer.core.driving import HOW_TO_HURRY, Driver, handle, ids, message, messages, verdict_on


def limited(**options: object) -> Handler:
    return make_handler(handle, Kind.TEXT, EVERYTHING, options=read_options(options))


ONE_AT_ONCE = limited(max_concurrency=1)
TWO_A_MINUTE = limited(rate="2/m")


class TurnDriver(Driver):
    """A driver of a core to which messages come that all meet a handler with a limit."""

    def __init__(self, *, concurrency: int = 3, fifo: bool = False, **settings: object) -> None:
        super().__init__(
            ConsumerSettings(concurrency=concurrency, backoff=lambda count: 10.0, **settings),  # type: ignore[arg-type]
            fifo=fifo,
        )

    def line_up(self, handler: Handler, *several: Message) -> list[str]:
        """Let messages come that are in line at once; return those that go on."""
        went_on = []
        for each in several:
            assert self.receive(each) == [each]
            self.tell(LinedUp((each,), handler))
            went_on += self.resumed
        return went_on

    def end_call(self, handler: Handler, message: Message) -> list[str]:
        self.tell(Called(message, handler, None))
        return self.resumed

    def wake(self) -> list[str]:
        """Let time pass until the core wants to be woken; return what goes on then."""
        self.now = self.core.wake_at
        self.tell(Tick())
        return self.resumed

    def wait_until(self, now: float) -> list[str]:
        """Let time pass, extensions succeeding; return what goes on meanwhile."""
        went_on: list[str] = []
        while self.core.wake_at <= now:
            went_on += self.wake()
            for asked in self.all(Extend):
                self.tell(Settled(asked))
                went_on += self.resumed
        self.now = now
        return went_on

    @property
    def resumed(self) -> list[str]:
        return [each for action in self.all(Resume) if not action.failed for each in ids(action.messages)]


def test_a_message_goes_on_at_once_where_the_limit_is_not_reached() -> None:
    driver = TurnDriver()

    assert driver.line_up(ONE_AT_ONCE, message("1")) == ["1"]


def test_so_many_calls_run_and_the_next_one_goes_on_when_one_of_them_ends() -> None:
    driver, several = TurnDriver(), messages(3)
    assert driver.line_up(limited(max_concurrency=2), *several) == ["0", "1"]

    assert driver.end_call(ONE_AT_ONCE, several[1]) == ["2"]


def test_what_comes_after_the_call_does_not_hold_the_turn() -> None:
    driver, (first, second) = TurnDriver(), messages(2)
    driver.line_up(ONE_AT_ONCE, first, second)

    assert driver.end_call(ONE_AT_ONCE, first) == ["1"]
    assert driver.end_call(ONE_AT_ONCE, first) == []
    driver.finish(first)
    assert driver.line_up(ONE_AT_ONCE, message("3")) == []


@pytest.mark.parametrize("ending", ["finished", "crashed", "in another line"])
def test_a_turn_for_which_no_call_was_made_is_over_with_its_message(ending: str) -> None:
    driver, (first, second) = TurnDriver(), messages(2)
    driver.line_up(ONE_AT_ONCE, first, second)

    if ending == "finished":
        driver.finish(first)
    elif ending == "crashed":
        driver.tell(Crashed(first, ValueError()))
    else:
        driver.tell(LinedUp((first,), TWO_A_MINUTE))

    assert "1" in driver.resumed


def test_a_call_that_hangs_holds_no_turn_and_does_not_end_that_of_its_message_when_it_returns() -> None:
    driver, (first, second) = TurnDriver(), messages(2)
    driver.line_up(ONE_AT_ONCE, first, second)
    driver.tell(Called(first, ONE_AT_ONCE, 5.0))

    driver.now += 5.0
    driver.tell(Tick())
    assert driver.one(GiveUp).message is first
    assert driver.resumed == ["1"]
    driver.end_call(ONE_AT_ONCE, second)
    again = message("0")
    assert driver.line_up(ONE_AT_ONCE, again, message("2")) == ["0"]
    driver.tell(Called(again, ONE_AT_ONCE, 50.0))

    assert driver.end_call(ONE_AT_ONCE, first) == []
    driver.tell(LinedUp((first,), TWO_A_MINUTE))
    assert driver.resumed == []
    assert driver.wait_for(GiveUp).message is again


def test_a_rate_lets_so_many_begin_and_the_next_ones_when_its_time_has_passed() -> None:
    driver = TurnDriver()
    assert driver.line_up(TWO_A_MINUTE, message("first")) == ["first"]
    driver.finish(message("first"))
    driver.wait_until(110.0)

    assert driver.line_up(TWO_A_MINUTE, *messages(3)) == ["0"]
    assert driver.wait_until(159.999) == []
    assert driver.wait_until(160.0) == ["1"]
    assert driver.wait_until(169.999) == []
    assert driver.wait_until(170.0) == ["2"]


def test_the_core_wants_to_be_woken_when_the_next_turn_comes() -> None:
    driver = TurnDriver()

    driver.line_up(limited(rate="1/s"), *messages(2))

    assert driver.core.wake_at == 101.0
    assert driver.wake() == ["1"]


def test_where_two_limits_hold_both_are_waited_for() -> None:
    driver, handler, (first, second) = TurnDriver(), limited(max_concurrency=1, rate="1/s"), messages(2)
    driver.line_up(handler, first, second)

    assert driver.wait_until(102.0) == []
    assert driver.end_call(handler, first) == ["1"]


def test_each_handler_has_a_line_of_its_own() -> None:
    driver, several = TurnDriver(concurrency=10), messages(6)

    assert driver.line_up(ONE_AT_ONCE, *several[:3]) == ["0"]
    assert driver.line_up(TWO_A_MINUTE, *several[3:]) == ["3", "4"]


def test_what_is_in_line_holds_no_place_of_others() -> None:
    driver, several = TurnDriver(concurrency=2), messages(7)
    driver.line_up(ONE_AT_ONCE, *several[:6])

    assert driver.receive(several[6]) == [several[6]]
    health = driver.core.health(driver.now)
    assert (health.in_hand, health.running, health.in_line) == (7, 2, 5)


def use_up(driver: TurnDriver, handler: Handler) -> None:
    """Let a message take the only turn that *handler* gives for now."""
    only = message(f"uses {id(handler)} up")
    assert driver.line_up(handler, only) == [only.id]
    driver.finish(only)


def test_a_turn_that_has_come_waits_for_a_place_and_goes_before_what_is_not_started() -> None:
    driver, handler, (first, second, third) = TurnDriver(concurrency=1), limited(rate="1/s"), messages(3)
    use_up(driver, handler)
    driver.line_up(handler, first)
    assert driver.receive(second, third) == [second]

    assert driver.wait_until(105.0) == []
    driver.finish(second)
    assert driver.resumed == ["0"]
    assert not driver.all(Start)
    driver.finish(first)

    assert driver.one(Start).messages == (third,)


def test_a_turn_is_taken_when_there_is_a_place_for_it_and_not_before() -> None:
    driver, handler, (first, second, third) = TurnDriver(concurrency=1), limited(rate="1/s"), messages(3)
    use_up(driver, handler)
    driver.line_up(handler, first)
    driver.receive(third)
    driver.wait_until(105.0)
    driver.finish(third)
    assert driver.resumed == ["0"]
    driver.finish(first)

    assert driver.line_up(handler, second) == []
    assert driver.wait_until(106.0) == ["1"]


def test_those_that_came_first_go_on_first_whatever_their_handler() -> None:
    driver, several = TurnDriver(concurrency=1), messages(4)
    one, other = limited(rate="1/m"), limited(rate="1/m")
    use_up(driver, one)
    use_up(driver, other)
    driver.line_up(other, several[0])
    driver.line_up(one, several[1])
    driver.receive(several[3])

    driver.wait_until(160.0)

    went_on = []
    for each in (several[3], several[0], several[1]):
        driver.finish(each)
        went_on += driver.resumed
    assert went_on == ["0", "1"]


def test_leases_of_what_is_in_line_are_extended() -> None:
    driver, (first, second) = TurnDriver(), messages(2)
    driver.line_up(ONE_AT_ONCE, first, second)

    driver.now = 115.0
    driver.tell(Tick())

    assert sorted(ids(driver.one(Extend).messages)) == ["0", "1"]


def test_what_is_in_line_for_longer_than_its_time_goes_on_without_its_turn_and_is_left_to_others() -> None:
    driver, (first, second) = TurnDriver(max_processing_time=40.0), messages(2)
    driver.line_up(ONE_AT_ONCE, first, second)

    driver.run_until_counted("lost_leases")

    assert [each for each in driver.all(Resume) if each.failed] == [Resume((second,), failed=True)]
    assert any("message 1: its lease was lost before its turn at a handler came" in each for each in driver.reports(30))
    driver.finish(second, Fate.KEEP)
    assert driver.all(Hide) == []
    assert driver.core.health(driver.now).in_hand == 1
    assert driver.end_call(ONE_AT_ONCE, first) == []


def lose_in_line(driver: TurnDriver, lost: Message, at_work: Message) -> None:
    """Let a message be lost in line, as another one takes the only place."""
    for each in (message("a"), message("b")):
        driver.line_up(TWO_A_MINUTE, each)
        driver.finish(each)
    driver.line_up(TWO_A_MINUTE, lost)
    assert driver.receive(at_work) == [at_work]
    driver.wait_until(145.0)
    assert driver.all(Resume) == []


def test_what_is_lost_waits_for_a_place_too() -> None:
    driver, (first, second) = TurnDriver(concurrency=1, max_processing_time=40.0), messages(2)
    lose_in_line(driver, first, second)

    driver.tell(Finished((verdict_on(second, Fate.KEEP),)))

    assert driver.one(Resume) == Resume((first,), failed=True)


def test_what_is_lost_goes_on_no_more_at_a_stop_that_waits_for_nothing() -> None:
    driver, (first, second) = TurnDriver(concurrency=1, max_processing_time=40.0), messages(2)
    lose_in_line(driver, first, second)

    driver.tell(Stop(now=True))

    assert driver.all(Resume) == []
    assert driver.core.health(driver.now).in_hand == 0


def test_a_message_that_comes_again_while_it_is_in_line_goes_on_as_one() -> None:
    driver, (first, second) = TurnDriver(), messages(2)
    driver.line_up(ONE_AT_ONCE, first, second)

    assert driver.receive(message("1", expires_at=150.0)) == []

    assert driver.counted("duplicates") == 1
    assert second.lease is not None
    assert second.lease.expires_at == 150.0
    assert driver.end_call(ONE_AT_ONCE, first) == ["1"]


def test_while_a_message_is_in_line_nothing_of_its_group_runs() -> None:
    driver = TurnDriver(fifo=True)
    driver.line_up(ONE_AT_ONCE, message("0", group="a"))
    driver.line_up(ONE_AT_ONCE, message("1", group="b"))

    assert driver.receive(message("2", group="b"), message("3", group="c")) == [message("3", group="c")]
    assert driver.end_call(ONE_AT_ONCE, message("0", group="a")) == ["1"]
    driver.finish(message("1", group="b"))
    assert driver.core.waiting == ()


# Polling


def fill(driver: TurnDriver, name: str, count: int) -> None:
    """Let so many come that are then in line, but for one of all."""
    for number in range(count):
        each = message(f"{name}{number}", expires_at=1e9)
        driver.tell(Received((each,)))
        driver.tell(LinedUp((each,), ONE_AT_ONCE))


def test_nothing_is_received_in_advance_for_a_turn_before_something_is_handled() -> None:
    driver = TurnDriver(concurrency=1)

    assert driver.line_up(ONE_AT_ONCE, message("1")) == ["1"]
    assert driver.all(Receive) == []
    driver.finish(message("1"))

    assert driver.one(Receive).count == 2


def test_polling_goes_on_for_others_and_ends_when_the_hands_are_full() -> None:
    driver = TurnDriver(concurrency=3, prefetch=0, max_number_of_messages=10)
    while driver.all(Receive):
        for asked in driver.all(Receive):
            fill(driver, f"{asked.poll} ", asked.count)
            driver.tell(Received((), asked.poll))
        while not driver.all(Receive) and driver.core.wake_at < driver.now + 60.0:
            driver.wake()

    assert driver.core.health(driver.now).in_hand == 40


def test_polls_are_further_apart_where_more_than_half_of_the_hands_is_in_line() -> None:
    driver = TurnDriver(concurrency=3, prefetch=0, max_number_of_messages=10)
    fill(driver, "a", 20)
    assert driver.tell(Received((), driver.poll))
    assert driver.all(Receive)

    fill(driver, "b", 10)
    driver.tell(Received((), driver.poll))

    assert driver.all(Receive) == []
    began = driver.now
    driver.wait_for(Receive)
    assert 2.0 < driver.now - began <= 2.5


# Stopping


def test_at_a_stop_those_go_on_whose_turn_comes_in_time_and_others_are_given_back_at_once() -> None:
    driver, several = TurnDriver(concurrency=10, shutdown_timeout=65.0), messages(6)
    driver.line_up(TWO_A_MINUTE, *several)

    driver.tell(Stop())

    assert ids(driver.one(Hide).messages) == ["4", "5"]
    assert driver.one(Hide).seconds == (0.0, 0.0)
    assert driver.reports(logging.INFO)[0] == "2 messages are given back before their turn at a handler came"
    assert all(each.lease is not None and each.lease.is_given_up for each in several[4:])
    driver.tell(Settled(driver.one(Hide)))
    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in several[:2]]))
    driver.tell(Settled(driver.one(Delete)))
    assert driver.all(Exit) == []
    assert driver.wait_until(160.0) == ["2", "3"]
    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in several[2:4]]))
    driver.tell(Settled(driver.one(Delete)))
    assert driver.one(Exit).error is None


def test_what_comes_to_its_turn_during_a_stop_is_given_back_at_once_where_that_does_not_come_in_time() -> None:
    driver, several = TurnDriver(concurrency=10, shutdown_timeout=5.0), messages(3)
    driver.receive(*several)
    driver.tell(Stop())

    for each in several[:2]:
        driver.tell(LinedUp((each,), TWO_A_MINUTE))
        assert driver.resumed == [each.id]
    driver.tell(LinedUp((several[2],), TWO_A_MINUTE))

    assert (driver.resumed, ids(driver.one(Hide).messages)) == ([], ["2"])
    driver.tell(Settled(driver.one(Hide)))
    driver.tell(Finished([verdict_on(each, Fate.DELETE) for each in several[:2]]))
    driver.tell(Settled(driver.one(Delete)))
    assert driver.one(Exit).error is None


def test_what_is_in_line_when_the_time_to_stop_is_over_is_given_back() -> None:
    driver, (first, second) = TurnDriver(shutdown_timeout=5.0), messages(2)
    driver.line_up(ONE_AT_ONCE, first, second)
    driver.tell(Stop())
    assert driver.all(Hide) == []
    assert driver.reports(logging.INFO) == [f"stopping: waiting up to 5.0 s for 2 messages; {HOW_TO_HURRY}"]

    driver.now += 5.0
    driver.tell(Tick())

    assert ids(driver.one(Hide).messages) == ["1"]
    assert driver.one(Hide).seconds == (0.0,)
    assert driver.reports(logging.INFO) == ["1 message is given back before their turn at a handler came"]


def test_what_is_in_line_at_a_stop_at_once_is_given_back_with_what_runs() -> None:
    driver, (first, second) = TurnDriver(), messages(2)
    driver.line_up(ONE_AT_ONCE, first, second)

    driver.tell(Stop(now=True))

    assert sorted(ids(driver.one(Hide).messages)) == ["0", "1"]
    assert driver.all(Resume) == []


def test_a_consumer_that_fails_has_what_is_in_line_to_give_back() -> None:
    driver, (first, second) = TurnDriver(), messages(2)
    driver.line_up(ONE_AT_ONCE, first, second)

    assert driver.core.waiting == (second,)
