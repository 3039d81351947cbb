"""Circuit breakers in the consumer's core: what waits while one is open, and what tries whether it is over."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import pytest

from megaflow import (
    CircuitBreaker,
    HandlerTimeoutError,
    InvalidPayloadError,
    Kind,
    LeaseLostError,
    Message,
    Outcome,
    ProcessStatus,
    Verdict,
)
from megaflow.consumer.core.protocol import (
    Called,
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
    Stop,
    Tick,
)
from megaflow.handlers.handler import Handler, make_handler
from megaflow.handlers.options import read_options
from megaflow.match.conditions import EVERYTHING
from megaflow.processing.steps import Turn
from megaflow.processing.verdict import Fate
from megaflow.settings import ConsumerSettings
from tests.consumer.core.driving import Driver, handle, ids, message

BREAKER = CircuitBreaker(failures=2, seconds=30)
AWAY = ConnectionError("away")


def handler(name: str = "store", **options: object) -> Handler:
    return make_handler(handle, Kind.TEXT, EVERYTHING, name=name, options=read_options(options))


def messages(count: int, *, expires_at: float = 1_000.0) -> list[Message]:
    return [message(str(number), expires_at=expires_at) for number in range(count)]


def handle_all(texts: list[str]) -> None: ...


STORE = handler()
"""Goes through the app's circuit, where there is one."""

OTHER = handler("other")
OWN = handler("own", breaker=BREAKER)


class CircuitDriver(Driver):
    """A driver of a core, with the app's breaker or none, to which messages come that all meet a handler."""

    def __init__(self, breaker: CircuitBreaker | None = None, *, fifo: bool = False, **settings: object) -> None:
        self.on: list[str] = []
        """The messages whose turn has come, since this was last asked."""

        self.refused: list[str] = []
        self.hidden: list[Hide] = []

        given: dict[str, object] = {"concurrency": 3, "backoff": lambda count: 10.0, "breaker": breaker, **settings}
        super().__init__(ConsumerSettings(**given), fifo=fifo)  # type: ignore[arg-type]

    def tell(self, *args: object) -> list[object]:  # type: ignore[override]
        answered = super().tell(*args)  # type: ignore[arg-type]
        for action in self.all(Resume):
            (self.refused if action.failed else self.on).extend(ids(action.messages))
        self.hidden += self.all(Hide)
        return list(answered)

    def line_up(self, handler: Handler, *several: Message) -> None:
        for each in several:
            assert self.receive(each) == [each]
            self.tell(LinedUp((each,), handler))

    def fail_call(self, handler: Handler, message: Message, error: Exception = AWAY) -> None:
        """Let a handler fail as something is away: it asks for another try."""
        self.tell(LinedUp((message,), handler, Outcome(handler, ProcessStatus.RETRIABLE_ERROR, error)))

    def succeed(self, handler: Handler, message: Message, **outcome: str) -> None:
        self.end(message, Outcome(handler, ProcessStatus.DONE, **outcome))  # type: ignore[arg-type]

    def end(self, message: Message, *outcomes: Outcome, fate: Fate = Fate.DELETE) -> None:
        self.tell(Finished((Verdict(message, outcomes, fate),)))

    def open(self, handler: Handler, *, failures: int = 2) -> list[Message]:
        """Let the handler fail until its circuit is open; return the messages that are kept, and that which stays."""
        failing = [message(f"{handler.name} fails {number}") for number in range(failures)]
        for each in failing:
            self.line_up(handler, each)
            self.fail_call(handler, each)
            if each.id in self.refused:
                self.end(each, Outcome(handler, ProcessStatus.RETRIABLE_ERROR, AWAY), fate=Fate.KEEP)
        assert self.core.health(self.now).open_breakers
        self.take_on()
        return failing

    def take_on(self) -> list[str]:
        on, self.on = self.on, []
        return on

    def wait_until(self, now: float) -> list[str]:
        """Let time pass, extensions succeeding and polls that end empty; return what goes on meanwhile."""
        while self.core.wake_at <= now:
            self.now = self.core.wake_at
            self.tell(Tick())
            for asked in self.all(Extend):
                self.tell(Settled(asked))
        self.now = now
        self.tell(Tick())
        return self.take_on()

    def open_breakers(self) -> Sequence[str]:
        return self.core.health(self.now).open_breakers


