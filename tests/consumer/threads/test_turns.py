"""The runner's turns: how long its main thread waits, who tells the core, and who is woken for what it starts."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from queue import Empty
from typing import Any

import pytest

from megaflow import App, Handler, Kind, Lease, Message
from megaflow.app import parts_of
from megaflow.consumer.core.protocol import (
    AbandonPoll,
    Action,
    CheckStores,
    Delete,
    Exit,
    GiveUp,
    Hide,
    Input,
    Inspect,
    Measure,
    Receive,
    Received,
    Report,
    Resume,
    Settled,
    Start,
    Stop,
    Tick,
)
from megaflow.consumer.threads.caller import Caller
from megaflow.consumer.threads.runner import Runner
from megaflow.handlers.handler import make_handler
from megaflow.match.conditions import EVERYTHING
from megaflow.settings import ConsumerSettings
from megaflow.telemetry.metrics import Labels, Measurements
from megaflow.telemetry.outlets import Outlets
from megaflow.transport.queue import Failed
from megaflow.wire.pending import Pending
from tests.waiting import EARLY

MESSAGES = tuple(
    Message(name, "body", Kind.TEXT, "body", lease=Lease(f"handle {name}", 0.0, 30.0, lambda: 0.0)) for name in "ab"
)


class Inbox:
    """The main thread's inbox: it says how long it was waited for, and what came then; the time passes meanwhile."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.comes: list[Any] = []
        self.put_in: list[Any] = []

    def get(self, timeout: float = 0.0) -> Input:
        self.waits.append(round(timeout, 6))
        self.now += timeout
        come = self.comes.pop(0) if self.comes else None
        if callable(come):
            come = come()
        if come is None:
            raise Empty
        told: Input = come
        return told

    def put(self, told: Input) -> None:
        self.put_in.append(told)

    def empty(self) -> bool:
        return not self.comes


class Parts:
    """Workers, watch, pollers and settlers at once, and the queue: they note what they are told to do."""

    url = "https://queue"
    fifo = False

    def __init__(self) -> None:
        self.noted: list[Any] = []
        self.are_quick = False
        self.are_hanging_up = False
        self.wakes_main = False
        self.pause = math.inf
        self.looks: list[bool] = []
        self.settled: list[Settled] = []
        self.problems: list[Failed] = []

    def take_finished(self) -> list[Input]:
        return []

    def carry_out(self, action: Action) -> None:
        if isinstance(action, Start):
            self.noted.append(("start", len(action.messages)))
        else:
            self.noted.append(("resume", action))

    def wake(self, count: int) -> None:
        self.noted.append(("wake", count))

    def note_start(self) -> bool:
        self.noted.append("started")
        return self.wakes_main

    def give_up(self, message: Message, handler: Handler) -> None:
        self.noted.append(("give up", message, handler))

    def ask(self, question: Action) -> None:
        self.noted.append(("ask", question))

    def look(self) -> bool:
        return self.looks.pop(0) if self.looks else False

    def take_settled(self, *, looks_again: bool) -> list[Settled]:
        self.noted.append("take settled")
        return self.settled

    def begin_own(self) -> None:
        self.noted.append("begin own")

    def settle(self, action: Action, caller: Caller) -> None:
        self.noted.append(("settle", action, caller))

    def abandon(self, poll: int) -> None:
        self.noted.append(("abandon", poll))

    def close(self) -> None:
        self.noted.append("close")

    def wait(self, seconds: float) -> None:
        self.noted.append(("wait", seconds))

    def begin_hide(self, pauses: Sequence[tuple[str, float]], messages: Sequence[Message] = ()) -> Pending[Any]:
        self.noted.append(("hide", list(pauses)))
        return Pending(lambda: self.problems)


class Unreachable:
    """Metrics of the user's own, which fail."""

    def count(self, name: str, amount: int, labels: Labels) -> None:
        raise OSError("no route")

    def observe(self, name: str, value: float, labels: Labels) -> None: ...

    def gauge(self, name: str, value: float, labels: Labels) -> None: ...


