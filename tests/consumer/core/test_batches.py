"""Batches in the consumer's core: when they are called, with what, and what is in hand meanwhile."""

from __future__ import annotations

import logging

import pytest

from megaflow import Kind, Message
from megaflow.consumer.core.protocol import (
    CallBatch,
    Called,
    Crashed,
    Delete,
    Drop,
    Exit,
    Extend,
    Finished,
    Flush,
    GiveUp,
    Hide,
    LinedUp,
    Receive,
    Received,
    Resume,
    Settled,
    Start,
    Stop,
    StoreFailed,
    StoresChecked,
    Tick,
)
from megaflow.handlers.handler import Handler, make_handler
from megaflow.handlers.options import read_options
from megaflow.limits import FIFO_IN_FLIGHT, IN_FLIGHT
from megaflow.match.conditions import EVERYTHING
from megaflow.processing.verdict import Fate
from megaflow.settings import ConsumerSettings
from tests.consumer.core.driving import HOW_TO_HURRY, Driver, ids, message, messages, verdict_on


def handle(texts: list[str]) -> None: ...


def batched(size: int = 3, seconds: float = 2.0, **options: object) -> Handler:
    given = {"batch_size": size, "batch_seconds": seconds, **options}
    return make_handler(handle, Kind.TEXT, EVERYTHING, options=read_options(given))


THREE = batched()


class BatchDriver(Driver):
    """A driver of a core to which messages come that all meet a batch handler."""

    def __init__(self, *, concurrency: int = 3, fifo: bool = False, **settings: object) -> None:
        super().__init__(
            ConsumerSettings(concurrency=concurrency, backoff=lambda count: 10.0, **settings),  # type: ignore[arg-type]
            fifo=fifo,
        )
        self.called: list[CallBatch] = []
        self.started: list[Message] = []

    def tell(self, input: object) -> list[object]:  # type: ignore[override]
        answered = super().tell(input)  # type: ignore[arg-type]
        if hasattr(self, "called"):
            self.called += self.all(CallBatch)
            self.started += [each for action in self.all(Start) for each in action.messages]
        return answered  # type: ignore[return-value]

    def line_up(self, *several: Message, handler: Handler = THREE) -> list[list[str]]:
        """Let messages come that are in line at once; return the batches that are called then."""
        before = len(self.called)
        self.tell(Received(several, self.poll))
        while self.started:
            self.tell(LinedUp((self.started.pop(0),), handler))
        return [ids(each.messages) for each in self.called[before:]]

    def end(self, batch: CallBatch, *fates: Fate) -> None:
        """Let a batch end, with these fates."""
        each = fates or (Fate.DELETE,) * len(batch.messages)
        self.tell(Finished([verdict_on(one, fate) for one, fate in zip(batch.messages, each, strict=True)]))

    def wait(self, seconds: float) -> list[list[str]]:
        """Let time pass, extensions succeeding; return the batches that are called meanwhile."""
        end, before = self.now + seconds, len(self.called)
        while self.core.wake_at <= end:
            self.now = self.core.wake_at
            self.tell(Tick())
            for asked in self.all(Extend):
                self.tell(Settled(asked))
        self.now = end
        return [ids(each.messages) for each in self.called[before:]]


def test_a_batch_is_called_when_there_are_enough() -> None:
    driver = BatchDriver()

    assert driver.line_up(*messages(2)) == []
    assert driver.line_up(message("2"), message("3")) == [["0", "1", "2"]]
    assert driver.called[0].handler is THREE


def test_a_batch_is_called_when_the_first_has_waited_long_enough() -> None:
    driver = BatchDriver()
    driver.line_up(message("0"))
    driver.wait(1.5)
    driver.line_up(message("1"))

    assert driver.wait(0.49) == []
    assert driver.wait(0.02) == [["0", "1"]]


def test_a_batch_is_called_at_once_at_a_stop_and_is_waited_for() -> None:
    driver = BatchDriver(shutdown_timeout=25.0)
    driver.line_up(*messages(2))

    driver.tell(Stop())
    assert [ids(each.messages) for each in driver.called] == [["0", "1"]]
    assert not driver.all(Exit)
    driver.end(driver.called[0])
    (deleted,) = driver.all(Delete)
    driver.tell(Settled(deleted))

    assert driver.one(Exit).error is None