def test_a_circuit_that_is_closed_lets_everything_through() -> None:
    driver = CircuitDriver(BREAKER)

    driver.line_up(STORE, *messages(3))

    assert driver.take_on() == ["0", "1", "2"]


def test_what_fails_while_it_is_closed_goes_on_without_another_try() -> None:
    driver, (first,) = CircuitDriver(BREAKER), messages(1)
    driver.line_up(STORE, first)

    driver.fail_call(STORE, first)

    assert driver.refused == ["0"]
    assert driver.open_breakers() == ()


def test_it_opens_after_so_many_failures_in_a_row_and_what_has_failed_then_stays_in_hand() -> None:
    driver, several = CircuitDriver(BREAKER), messages(3)
    driver.line_up(STORE, *several)
    driver.take_on()

    for each in several:
        driver.fail_call(STORE, each)

    assert driver.refused == ["0"]
    assert driver.open_breakers() == ("the app",)
    assert driver.core.health(driver.now).in_hand == 3
    assert driver.take_on() == []


def test_nothing_is_polled_while_the_circuit_of_the_app_is_open_and_the_app_is_ready() -> None:
    driver = CircuitDriver(BREAKER)
    driver.open(STORE)
    driver.tell(Received((), driver.poll))

    assert driver.all(Receive) == []
    assert driver.wait_until(driver.now + 29.9) == []
    assert driver.all(Receive) == []
    health = driver.core.health(driver.now)
    assert health.ready
    assert health.problems == ("circuit breakers are open: the app",)


def test_one_message_tries_when_it_is_half_open_and_stays_in_hand_when_it_fails() -> None:
    driver = CircuitDriver(BREAKER)
    _, last = driver.open(STORE)

    for _ in range(100):
        assert driver.wait_until(driver.now + 29.9) == []
        assert driver.wait_until(driver.now + 0.1) == [last.id]
        driver.fail_call(STORE, last)

    assert driver.refused == ["store fails 0"]
    assert driver.all(Receive) == []


def test_those_in_hand_take_turns_so_that_one_which_fails_for_itself_does_not_keep_it_open() -> None:
    driver, (next_one,) = CircuitDriver(BREAKER), messages(1)
    _, poisonous = driver.open(STORE)
    driver.line_up(STORE, next_one)

    assert driver.wait_until(130.0) == [poisonous.id]
    driver.fail_call(STORE, poisonous)
    assert driver.wait_until(160.0) == ["0"]
    driver.succeed(STORE, next_one)

    assert driver.open_breakers() == ()
    assert driver.take_on() == [poisonous.id]


def test_while_one_tries_no_other_call_begins() -> None:
    driver, several = CircuitDriver(BREAKER), messages(2)
    driver.open(STORE)
    driver.line_up(STORE, several[0])
    assert len(driver.wait_until(130.0)) == 1

    driver.line_up(STORE, several[1])

    assert driver.wait_until(200.0) == []


def test_it_closes_when_the_try_succeeds_and_everything_goes_on() -> None:
    driver, several = CircuitDriver(BREAKER), messages(2)
    _, last = driver.open(STORE)
    driver.line_up(STORE, *several)
    driver.wait_until(130.0)

    driver.succeed(STORE, last)

    assert driver.open_breakers() == ()
    assert driver.take_on() == ["0", "1"]
    assert driver.all(Receive) != []


def test_after_a_success_failures_are_counted_from_the_beginning() -> None:
    driver, several = CircuitDriver(BREAKER), messages(3)
    driver.line_up(STORE, *several)
    driver.fail_call(STORE, several[0])
    driver.succeed(STORE, several[1])

    driver.fail_call(STORE, several[2])

    assert driver.refused == ["0", "2"]
    assert driver.open_breakers() == ()


@pytest.mark.parametrize(
    "said",
    [
        Outcome(OTHER, ProcessStatus.DONE),
        Outcome(STORE, ProcessStatus.DONE, skipped="finished earlier with the same key"),
        Outcome(STORE, ProcessStatus.FATAL_ERROR, ValueError("of the message")),
        Outcome(STORE, ProcessStatus.DONE, InvalidPayloadError("it is deleted")),
        Outcome(STORE, ProcessStatus.RETRY_LATER),
        Outcome(STORE, ProcessStatus.RETRY_LATER, AWAY),
    ],
    ids=[
        "another handler's success",
        "a call that was not made",
        "another error",
        "a payload that does not validate",
        "a status",
        "asked for later",
    ],
)
def test_what_says_nothing_of_it_resets_nothing(said: Outcome) -> None:
    driver, several = CircuitDriver(BREAKER), messages(3)
    driver.line_up(STORE, several[0], several[1])
    driver.line_up(said.handler, several[2])
    driver.fail_call(STORE, several[0])
    driver.end(several[2], said)

    driver.fail_call(STORE, several[1])

    assert driver.open_breakers() == ("the app",)