class Engine:
    """A runner made of such parts, whose core answers what the test wants."""

    def __init__(self) -> None:
        self.inbox, self.parts = Inbox(), Parts()
        self.measurements = Measurements()
        runner: Any = Runner(
            self.parts,  # type: ignore[arg-type]
            lambda: parts_of(App()).processor,
            ConsumerSettings(),
            Outlets(self.measurements),
            clock=lambda: self.inbox.now,
        )
        runner._inbox = self.inbox
        runner._workers = runner._watch = runner._pollers = runner._settlers = self.parts
        self.told: list[tuple[Input, ...]] = []
        self.answers: list[list[Action]] = []
        self.wakes_at = math.inf
        runner._core = self
        self.runner = runner

    # What the runner asks of a core.

    def handle_all(self, inputs: Sequence[Input], now: float) -> list[Action]:
        self.told.append(tuple(inputs))
        return self.answers.pop(0) if self.answers else []

    @property
    def wake_at(self) -> float:
        return self.wakes_at

    def carry_out(self, actions: list[Action], caller: Caller) -> list[Any]:
        """Let the core answer this to what a caller tells, and return what was done."""
        self.parts.noted.clear()
        self.answers.append(actions)
        self.runner._tell(Tick(), caller)
        return self.parts.noted


@pytest.fixture
def engine() -> Engine:
    return Engine()


# How long the main thread waits


def test_where_nothing_happens_the_core_hears_the_time_every_ten_seconds(engine: Engine) -> None:
    assert engine.runner._wait_for_input() == Tick()

    assert engine.inbox.now == 110.0
    assert set(engine.inbox.waits) == {0.5}


def test_it_waits_until_the_core_wants_to_be_woken(engine: Engine) -> None:
    engine.runner._wakes_at = 100.7

    assert engine.runner._wait_for_input() == Tick()

    assert engine.inbox.waits == [0.5, 0.2]


def test_what_is_due_already_is_not_waited_for(engine: Engine) -> None:
    engine.runner._wakes_at = 99.0

    assert engine.runner._wait_for_input() == Tick()

    assert engine.inbox.waits == [0.0]


def test_it_looks_after_slow_handlers_as_often_as_is_wanted(engine: Engine) -> None:
    engine.parts.pause = 0.004
    engine.parts.looks = [False, False, True]

    assert engine.runner._wait_for_input() is None, "what is finished is to be told"

    assert engine.inbox.waits == [0.004] * 3


def test_what_comes_ends_the_wait(engine: Engine) -> None:
    engine.inbox.comes = [None, Stop()]

    assert engine.runner._wait_for_input() == Stop()


def test_a_wake_up_only_lets_it_see_anew_for_how_long_it_waits(engine: Engine) -> None:
    def wake() -> Input:
        engine.runner._wakes_at = 100.6
        wake_up: Input = wakes[0]
        return wake_up

    engine.runner._tell_all(Caller.WORKER)
    engine.wakes_at = 1.0
    engine.runner._sleeps_until = 2.0
    engine.runner._tell_all(Caller.WORKER)
    wakes = engine.inbox.put_in
    assert len(wakes) == 1
    engine.inbox.comes = [wake]
    engine.runner._wakes_at = math.inf

    assert engine.runner._wait_for_input() == Tick()

    assert engine.inbox.waits == [0.5, 0.1]


def test_what_is_over_ends_the_wait(engine: Engine) -> None:
    engine.carry_out([Exit()], Caller.WORKER)
    (wake,) = engine.inbox.put_in
    engine.inbox.comes = [wake]

    assert engine.runner._wait_for_input() is wake
    assert engine.runner._wait_for_input() == Tick()
    assert engine.inbox.waits == [0.5, 0.5]


@pytest.mark.parametrize(("wakes_at", "woken"), [(100.1, 1), (100.5, 0), (101.0, 0)])
def test_the_main_thread_is_woken_where_it_would_sleep_too_long(engine: Engine, wakes_at: float, woken: int) -> None:
    engine.runner._sleeps_until, engine.wakes_at = 100.5, wakes_at

    engine.runner._tell(Tick(), Caller.WORKER)

    assert len(engine.inbox.put_in) == woken


# Who tells the core


def test_a_poller_tells_with_its_own_what_was_settled_and_begins_what_is_to_be(engine: Engine) -> None:
    engine.parts.settled = [Settled(Delete(MESSAGES))]

    engine.runner._tell(Tick(), Caller.POLLER)

    assert engine.told == [(Settled(Delete(MESSAGES)), Tick())]
    assert engine.parts.noted == ["take settled", "begin own"]


