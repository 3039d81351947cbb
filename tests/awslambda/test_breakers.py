"""Circuit breakers of a Lambda function: what is not tried comes again, and the next invocation knows what was."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from megaflow import CircuitBreaker
from tests.awslambda.test_awslambda import Clock, Context, bodies_that_come_again, receive
from tests.consuming import Queues
from tests.waiting import PATIENCE

BREAKER = CircuitBreaker(failures=2, seconds=30)


class Function:
    """A function with a database that can be away, and a clock that tests move."""

    def __init__(self, **options: Any) -> None:
        self.queues = Queues()
        self.app = self.queues.app(**{"concurrency": 1, "breaker": BREAKER, **options})
        self.is_away = True
        self.calls: list[str] = []
        self.handler = self.app.lambda_handler()
        self.clock = Clock()
        self.handler._clock = self.clock

    def store(self, text: str) -> None:
        self.calls.append(text)
        if self.is_away:
            raise ConnectionError("away")

    def invoke(self, *bodies: str) -> list[str]:
        """Return which messages come again."""
        event = receive(self.queues, *bodies)
        return bodies_that_come_again(event, self.handler(event, Context(900)))


def test_what_is_not_tried_is_a_batch_item_failure(caplog: pytest.LogCaptureFixture) -> None:
    function = Function()
    function.app.on_text()(function.store)
    caplog.set_level("INFO")

    assert function.invoke(*"abcdef") == list("abcdef")

    assert len(function.calls) == 2
    assert caplog.text.count("the circuit breaker of the app is open for 30 s") == 1
    assert caplog.text.count("comes again: not tried, as the circuit breaker of the app is open") == 4
    assert function.queues.depth(function.queues.dead_letters) == (0, 0)


def test_the_next_invocation_tries_nothing_until_it_is_half_open_and_then_one() -> None:
    function = Function()
    function.app.on_text()(function.store)
    function.invoke(*"ab")

    function.invoke(*"cd")
    assert len(function.calls) == 2
    function.clock.let_an_hour_pass()
    assert function.invoke(*"ef") == list("ef")
    assert len(function.calls) == 3
    function.clock.let_an_hour_pass()
    function.is_away = False

    assert function.invoke(*"gh") == []
    assert len(function.calls) == 5


def test_on_a_handler_messages_of_others_are_done() -> None:
    function, others = Function(breaker=None), list[str]()
    function.app.on_text(lambda text: text == "store", breaker=BREAKER)(function.store)
    function.app.on_text(lambda text: text != "store")(others.append)

    assert function.invoke("store", "store", "store", "other") == ["store"] * 3

    assert len(function.calls) == 2
    assert others == ["other"]


@pytest.mark.parametrize("limit", [{"max_concurrency": 1}, {"rate": "1000/s"}])
def test_a_handler_may_have_a_limit_and_a_breaker(limit: dict[str, Any]) -> None:
    function = Function(breaker=None, concurrency=4)
    function.app.on_text(breaker=BREAKER, **limit)(function.store)

    assert function.invoke(*"abcdef") == list("abcdef")
    # Four are at work at the second failure, and the one before it has ended.
    assert 2 <= len(function.calls) <= 5
    function.is_away = False
    function.clock.let_an_hour_pass()

    assert function.invoke("g") == []
    assert function.invoke(*"abcdef") == []


def test_a_batch_is_one_try_and_where_the_breaker_is_open_none_is_called() -> None:
    function, batches = Function(breaker=CircuitBreaker(failures=1, seconds=30)), list[list[str]]()

    @function.app.on_text(batch_size=2, batch_seconds=0)
    def store(texts: list[str]) -> None:
        batches.append(texts)
        function.store(texts[0])

    assert function.invoke(*"abcd") == list("abcd")
    assert batches == [["a", "b"]]
    function.is_away = False
    assert function.invoke("e") == ["e"]
    function.clock.let_an_hour_pass()

    assert function.invoke(*"abcd") == []
    assert batches[1:] == [["a", "b"], ["c", "d"]]


def test_a_call_that_does_not_return_in_its_time_counts(caplog: pytest.LogCaptureFixture) -> None:
    function, go_on = Function(breaker=CircuitBreaker(failures=1, on=TimeoutError)), threading.Event()
    function.handler._clock = time.monotonic

    @function.app.on_text(timeout=0.01)
    def hang(text: str) -> None:
        go_on.wait(PATIENCE)

    assert function.invoke(*"ab") == ["a", "b"]
    go_on.set()

    assert caplog.text.count("has not returned in its time") == 2
    assert "the circuit breaker of the app is open" in caplog.text


def test_what_is_not_tried_is_not_dead_lettered_at_its_last_delivery() -> None:
    function = Function(max_receives=1, breaker=CircuitBreaker(failures=1, seconds=30))
    function.app.on_text()(function.store)

    assert function.invoke(*"abc") == ["b", "c"]

    assert function.queues.depth(function.queues.dead_letters) == (1, 0)


def test_a_try_that_is_given_up_lets_another_one_try() -> None:
    function, begun, go_on = (
        Function(breaker=CircuitBreaker(failures=1, seconds=30)),
        threading.Event(),
        threading.Event(),
    )

    @function.app.on_text()
    def store(text: str) -> None:
        if text == "hangs":
            begun.set()
            go_on.wait(PATIENCE)
        function.store(text)

    function.invoke("fails")
    function.clock.let_an_hour_pass()
    hanging = threading.Thread(target=function.invoke, args=("hangs",))
    hanging.start()
    assert begun.wait(PATIENCE)
    lines = function.handler._works._lines
    assert lines is not None
    assert lines._turns._circuits.due_at == float("inf")
    function.clock.let_an_hour_pass()
    # It looks at the time when something happens.
    go_on.set()
    hanging.join(PATIENCE)
    function.is_away = False
    function.clock.let_an_hour_pass()

    assert function.invoke("next") == []