def test_failures_are_counted_for_each_handler() -> None:
    driver, several = CircuitDriver(BREAKER), messages(2)
    driver.line_up(STORE, several[0])
    driver.line_up(OTHER, several[1])

    driver.fail_call(STORE, several[0])
    driver.fail_call(OTHER, several[1])

    assert driver.open_breakers() == ()


def test_a_try_that_says_nothing_lets_the_next_one_try() -> None:
    driver, (next_one,) = CircuitDriver(BREAKER), messages(1)
    _, last = driver.open(STORE)
    driver.line_up(STORE, next_one)
    driver.wait_until(130.0)

    driver.end(last, Outcome(STORE, ProcessStatus.FATAL_ERROR, ValueError("of the message")), fate=Fate.DEAD_LETTER)

    assert driver.open_breakers() == ("the app",)
    assert driver.take_on() == ["0"]


def test_those_of_the_handler_that_has_failed_try_first() -> None:
    driver, (other,) = CircuitDriver(BREAKER), messages(1)
    assert driver.receive(other) == [other]
    _, last = driver.open(STORE)
    driver.tell(LinedUp((other,), OTHER))

    for _ in range(3):
        assert driver.wait_until(driver.now + 30.0) == [last.id]
        driver.fail_call(STORE, last)


def test_where_none_of_those_is_in_hand_another_one_closes_it_and_the_next_failure_opens_it_again() -> None:
    driver, (other, again) = CircuitDriver(BREAKER), messages(2)
    _, last = driver.open(STORE)
    driver.line_up(OTHER, other)
    driver.wait_until(130.0)
    driver.end(last, Outcome(STORE, ProcessStatus.FATAL_ERROR, ValueError("of the message")), fate=Fate.DEAD_LETTER)
    driver.succeed(OTHER, other)
    assert driver.open_breakers() == ()

    driver.line_up(STORE, again)
    driver.fail_call(STORE, again)

    assert driver.open_breakers() == ("the app",)
    assert driver.refused == ["store fails 0"]


def test_a_call_that_began_before_it_opened_closes_nothing() -> None:
    driver, several = CircuitDriver(BREAKER), messages(1)
    driver.line_up(STORE, several[0])
    driver.open(STORE)

    driver.succeed(STORE, several[0])

    assert driver.open_breakers() == ("the app",)


def test_a_success_is_known_when_its_message_comes_to_the_next_handler() -> None:
    driver = CircuitDriver(BREAKER)
    _, last = driver.open(STORE)
    driver.wait_until(130.0)

    driver.tell(LinedUp((last,), OTHER, Outcome(STORE, ProcessStatus.DONE)))

    assert driver.open_breakers() == ()
    assert driver.take_on() == [last.id]


def test_a_handler_that_has_not_returned_in_its_time_counts_where_that_is_meant() -> None:
    driver, several = CircuitDriver(CircuitBreaker(failures=2, seconds=30, on=TimeoutError)), messages(2)
    driver.line_up(STORE, *several)
    for each in several:
        driver.tell(Called(each, STORE, 5.0))

    driver.now += 5.0
    driver.tell(Tick())

    assert len(driver.all(GiveUp)) == 2
    assert driver.open_breakers() == ("the app",)


def test_that_a_handler_has_returned_says_nothing_as_long_as_nobody_knows_with_what() -> None:
    driver, both = CircuitDriver(), handler("both", max_concurrency=1, breaker=BREAKER)
    _, last = driver.open(both)
    driver.wait_until(130.0)

    driver.tell(Called(last, both, None))
    assert driver.open_breakers() == ("both",)
    driver.succeed(both, last)

    assert driver.open_breakers() == ()