@pytest.mark.parametrize("caller", [caller for caller in Caller if not caller.settles_itself])
def test_others_leave_to_pollers_what_pollers_settle(engine: Engine, caller: Caller) -> None:
    engine.runner._tell(Tick(), caller)

    assert engine.told == [(Tick(),)]
    assert engine.parts.noted == []


def test_nothing_is_told_where_nothing_has_finished(engine: Engine) -> None:
    engine.runner._tell(None, Caller.WORKER)

    assert engine.told == []


def test_who_comes_while_another_one_tells_does_not_wait_and_is_told_with_it(engine: Engine) -> None:
    second = threading.Thread(target=engine.runner._tell, args=(Stop(), Caller.WORKER))

    def handle_all(inputs: Sequence[Input], now: float) -> list[Action]:
        engine.told.append(tuple(inputs))
        if len(engine.told) == 1:
            second.start()
            second.join(EARLY)
            assert not second.is_alive()
        return []

    engine.handle_all = handle_all  # type: ignore[method-assign]
    engine.runner._tell(Tick(), Caller.MAIN)

    assert engine.told == [(Tick(),), (Stop(),)]


def test_what_breaks_the_core_ends_it_and_wakes_the_main_thread(engine: Engine) -> None:
    def handle_all(inputs: Sequence[Input], now: float) -> list[Action]:
        raise ZeroDivisionError

    engine.handle_all = handle_all  # type: ignore[method-assign]
    engine.runner._tell(Tick(), Caller.WORKER)

    assert engine.runner._is_over
    assert len(engine.inbox.put_in) == 1
    assert isinstance(engine.runner._failure, ZeroDivisionError)


def test_what_is_received_after_the_end_is_given_back_and_nothing_else_is_done(engine: Engine) -> None:
    engine.carry_out([Exit()], Caller.MAIN)
    engine.told.clear()
    engine.parts.noted.clear()

    engine.runner._tell(Stop(), Caller.WORKER)
    engine.runner._tell(Received(MESSAGES, 1), Caller.WORKER)

    assert engine.told == []
    assert engine.parts.noted == [("hide", [("handle a", 0.0), ("handle b", 0.0)])]