def test_a_message_that_comes_to_a_batch_while_the_consumer_stops_is_called_at_once() -> None:
    driver = BatchDriver()
    (first,) = driver.receive(message("0"))
    driver.tell(Stop())

    driver.tell(LinedUp((first,), THREE))

    assert [ids(each.messages) for each in driver.called] == [["0"]]


def test_whoever_flushes_has_batches_called_with_what_waits() -> None:
    driver = BatchDriver()
    driver.line_up(*messages(2))
    assert driver.core.is_collecting

    driver.tell(Flush())

    assert [ids(each.messages) for each in driver.called] == [["0", "1"]]
    assert not driver.core.is_collecting


def test_what_waits_for_a_batch_holds_no_place_and_a_batch_holds_one() -> None:
    driver = BatchDriver(concurrency=2)

    assert driver.line_up(*messages(2)) == []
    assert driver.line_up(message("2")) == [["0", "1", "2"]]
    assert driver.core.health(driver.now).running == 1
    assert driver.core.health(driver.now).in_hand == 3
    assert driver.line_up(message("3"), message("4"), message("5")) == [["3", "4", "5"]]
    assert driver.line_up(message("6"), message("7"), message("8")) == []
    driver.end(driver.called[0])

    assert ids(driver.started) == ["6"]


def test_as_many_batches_of_a_handler_run_as_max_concurrency_says() -> None:
    driver, one_at_once = BatchDriver(), batched(1, max_concurrency=1)
    assert driver.line_up(message("0"), message("1"), handler=one_at_once) == [["0"]]

    driver.tell(Called(driver.called[0].batch, one_at_once, None))

    assert ids(driver.called[1].messages) == ["1"]


def test_a_rate_counts_batches() -> None:
    driver, rated = BatchDriver(), batched(2, 0.0, rate="1/m")
    driver.line_up(*messages(1), handler=rated)
    assert len(driver.called) == 1

    driver.line_up(message("1"), message("2"), handler=rated)
    assert driver.wait(59.0) == []

    assert driver.wait(2.0) == [["1", "2"]]


@pytest.mark.parametrize("size", [3, 2], ids=["in line", "in the batch"])
def test_leases_are_extended_before_and_while_a_batch_is_called(size: int) -> None:
    driver, handler = BatchDriver(), batched(size, 3_600.0)
    driver.line_up(*messages(2), handler=handler)
    assert len(driver.called) == (size == 2)

    driver.now = 116.0
    driver.tell(Tick())

    assert ids(driver.one(Extend).messages) == ["0", "1"]


def test_a_message_whose_lease_is_lost_in_line_goes_on_without_the_batch() -> None:
    driver = BatchDriver()
    driver.line_up(message("0", expires_at=101.0), message("1"))

    driver.now = 101.5
    driver.tell(Tick())
    assert [(ids(each.messages), each.failed) for each in driver.all(Resume)] == [(["0"], True)]

    assert driver.wait(2.0) == [["1"]]


def test_a_batch_that_takes_too_long_is_given_up_and_its_messages_are_kept() -> None:
    driver, handler = BatchDriver(), batched(2, timeout=5.0)
    driver.line_up(*messages(2), handler=handler)
    (called,) = driver.called
    driver.tell(Called(called.batch, handler, 5.0))

    driver.now += 5.0
    driver.tell(Tick())

    assert driver.one(GiveUp).message is called.batch
    assert called.batch.lease is not None
    assert called.batch.lease.lost
    assert driver.core.health(driver.now).in_hand == 0
    hidden = driver.wait_for(Hide)
    assert (ids(hidden.messages), hidden.seconds) == (["0", "1"], (10.0, 10.0))


def test_a_batch_for_which_nobody_waits_any_more_at_the_end_is_not_given_back() -> None:
    driver = BatchDriver(shutdown_timeout=1.0)
    driver.line_up(*messages(3))
    driver.tell(Stop())

    driver.now += 1.0
    driver.tell(Tick())

    assert driver.one(Exit)
    assert not driver.all(Hide)
    assert all(each.lease is not None and each.lease.is_given_up for each in driver.called[0].messages)