def test_on_a_handler_its_own_messages_wait_and_others_go_on() -> None:
    driver, several = CircuitDriver(), messages(2)
    driver.open(OWN)
    driver.line_up(OWN, several[0])
    assert driver.take_on() == []

    before = driver.poll
    assert driver.receive(several[1]) == [several[1]]
    driver.end(several[1], Outcome(STORE, ProcessStatus.DONE))

    assert driver.open_breakers() == ("own",)
    assert driver.poll > before


def test_on_a_handler_polling_stops_when_hands_are_full() -> None:
    driver = CircuitDriver(concurrency=1, max_number_of_messages=2, prefetch=0)
    driver.open(OWN)
    answered = 0
    while driver.poll > answered:
        answered = driver.poll
        each = message(f"waits {answered}", expires_at=1000.0)
        driver.tell(Received((each,), answered))
        driver.tell(LinedUp((each,), OWN))
        driver.now += 5.0
        driver.tell(Tick())

    assert driver.core.health(driver.now).in_hand == 4


def test_a_breaker_of_its_own_takes_the_place_of_that_of_the_app() -> None:
    driver, (waits, goes_on) = CircuitDriver(BREAKER), messages(2)
    driver.line_up(OWN, goes_on)
    driver.fail_call(OWN, goes_on)
    assert driver.open_breakers() == ()
    driver.open(STORE)
    driver.take_on()

    driver.line_up(OWN, waits)

    assert driver.open_breakers() == ("the app",)
    assert driver.take_on() == ["0"]


def test_where_nothing_in_hand_can_try_one_message_is_polled_for() -> None:
    driver = CircuitDriver(CircuitBreaker(failures=2, seconds=60), max_processing_time=20.0)
    _, last = driver.open(STORE)
    driver.tell(Received((), driver.poll))
    driver.run_until_counted("lost_leases")
    assert last.id in driver.refused
    driver.end(last, Outcome(STORE, ProcessStatus.RETRIABLE_ERROR, AWAY), fate=Fate.KEEP)
    assert driver.now < 160.0
    assert driver.all(Receive) == []

    driver.now = 160.0
    driver.tell(Tick())

    assert driver.one(Receive).count == 1
    (new,) = messages(1)
    assert driver.receive(new) == [new]
    driver.tell(LinedUp((new,), STORE))
    assert driver.take_on() == ["0"]
    assert driver.all(Receive) == []


def test_the_one_message_is_not_polled_for_during_the_pause_after_a_poll_that_failed() -> None:
    driver = CircuitDriver(BREAKER)
    _, last = driver.open(STORE)
    driver.tell(Received((), driver.poll))
    assert driver.wait_until(130.0) == [last.id]
    driver.end(last, Outcome(STORE, ProcessStatus.RETRY_LATER), fate=Fate.KEEP)
    assert driver.one(Receive).count == 1

    driver.fail(ConnectionError("down"))

    assert driver.all(Receive) == []
    driver.wait_until(130.9)
    assert driver.all(Receive) == []
    assert driver.core.wake_at == 131.0
    driver.now = 131.0
    driver.tell(Tick())
    assert driver.one(Receive).count == 1


def test_nothing_is_polled_for_that_while_another_one_is_at_work() -> None:
    driver, (at_work,) = CircuitDriver(CircuitBreaker(failures=2, seconds=60), max_processing_time=20.0), messages(1)
    driver.line_up(OTHER, at_work)
    _, last = driver.open(STORE)
    driver.tell(Received((), driver.poll))
    driver.run_until_counted("lost_leases")
    driver.end(last, Outcome(STORE, ProcessStatus.RETRIABLE_ERROR, AWAY), fate=Fate.KEEP)
    driver.now = 160.0
    driver.tell(Tick())
    assert driver.all(Receive) == []

    driver.end(at_work, Outcome(OTHER, ProcessStatus.RETRY_LATER), fate=Fate.KEEP)

    assert driver.one(Receive).count == 1


def test_a_poll_that_hangs_is_given_up_while_nothing_is_polled() -> None:
    driver = CircuitDriver(CircuitBreaker(failures=2, seconds=1_000))
    driver.open(STORE)

    driver.wait_until(250.0)

    assert driver.core.health(driver.now).live
    assert driver.all(Receive) == []


