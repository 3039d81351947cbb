from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from megaflow.local.operations.operation import Answer
from megaflow.local.polls import Poll, Polls
from megaflow.local.refused import Refused

NOTHING: Answer = {}


class Box:
    """What there is to receive: each attempt takes one thing, or raises it."""

    def __init__(self, *things: Any) -> None:
        self.things = deque(things)

    def __call__(self) -> Answer:
        if not self.things:
            return NOTHING
        thing = self.things.popleft()
        if isinstance(thing, Exception):
            raise thing
        return {"Messages": [thing]}


def got(poll: Poll) -> object:
    """Return the one thing a poll was answered, None where nothing, ... where it still waits."""
    if not poll.answer.done():
        return ...
    messages = poll.answer.result(0).get("Messages", [None])
    return messages[0]


def test_who_has_waited_longest_is_served_first() -> None:
    polls, box = Polls(), Box()
    waiting = [polls.park("orders", box, seconds=20, now=0) for _ in range(3)]

    box.things.extend("ab")
    polls.serve("orders")
    polls.deliver()

    assert [got(poll) for poll in waiting] == ["a", "b", ...]
    assert len(polls) == 1


def test_each_queue_has_a_line_of_its_own() -> None:
    polls, orders, carts = Polls(), Box("a"), Box("b")
    for_orders = polls.park("orders", orders, seconds=20, now=0)
    for_carts = polls.park("carts", carts, seconds=20, now=0)

    polls.serve("carts")

    polls.deliver()

    assert got(for_orders) is ...
    assert got(for_carts) == "b"
    assert "orders" in polls
    assert "carts" not in polls


def test_who_left_is_passed_over() -> None:
    polls, box = Polls(), Box("a")
    gone, there = (polls.park("orders", box, seconds=20, now=0) for _ in range(2))

    polls.leave(gone)
    polls.serve("orders")
    polls.deliver()

    assert got(gone) is ...
    assert got(there) == "a"


def test_leaving_twice_or_after_the_answer_does_nothing() -> None:
    polls = Polls()
    left = polls.park("orders", Box(), seconds=20, now=0)
    answered = polls.park("orders", Box("a"), seconds=20, now=0)
    polls.leave(left)
    polls.serve("orders")
    polls.deliver()

    polls.leave(left)
    polls.leave(answered)

    assert len(polls) == 0
    assert got(answered) == "a"


@pytest.mark.parametrize("error", [Refused("QueueDoesNotExist", "gone"), ZeroDivisionError("a bug")])
def test_an_attempt_that_fails_is_its_own_polls_error_and_the_next_is_served(error: Exception) -> None:
    polls, box = Polls(), Box(error, "a")
    failed, served = (polls.park("orders", box, seconds=20, now=0) for _ in range(2))

    polls.serve("orders")

    polls.deliver()

    assert failed.answer.exception(0) is error
    assert got(served) == "a"
    assert len(polls) == 0


def test_a_poll_is_answered_empty_when_its_time_is_over() -> None:
    polls = Polls()
    brief = polls.park("orders", Box(), seconds=5, now=100)
    long = polls.park("orders", Box(), seconds=20, now=100)

    looks = polls.due(105)

    assert list(looks) == []
    assert got(brief) is None
    assert got(long) is ...


def test_the_next_alarm_is_when_the_first_poll_ends_or_a_message_is_seen() -> None:
    polls = Polls()
    alarms = [polls.next_alarm()]

    poll = polls.park("orders", Box(), seconds=20, now=100)
    alarms.append(polls.next_alarm())
    polls.look_at("orders", 110)
    alarms.append(polls.next_alarm())
    polls.look_at("orders", None)
    alarms.append(polls.next_alarm())
    polls.leave(poll)
    alarms.append(polls.next_alarm())

    assert alarms == [None, 120, 110, 120, None]


def test_a_queue_is_looked_at_once_its_time_has_come() -> None:
    polls = Polls()
    polls.park("orders", Box(), seconds=20, now=100)
    polls.look_at("orders", 110)

    early, then, later = (list(polls.due(now)) for now in (109, 110, 111))

    assert (early, then, later) == ([], ["orders"], [])


def test_nobody_looks_at_a_queue_that_nobody_waits_for_any_more() -> None:
    polls = Polls()
    polls.leave(polls.park("orders", Box(), seconds=20, now=100))
    polls.park("orders", Box(), seconds=20, now=100)
    polls.look_at("orders", 110)
    polls.serve("orders")
    polls.deliver()

    polls.due(120)

    assert "orders" not in polls
    assert list(polls.due(200)) == []
    assert polls.next_alarm() is None


def test_an_answer_cannot_be_called_off() -> None:
    polls = Polls()
    poll = polls.park("orders", Box("a"), seconds=20, now=0)

    called_off = poll.answer.cancel()
    polls.serve("orders")
    polls.deliver()

    assert not called_off
    assert got(poll) == "a"


QUEUES = st.sampled_from(["orders", "carts"])


class PlainPolls(RuleBasedStateMachine):
    """The same, as a list of who waits that is searched from the start each time."""

    def __init__(self) -> None:
        super().__init__()
        self.polls = Polls()
        self.now = 0.0
        self.boxes: dict[str, Box] = defaultdict(Box)
        self.waiting: list[tuple[Poll, float]] = []
        self.all: list[tuple[Poll, list[object]]] = []

    @rule(queue=QUEUES, seconds=st.integers(1, 9))
    def park(self, queue: str, seconds: int) -> None:
        poll = self.polls.park(queue, self.boxes[queue], seconds=seconds, now=self.now)
        self.waiting.append((poll, self.now + seconds))
        self.all.append((poll, []))

    @rule(queue=QUEUES, count=st.integers(1, 3))
    def send(self, queue: str, count: int) -> None:
        self.boxes[queue].things.extend([*range(count)])
        for thing in list(self.boxes[queue].things):
            first = next((one for one in self.waiting if one[0].queue == queue), None)
            if first is None:
                break
            self.waiting.remove(first)
            self.expect(first[0], thing)
        if queue in self.polls:
            self.polls.serve(queue)
            self.polls.deliver()

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.waiting:
            one = data.draw(st.sampled_from(self.waiting))
            self.waiting.remove(one)
            self.polls.leave(one[0])

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.waiting:
            one = data.draw(st.sampled_from(self.waiting))
            self.waiting.remove(one)
            self.expect(one[0], None)
            self.polls.end(one[0])

    @rule(seconds=st.integers(1, 5))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        for one in [one for one in self.waiting if one[1] <= self.now]:
            self.waiting.remove(one)
            self.expect(one[0], None)
        self.polls.due(self.now)

    @invariant()
    def those_who_wait_are_the_same(self) -> None:
        queues = {poll.queue for poll, _ in self.waiting}

        assert len(self.polls) == len(self.waiting)
        assert {queue for queue in ("orders", "carts") if queue in self.polls} == queues
        assert self.polls.next_alarm() == min((end for _, end in self.waiting), default=None)

    @invariant()
    def the_answers_are_the_same(self) -> None:
        for poll, expected in self.all:
            assert got(poll) == (expected[0] if expected else ...)

    def expect(self, poll: Poll, thing: object) -> None:
        next(answers for one, answers in self.all if one is poll).append(thing)


TestPlainPolls = PlainPolls.TestCase