def test_a_batch_is_given_back_by_a_second_signal() -> None:
    driver = BatchDriver()
    driver.line_up(*messages(3))
    driver.tell(Stop())

    driver.tell(Stop(now=True))

    assert (ids(driver.one(Hide).messages), driver.one(Hide).seconds) == (["0", "1", "2"], (0.0, 0.0, 0.0))


def test_where_a_batch_cannot_be_run_its_messages_are_kept() -> None:
    driver = BatchDriver()
    driver.line_up(*messages(3))

    driver.tell(Crashed(driver.called[0].batch, ValueError("broken")))

    assert ids(driver.wait_for(Hide).messages) == ["0", "1", "2"]
    assert driver.core.health(driver.now).running == 0


def test_a_batch_whose_store_fails_waits_in_its_place_and_is_resumed_as_one() -> None:
    driver = BatchDriver()
    driver.line_up(*messages(3))
    (called,) = driver.called

    driver.tell(StoreFailed(called.batch, ConnectionError("out")))
    driver.tell(StoresChecked())
    resumed = driver.wait_for(Resume)

    assert resumed.messages == (called.batch,)
    assert not resumed.failed


def test_no_batch_is_called_while_a_store_is_out() -> None:
    driver = BatchDriver()
    driver.line_up(*messages(3))
    driver.tell(StoreFailed(driver.called[0].batch, ConnectionError("out")))

    driver.tell(Received((message("3"), message("4"), message("5")), driver.poll))
    driver.wait(5.0)

    assert len(driver.called) == 1


def test_messages_go_on_from_a_batch_to_another_line_each_by_itself() -> None:
    driver, second = BatchDriver(), batched(2)
    driver.line_up(*messages(3))
    first, *others = driver.called[0].messages

    driver.tell(Finished([verdict_on(first, Fate.DELETE)]))
    for each in others:
        driver.tell(LinedUp((each,), second))

    assert ids(driver.called[1].messages) == ["1", "2"]
    assert driver.core.health(driver.now).running == 1


def test_batches_are_settled_in_tens() -> None:
    driver, handler = BatchDriver(concurrency=100), batched(25)
    for start in (0, 10, 20):
        driver.line_up(*[message(str(number)) for number in range(start, min(25, start + 10))], handler=handler)

    driver.end(driver.called[0])

    assert [len(each.messages) for each in driver.all(Delete)] == [10, 10, 5]


# In hand


def collect(driver: BatchDriver, handler: Handler, most: int) -> int:
    """Let as many come as the core asks for, up to so many; return how many are in hand then."""
    number = 0
    polls = driver.all(Receive)
    while polls and number < most:
        asked = polls.pop(0)
        several = [message(str(each), expires_at=1e9) for each in range(number, number + asked.count)]
        number += asked.count
        driver.tell(Received(several, asked.poll))
        polls += driver.all(Receive)
        while driver.started:
            driver.tell(LinedUp((driver.started.pop(0),), handler))
            polls += driver.all(Receive)
    return driver.core.health(driver.now).in_hand


def test_in_hand_goes_beyond_prefetch_as_far_as_batches_need() -> None:
    driver = BatchDriver(prefetch=0)

    collect(driver, batched(1_000, 60.0), 1_000)

    assert len(driver.called[0].messages) == 1_000


def test_in_hand_are_the_batch_that_is_called_the_next_one_and_what_is_held_without_batches() -> None:
    driver = BatchDriver(concurrency=2, max_number_of_messages=1, prefetch=0)

    in_hand = collect(driver, batched(4, 60.0, max_concurrency=1), 100)

    called, collected, without_batches = 4, 4, 1 * (2 + 1)
    assert in_hand == called + collected + without_batches