def test_leases_of_what_waits_are_extended_and_nothing_is_settled() -> None:
    driver, several = CircuitDriver(BREAKER), messages(2, expires_at=130.0)
    driver.open(STORE)
    driver.line_up(STORE, *several)

    driver.now = 115.0
    driver.tell(Tick())

    assert sorted(ids(driver.one(Extend).messages)) == ["0", "1", "store fails 1"]
    assert driver.all(Hide) == []


def test_what_fails_once_its_lease_is_lost_does_not_wait() -> None:
    driver, (slow,) = CircuitDriver(BREAKER), messages(1, expires_at=130.0)
    driver.line_up(STORE, slow)
    driver.open(STORE)
    driver.now = 135.0
    driver.tell(Tick())

    driver.fail_call(STORE, slow)

    assert "0" in driver.refused


def test_a_stop_gives_back_at_once_what_waits_and_does_not_wait_for_what_is_away() -> None:
    driver, several = CircuitDriver(BREAKER), messages(2)
    _, last = driver.open(STORE)
    driver.line_up(STORE, *several)

    driver.tell(Stop())

    (hidden,) = driver.all(Hide)
    assert sorted(ids(hidden.messages)) == ["0", "1", last.id]
    assert set(hidden.seconds) == {0.0}
    for asked in tuple(driver.hidden):
        driver.tell(Settled(asked))
    assert driver.one(Exit).error is None


def test_what_fails_while_it_stops_has_no_other_try_and_what_comes_into_line_is_given_back() -> None:
    driver, (comes_late,) = CircuitDriver(BREAKER), messages(1)
    _, last = driver.open(STORE)
    assert driver.receive(comes_late) == [comes_late]
    assert driver.wait_until(130.0) == [last.id]
    driver.tell(Stop())

    driver.fail_call(STORE, last)
    assert last.id in driver.refused
    driver.tell(LinedUp((comes_late,), STORE))

    assert driver.core.health(driver.now).in_hand == 1
    assert driver.core.wake_at < math.inf


def test_it_is_said_once_that_it_opens_and_once_that_it_closes() -> None:
    driver = CircuitDriver(BREAKER)
    said: list[tuple[int, str]] = []
    tell = driver.tell

    def tell_and_note(*args: object) -> list[object]:
        answered = tell(*args)
        said.extend((level, each) for level in (logging.WARNING, logging.INFO) for each in driver.reports(level))
        return answered

    driver.tell = tell_and_note  # type: ignore[method-assign]
    _, last = driver.open(STORE)
    for _ in range(2):
        driver.wait_until(driver.now + 30.0)
        driver.fail_call(STORE, last)
    driver.wait_until(driver.now + 30.0)
    driver.succeed(STORE, last)

    opens = "the circuit breaker of the app is open for 30 s; failures of store in a row: 2, the last one:"
    assert [each for each in said if "circuit breaker" in each[1]] == [
        (logging.WARNING, f"{opens} ConnectionError: {AWAY}"),
        (logging.INFO, "the circuit breaker of the app is closed again, after 90 s"),
    ]


def test_a_timeout_is_told_as_the_error_it_is() -> None:
    assert CircuitBreaker(on=TimeoutError).counts(HandlerTimeoutError("it took too long"))
    assert not CircuitBreaker(on=ConnectionError).counts(HandlerTimeoutError("it took too long"))


@pytest.mark.parametrize("is_in_line", [True, False])
def test_a_call_that_does_not_return_in_its_time_counts_whether_it_was_in_line_or_not(is_in_line: bool) -> None:
    driver, (hangs,) = CircuitDriver(CircuitBreaker(failures=1, on=TimeoutError)), messages(1)
    limited = handler("limited in time", timeout=5.0)
    driver.receive(hangs)
    if is_in_line:
        driver.tell(LinedUp((hangs,), limited))
    driver.tell(Called(hangs, limited, 5.0))

    driver.now += 5.0
    driver.tell(Tick())

    assert driver.open_breakers() == ("the app",)


# What goes on without being in line


def test_a_call_is_free_where_its_circuit_is_closed_and_nothing_else_makes_it_wait() -> None:
    driver = CircuitDriver(BREAKER)
    limited = handler("limited", max_concurrency=1)

    assert driver.core.is_free(Turn(STORE))
    assert driver.core.is_free(Turn(OWN, Outcome(STORE, ProcessStatus.DONE)))
    assert not driver.core.is_free(Turn(limited))
    assert not driver.core.is_free(Turn(STORE, Outcome(limited, ProcessStatus.DONE)))
    assert not driver.core.is_free(Turn(STORE, Outcome(STORE, ProcessStatus.RETRIABLE_ERROR, AWAY)))
    assert not CircuitDriver().core.is_free(Turn(STORE))