def test_more_than_ten_are_given_back_in_several_calls(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    several = [MESSAGES[0]] * 12

    engine.runner._give_back(several)
    assert [len(pauses) for _, pauses in engine.parts.noted] == [10, 2]
    assert caplog.records == []
    engine.parts.problems = [Failed("handle a", "InternalError", "try again", final=False)]
    engine.runner._give_back(MESSAGES)

    text = "2 messages could not be given back and come again later: InternalError: try again"
    assert [record.getMessage() for record in caplog.records] == [text]


# What is started


@pytest.mark.parametrize(
    ("caller", "quick", "woken"),
    [
        (Caller.POLLER, True, False),
        (Caller.POLLER, False, True),
        (Caller.EVENT_LOOP, True, False),
        (Caller.WORKER, True, True),
        (Caller.SETTLER, True, True),
        (Caller.SETTLER, False, True),
    ],
)
def test_workers_are_woken_for_what_is_started_unless_who_tells_handles_it(
    engine: Engine, caller: Caller, quick: bool, woken: bool
) -> None:
    engine.parts.are_quick = quick

    done = engine.carry_out([Start(MESSAGES), Start(MESSAGES[:1])], caller)

    of_start = [each for each in done if each not in ("take settled", "begin own")]
    assert of_start == [("start", 2), ("start", 1), *([("wake", 3)] if woken else []), "started"]


@pytest.mark.parametrize("wakes", [False, True])
def test_the_main_thread_is_woken_to_look_after_slow_handlers(engine: Engine, wakes: bool) -> None:
    engine.parts.wakes_main = wakes

    engine.carry_out([Start(MESSAGES)], Caller.WORKER)

    assert len(engine.inbox.put_in) == int(wakes)


def test_where_nothing_is_started_nobody_is_woken(engine: Engine) -> None:
    assert engine.carry_out([AbandonPoll(3)], Caller.WORKER) == [("abandon", 3)]
    assert engine.inbox.put_in == []


@pytest.mark.parametrize("action", [Receive(1, 20, 3), Inspect()])
def test_pollers_ask_what_the_core_wants_to_know(engine: Engine, action: Action) -> None:
    assert engine.carry_out([action], Caller.WORKER) == [("ask", action)]


@pytest.mark.parametrize("action", [Delete(MESSAGES), Hide(MESSAGES, (3.0, 4.0))])
def test_settlers_settle_for_who_tells(engine: Engine, action: Action) -> None:
    assert engine.carry_out([action], Caller.WORKER) == [("settle", action, Caller.WORKER)]


def test_workers_go_on_with_what_waited_and_are_woken_for_it_and_go_on_without_what_hangs(engine: Engine) -> None:
    handler = make_handler(lambda text: None, Kind.TEXT, EVERYTHING, name="handle")

    done = engine.carry_out([Resume(MESSAGES), GiveUp(MESSAGES[0], handler)], Caller.WORKER)

    assert done == [("resume", Resume(MESSAGES)), ("give up", MESSAGES[0], handler), ("wake", 2), "started"]


def test_a_report_is_logged_with_the_queue_and_its_keys(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    error = OSError("down")

    engine.carry_out([Report(logging.WARNING, "message %s: %s", ("a", "gone"), error, {"handler": "h"})], Caller.MAIN)

    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "message a: gone")
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert (record.__dict__["queue"], record.__dict__["handler"]) == ("https://queue", "h")


def test_metrics_that_fail_stop_nothing(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    engine.runner._outlets = Outlets(own=Unreachable())

    done = engine.carry_out([Measure({("received",): 3}, {}), AbandonPoll(3)], Caller.WORKER)

    assert done == [("abandon", 3)]
    assert "the metrics failed at received, and go on without: no route" in caplog.text


def test_what_comes_after_the_exit_is_not_done(engine: Engine) -> None:
    assert engine.carry_out([AbandonPoll(3), Exit(), AbandonPoll(4)], Caller.WORKER) == [("abandon", 3)]


def test_what_is_counted_is_in_the_metrics(engine: Engine) -> None:
    engine.carry_out([Measure({("received",): 3}, {})], Caller.WORKER)

    assert engine.measurements.snapshot()["received"] == 3


def test_the_stores_are_checked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[object] = []
    module = "megaflow.consumer.threads.runner.begin_check"
    monkeypatch.setattr(module, lambda check, tell: begun.append(tell))

    engine.carry_out([CheckStores()], Caller.WORKER)

    assert begun == [engine.runner._tell]


# The end


def test_polls_that_hang_up_have_a_moment_at_the_end(engine: Engine) -> None:
    engine.parts.are_hanging_up = True

    engine.runner._end()

    assert engine.parts.noted == ["close", "close", "close", ("wait", 0.3)]


@pytest.mark.parametrize(
    ("hidden", "waited"),
    [
        ([], []),
        ([Hide(MESSAGES, (3.0, 4.0))], []),
        ([Hide(MESSAGES, (3.0, 0.0))], [("wait", 0.3)]),
        ([Hide(MESSAGES, (0.0, 0.0)), Delete(MESSAGES), Hide(MESSAGES, (3.0, 4.0))], [("wait", 0.3)]),
    ],
)
def test_polls_have_a_moment_at_the_end_where_something_was_given_back(
    engine: Engine, hidden: list[Action], waited: list[Any]
) -> None:
    engine.carry_out(hidden, Caller.WORKER)
    engine.parts.noted.clear()

    engine.runner._end()

    assert engine.parts.noted == ["close", "close", "close", *waited]


def test_at_the_end_what_was_made_is_closed_before_the_event_loops(engine: Engine) -> None:
    engine.runner._at_end = lambda: engine.parts.noted.append("at end")

    engine.runner._end()

    assert engine.parts.noted == ["close", "close", "at end", "close"]
    assert engine.runner._is_over
    assert str(engine.runner._failure) == "the consumer has ended"


def test_in_a_forked_child_nothing_is_ended(engine: Engine) -> None:
    engine.runner._generation -= 1

    engine.runner._end()

    assert engine.parts.noted == []


def test_whoever_stopped_it_before_it_began_is_heard_first(engine: Engine) -> None:
    engine.inbox.comes = [Stop()]
    engine.answers = [[Exit()]]

    assert engine.runner._drive() is None

    assert engine.told == [(Stop(),)]


def test_without_a_stop_the_first_thing_is_the_time(engine: Engine) -> None:
    error = OSError("gone")
    engine.answers = [[Exit(error)]]

    assert engine.runner._drive() is error

    assert engine.told == [(Tick(),)]
    assert engine.inbox.waits == [], "it does not wait for anything before"