@pytest.mark.parametrize("fifo", [False, True])
def test_no_more_is_in_hand_than_sqs_lets_be_in_flight(fifo: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (IN_FLIGHT, FIFO_IN_FLIGHT) == (120_000, 20_000)
    monkeypatch.setattr("megaflow.limits.FIFO_IN_FLIGHT" if fifo else "megaflow.limits.IN_FLIGHT", 200)
    driver = BatchDriver(fifo=fifo)

    assert collect(driver, batched(10_000, 60.0), 1_000) == 200


# FIFO


def hidden_in(action: Hide) -> dict[str, float]:
    return dict(zip(ids(action.messages), action.seconds, strict=True))


def of_group(group: str, *names: str) -> list[Message]:
    return [message(name, group=group) for name in names]


def test_on_fifo_messages_of_a_group_join_a_batch_in_order() -> None:
    driver = BatchDriver(fifo=True)

    assert driver.line_up(*of_group("a", "1", "2", "3")) == [["1", "2", "3"]]


def test_on_fifo_a_batch_is_called_as_soon_as_a_poll_brings_nothing() -> None:
    driver = BatchDriver(fifo=True)
    assert driver.line_up(*of_group("a", "1", "2")) == []

    driver.tell(Received((), driver.poll))

    assert [ids(each.messages) for each in driver.called] == [["1", "2"]]


def test_on_fifo_an_empty_poll_says_nothing_while_more_is_on_its_way_to_the_batch() -> None:
    driver = BatchDriver(fifo=True)
    driver.tell(Received(of_group("a", "1") + of_group("b", "2"), driver.poll))
    first, second = driver.started
    driver.tell(LinedUp((first,), THREE))
    driver.tell(Received((), driver.poll))
    assert driver.called == []

    driver.tell(LinedUp((second,), THREE))

    assert [ids(each.messages) for each in driver.called] == [["1", "2"]]


def test_on_a_standard_queue_an_empty_poll_says_nothing() -> None:
    driver = BatchDriver()
    driver.line_up(message("1"))

    driver.tell(Received((), driver.poll))

    assert driver.called == []


def test_on_fifo_what_is_beyond_a_batch_waits_until_the_ones_before_it_have_ended() -> None:
    driver = BatchDriver(fifo=True)
    driver.line_up(*of_group("a", "1", "2", "3", "4", "5"))
    assert [ids(each.messages) for each in driver.called] == [["1", "2", "3"]]
    driver.tell(Received((), driver.poll))
    assert len(driver.called) == 1

    driver.end(driver.called[0])
    while driver.started:
        driver.tell(LinedUp((driver.started.pop(0),), THREE))
    driver.wait(2.0)

    assert [ids(each.messages) for each in driver.called[1:]] == [["4", "5"]]


@pytest.mark.parametrize("came", ["213", "231", "321", "132"])
def test_on_fifo_those_of_a_batch_come_to_the_next_one_in_order_whichever_comes_first(came: str) -> None:
    driver, following = BatchDriver(fifo=True), batched()
    driver.line_up(*of_group("a", "1", "2", "3"))
    together = {each.id: each for each in driver.called[0].messages}

    for each in came:
        driver.tell(LinedUp((together[each],), following))

    assert [ids(each.messages) for each in driver.called[1:]] == [["1", "2", "3"]]


def test_on_fifo_what_is_behind_one_that_is_kept_is_given_back_wherever_it_is() -> None:
    driver = BatchDriver(fifo=True)
    driver.line_up(*of_group("a", "1", "2", "3", "4", "5"))
    called = driver.called[0]

    driver.end(called, Fate.KEEP, Fate.KEEP, Fate.KEEP)

    assert hidden_in(driver.wait_for(Hide)) == {"1": 10.0, "2": 10.0, "3": 10.0, "4": 0.0, "5": 0.0}
    assert driver.core.health(driver.now).in_hand == 0


def test_on_fifo_what_is_in_line_behind_one_that_is_kept_is_dropped() -> None:
    driver, second = BatchDriver(fifo=True), batched(5, 60.0)
    driver.line_up(*of_group("a", "1"), handler=second)
    driver.line_up(*of_group("a", "2"), handler=THREE)
    driver.tell(Flush())
    assert [ids(each.messages) for each in driver.called] == [["1"]]

    driver.end(driver.called[0], Fate.KEEP)

    (dropped,) = driver.one(Drop).messages
    assert dropped.id == "2"
    assert dropped.lease is not None
    assert dropped.lease.lost
    assert hidden_in(driver.wait_for(Hide)) == {"1": 10.0, "2": 0.0}


def test_on_fifo_one_that_was_dropped_and_comes_again_is_overtaken_by_none_while_it_is_at_work() -> None:
    driver, second = BatchDriver(fifo=True), batched(5, 60.0)
    driver.line_up(*of_group("a", "1"), handler=second)
    driver.line_up(*of_group("a", "2"), handler=THREE)
    driver.tell(Flush())
    driver.end(driver.called[0], Fate.KEEP)
    driver.tell(Settled(driver.wait_for(Hide)))
    driver.tell(Received(of_group("a", "1", "2", "3"), driver.poll))
    driver.tell(LinedUp((driver.started.pop(),), second))
    assert ids(driver.started) == ["2"]
    driver.tell(Flush())

    driver.end(driver.called[1])

    assert ids(driver.started) == ["2"]


def test_on_fifo_one_that_is_on_its_way_behind_one_that_is_kept_is_given_back_when_it_comes_in_line() -> None:
    driver = BatchDriver(fifo=True)
    driver.line_up(*of_group("a", "1"))
    driver.tell(Received(of_group("a", "2"), driver.poll))
    (second,) = driver.started
    driver.tell(Flush())

    driver.end(driver.called[0], Fate.KEEP)
    driver.tell(LinedUp((second,), THREE))

    assert ids(driver.one(Drop).messages) == ["2"]
    driver.wait(10.0)
    assert len(driver.called) == 1


def test_on_fifo_a_message_without_a_handler_to_wait_for_goes_on_when_those_before_it_have_ended() -> None:
    driver = BatchDriver(fifo=True)
    driver.line_up(*of_group("a", "1"))
    driver.tell(Received(of_group("a", "2"), driver.poll))
    driver.tell(LinedUp((driver.started.pop(),), None))
    assert not driver.all(Resume)
    driver.tell(Flush())

    driver.end(driver.called[0])

    assert [(ids(each.messages), each.failed) for each in driver.all(Resume)] == [(["2"], False)]


def test_on_fifo_a_group_at_work_takes_in_nobody_else() -> None:
    driver = BatchDriver(fifo=True)
    driver.line_up(*of_group("a", "1"))
    driver.tell(Flush())

    driver.tell(Received(of_group("a", "2"), driver.poll))

    assert driver.started == []


def test_on_fifo_the_next_poll_does_not_wait_while_something_is_collected() -> None:
    driver = BatchDriver(fifo=True)
    driver.line_up(*of_group("a", "1"))

    driver.tell(Received(of_group("b", "2"), driver.poll))
    waits = [each.wait for each in driver.all(Receive)]
    driver.tell(LinedUp((driver.started.pop(),), THREE))
    driver.tell(Received((), driver.poll))

    assert waits == [0]
    assert [each.wait for each in driver.all(Receive)] == [1]


def test_what_is_given_back_in_line_is_said_once() -> None:
    driver, never = BatchDriver(shutdown_timeout=1.0, concurrency=1), batched(1, 0.0, max_concurrency=1)
    driver.line_up(*messages(1), handler=never)
    driver.tell(Received((message("1"),), driver.poll))
    driver.tell(Stop())

    assert driver.reports(logging.INFO) == [f"stopping: waiting up to 1.0 s for 1 message; {HOW_TO_HURRY}"]


def test_the_messages_of_a_batch_are_said_to_be_waited_for_and_not_its_call() -> None:
    driver = BatchDriver(shutdown_timeout=1.0)
    driver.line_up(*messages(3))
    driver.line_up(message("3"))
    driver.tell(Stop())

    assert driver.reports(logging.INFO) == [f"stopping: waiting up to 1.0 s for 4 messages; {HOW_TO_HURRY}"]


def test_messages_that_come_into_line_together_share_a_batch() -> None:
    driver = BatchDriver()
    driver.tell(Received(messages(3), driver.poll))

    driver.tell(LinedUp(driver.started, THREE))

    assert [ids(each.messages) for each in driver.called] == [["0", "1", "2"]]


def test_of_messages_that_come_into_line_together_one_that_was_given_up_stays_behind() -> None:
    driver = BatchDriver()
    several = messages(4)
    driver.tell(Received(several, driver.poll))
    driver.tell(Called(several[1], THREE, 5.0))
    driver.wait(5.0)

    driver.tell(LinedUp([*several], THREE))

    assert [ids(each.messages) for each in driver.called] == [["0", "2", "3"]]