def test_no_call_is_free_while_the_circuit_is_open_nor_after_a_try() -> None:
    driver = CircuitDriver(BREAKER)
    driver.open(STORE)

    assert not driver.core.is_free(Turn(OTHER))
    assert driver.core.is_free(Turn(OWN))
    assert not driver.core.is_free(Turn(OWN, Outcome(STORE, ProcessStatus.DONE)))


def test_failures_of_free_calls_count_once_and_successes_reset_them() -> None:
    driver, several = CircuitDriver(BREAKER), messages(3)
    driver.receive(*several)
    driver.fail_call(STORE, several[0])
    failed = Outcome(STORE, ProcessStatus.RETRIABLE_ERROR, AWAY)
    driver.tell(LinedUp((several[0],), OWN, failed))
    assert driver.open_breakers() == ()

    driver.succeed(STORE, several[1])
    driver.fail_call(STORE, several[2])
    assert driver.open_breakers() == ()
    again = message("again")
    driver.receive(again)
    driver.fail_call(STORE, again)

    assert driver.open_breakers() == ("the app",)


@pytest.mark.parametrize(
    "following", [handler("limited", max_concurrency=1), handler("too", breaker=BREAKER)], ids=["limit", "breaker"]
)
def test_a_success_that_is_old_by_now_resets_nothing(following: Handler) -> None:
    driver, several = CircuitDriver(), messages(3)
    driver.line_up(OWN, *several)
    driver.tell(LinedUp((several[0],), following, Outcome(OWN, ProcessStatus.DONE)))
    driver.fail_call(OWN, several[1])
    driver.end(several[0], Outcome(OWN, ProcessStatus.DONE), Outcome(following, ProcessStatus.DONE))

    driver.fail_call(OWN, several[2])

    assert driver.open_breakers() == ("own",)


def test_a_success_counts_where_the_next_handler_is_not_called() -> None:
    driver, several = CircuitDriver(BREAKER), messages(3)
    driver.line_up(STORE, *several)
    driver.fail_call(STORE, several[0])
    lost = Outcome(OTHER, ProcessStatus.RETRY_LATER, LeaseLostError("lost"))
    driver.end(several[1], Outcome(STORE, ProcessStatus.DONE), lost, fate=Fate.KEEP)

    driver.fail_call(STORE, several[2])

    assert driver.open_breakers() == ()


def test_where_failures_are_counted_a_success_is_told_before_the_next_handler_is_called() -> None:
    driver, (failed,) = CircuitDriver(BREAKER), messages(1)
    driver.line_up(STORE, failed)
    driver.fail_call(STORE, failed)

    assert not driver.core.is_free(Turn(OTHER, Outcome(STORE, ProcessStatus.DONE)))
    assert driver.core.is_free(Turn(STORE))


def test_what_a_free_call_came_to_is_not_taken_for_that_of_the_call_before() -> None:
    driver, (first,) = CircuitDriver(BREAKER), messages(1)
    own = handler("own too", breaker=CircuitBreaker(failures=1, seconds=30))
    driver.line_up(own, first)

    driver.fail_call(STORE, first)

    assert driver.open_breakers() == ()


def test_a_batch_that_tries_is_told_by_one_that_was_called_and_by_none_that_was_skipped() -> None:
    options = read_options({"batch_size": 2, "breaker": CircuitBreaker(failures=1, seconds=30)})
    batched = make_handler(handle_all, Kind.TEXT, EVERYTHING, name="batched", options=options)
    driver, several = CircuitDriver(), messages(2)
    for each in several:
        driver.line_up(batched, each)
    for each in several:
        driver.fail_call(batched, each)
    driver.wait_until(driver.now + 30.0)
    assert driver.open_breakers() == ("batched",)

    driver.tell(LinedUp((several[0],), OTHER, Outcome(batched, ProcessStatus.DONE, skipped="done earlier")))
    assert driver.open_breakers() == ("batched",)
    driver.tell(LinedUp((several[1],), OTHER, Outcome(batched, ProcessStatus.DONE)))

    assert driver.open_breakers() == ()
