"""Pollers: who asks, who handles what was received, and who takes the place of one that is slow or hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from types import SimpleNamespace

import pytest

from megaflow import Kind, Message
from megaflow.consumer.core.protocol import AskFailed, Input, Inspect, Inspected, Receive, Received
from megaflow.consumer.threads import pollers as module
from megaflow.consumer.threads.caller import Caller
from megaflow.consumer.threads.calls import Answered
from megaflow.consumer.threads.pollers import Pollers
from megaflow.transport.queue import QueueFacts
from tests.consumer.threads.under_way import Call
from tests.waiting import PATIENCE, wait_until

MESSAGES = [Message(name, "body", Kind.TEXT, "body") for name in "ab"]


class Post:
    """Pollers, the questions that they ask, and what they tell."""

    def __init__(self) -> None:
        self.asked: dict[int, Call[Answered]] = {}
        self.calls: list[Call[Answered]] = []
        self.has_ended = False
        self.askers: dict[int, str] = {}
        self.told: list[tuple[Input | None, Caller]] = []
        self.waits = 0
        self.on_tell: Callable[[Input | None], None] = lambda told: None
        self.handle: Callable[[], bool] = lambda: False
        self.looks = False
        self.is_left = False
        self.answers: dict[int, Answered] = {}
        self.pollers = Pollers(
            self.begin,
            self.tell,
            handle_while_quick=lambda: self.handle(),
            looks=lambda: self.looks,
            before_waiting=self.before_waiting,
        )

    def begin(self, question: Inspect | Receive) -> Call[Answered]:
        poll = 0 if isinstance(question, Inspect) else question.poll
        answer = self.answers.get(poll, Received((), poll) if poll else Inspected(QueueFacts()))
        self.askers[poll] = threading.current_thread().name + str(threading.get_ident())
        call = self.asked[poll] = Call(answer)
        self.calls.append(call)
        if self.has_ended:
            call.answered.set()
        return call

    def tell(self, told: Input | None, caller: Caller) -> bool:
        self.told.append((told, caller))
        self.on_tell(told)
        return not self.is_left

    def before_waiting(self) -> None:
        self.waits += 1

    def answer(self, poll: int) -> None:
        wait_until(lambda: poll in self.asked)
        self.asked[poll].answered.set()

    def polls_told(self) -> list[tuple[int, Caller]]:
        return [(told.poll, caller) for told, caller in self.told if isinstance(told, Received)]

    def threads(self) -> int:
        return self.pollers._pollers


@pytest.fixture
def post() -> Iterator[Post]:
    post = Post()
    yield post
    post.pollers.close()
    # No thread outlives its test, whatever it asks or waits for.
    post.has_ended = True
    for call in post.calls:
        call.answered.set()


@pytest.mark.parametrize(("question", "poll"), [(Inspect(), 0), (Receive(1, 20, 7), 7)])
def test_a_question_is_asked_and_its_answer_told(post: Post, question: Inspect | Receive, poll: int) -> None:
    post.pollers.ask(question)
    post.answer(poll)

    wait_until(lambda: post.told)
    ((told, caller),) = post.told
    assert caller is Caller.POLLER
    assert (told.poll if isinstance(told, Received) else 0) == poll


def test_an_answer_says_for_how_long_somebody_waited_for_it(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    times = chain([10.0, 13.0, 20.0], repeat(30.0))
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    post.answers[1] = Received(MESSAGES, 1)
    post.pollers.ask(Receive(2, 20, 1))
    post.answer(1)

    wait_until(lambda: post.told)

    assert post.told == [(Received(MESSAGES, 1, 3.0), Caller.POLLER)]


def test_several_questions_are_asked_at_once(post: Post) -> None:
    for poll in (1, 2, 3):
        post.pollers.ask(Receive(1, 20, poll))

    wait_until(lambda: len(post.asked) == 3)
    assert len(set(post.askers.values())) == 3
    assert post.threads() == 3


def test_a_poller_that_is_free_asks_the_next_question(post: Post) -> None:
    post.pollers.ask(Receive(1, 20, 1))
    post.answer(1)
    wait_until(lambda: post.told)

    post.pollers.ask(Receive(1, 20, 2))
    wait_until(lambda: 2 in post.asked)

    assert post.threads() == 1
    assert post.askers[1] == post.askers[2]


def test_a_poller_asks_itself_what_the_core_wants_asked_next(post: Post) -> None:
    post.on_tell = lambda told: (
        post.pollers.ask(Receive(1, 20, 2)) if post.polls_told() == [(1, Caller.POLLER)] else None
    )
    post.pollers.ask(Receive(1, 20, 1))
    post.answer(1)

    wait_until(lambda: 2 in post.asked)

    assert post.threads() == 1
    assert post.askers[1] == post.askers[2]


@pytest.mark.parametrize(("count", "asked"), [(1, False), (2, True)])
def test_of_several_messages_the_next_poll_is_under_way_while_they_are_handled(
    post: Post, count: int, asked: bool
) -> None:
    seen: list[bool] = []

    def handle() -> bool:
        seen.append(2 in post.asked)
        return False

    post.handle = handle
    post.answers[1] = Received(MESSAGES[:count], 1)
    post.on_tell = lambda told: post.pollers.ask(Receive(1, 20, 2)) if len(post.told) == 1 else None
    post.pollers.ask(Receive(2, 20, 1))
    post.answer(1)

    wait_until(lambda: 2 in post.asked)

    assert seen == [asked]


def test_what_is_finished_is_told_as_long_as_the_next_answer_is_not_there(post: Post) -> None:
    finished = iter([True, True, False])
    post.handle = lambda: next(finished, False)
    post.answers[1] = Received(MESSAGES, 1)
    post.on_tell = lambda told: post.pollers.ask(Receive(1, 20, 2)) if len(post.told) == 1 else None
    post.pollers.ask(Receive(2, 20, 1))
    post.answer(1)

    wait_until(lambda: len(post.told) == 3)

    assert post.told[1:] == [(None, Caller.POLLER), (None, Caller.POLLER)]


def test_a_poll_that_is_under_way_is_waited_for_before_another_one_is_begun(post: Post) -> None:
    finished = iter([True, False])
    post.handle = lambda: next(finished, False)
    post.answers[1] = Received(MESSAGES, 1)

    def ask_next(told: Input | None) -> None:
        if len(post.told) in (1, 2):
            post.pollers.ask(Receive(1, 20, len(post.told) + 1))

    post.on_tell = ask_next
    post.pollers.ask(Receive(2, 20, 1))
    for poll in (1, 2, 3):
        post.answer(poll)

    wait_until(lambda: len(post.polls_told()) == 3)
    assert [poll for poll, _ in post.polls_told()] == [1, 2, 3]


def test_what_is_finished_is_told_together_with_an_answer_that_is_there_already(post: Post) -> None:
    def handle() -> bool:
        post.asked[2].answered.set()
        return True

    handled = iter([handle])
    post.handle = lambda: next(handled, lambda: False)()
    post.answers[1] = Received(MESSAGES, 1)
    post.on_tell = lambda told: post.pollers.ask(Receive(1, 20, 2)) if len(post.told) == 1 else None
    post.pollers.ask(Receive(2, 20, 1))
    post.answer(1)

    wait_until(lambda: len(post.told) == 2)

    assert post.polls_told() == [(1, Caller.POLLER), (2, Caller.POLLER)]


def test_a_poll_that_is_abandoned_still_tells_what_it_brings_and_its_thread_ends(post: Post) -> None:
    before = set(threading.enumerate())
    post.pollers.ask(Receive(1, 20, 1))
    wait_until(lambda: 1 in post.asked)
    (thread,) = set(threading.enumerate()) - before
    handled: list[bool] = []

    def handle() -> bool:
        handled.append(True)
        return False

    post.handle = handle

    post.pollers.abandon(1)
    post.pollers.abandon(1)
    assert post.threads() == 0
    post.answer(1)

    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert post.polls_told() == [(1, Caller.ABANDONED_POLLER)]
    assert handled == []


def test_whoever_is_asked_hears_that_a_poll_is_abandoned(post: Post) -> None:
    for poll in (1, 2):
        post.pollers.ask(Receive(1, 20, poll))
    wait_until(lambda: len(post.asked) == 2)

    post.pollers.abandon(2)

    assert [post.asked[poll].is_abandoned for poll in (1, 2)] == [False, True]


def test_a_poll_that_is_abandoned_before_it_is_asked_is_not_asked(post: Post) -> None:
    before = set(threading.enumerate())
    slow = Slow(post, 1)
    (thread,) = set(threading.enumerate()) - before

    post.pollers.abandon(2)
    slow.go_on.set()

    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert list(post.asked) == [1]
    assert post.threads() == post.pollers._asking == 0


def test_a_poll_that_is_abandoned_as_it_is_begun_is_abandoned(post: Post) -> None:
    def begin(question: Inspect | Receive) -> Call[Answered]:
        post.pollers.abandon(1)
        return post.begin(question)

    post.pollers._begin = begin

    post.pollers.ask(Receive(1, 20, 1))

    wait_until(lambda: post.asked and post.asked[1].is_abandoned)


def test_that_an_abandoned_poll_fails_is_no_failure_of_the_queue(post: Post) -> None:
    before = set(threading.enumerate())
    post.answers[1] = AskFailed(ConnectionError(), refused=False, poll=1)
    post.pollers.ask(Receive(1, 20, 1))
    wait_until(lambda: 1 in post.asked)
    (thread,) = set(threading.enumerate()) - before

    post.pollers.abandon(1)
    post.answer(1)

    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert post.told == []


def test_what_was_abandoned_is_waited_for_until_it_has_ended(post: Post) -> None:
    for poll in (1, 2):
        post.pollers.ask(Receive(1, 20, poll))
    wait_until(lambda: len(post.asked) == 2)
    post.pollers.wait_for_abandoned(PATIENCE)
    post.pollers.abandon(1)
    assert post.pollers.are_hanging_up
    waited = threading.Thread(target=post.pollers.wait_for_abandoned, args=(PATIENCE,))
    waited.start()
    waited.join(0.01)
    assert waited.is_alive()

    post.answer(1)

    waited.join(PATIENCE)
    assert not waited.is_alive()
    wait_until(lambda: not post.pollers.are_hanging_up)


def test_whoever_stops_while_an_answer_is_told_waits_for_what_it_has_brought(post: Post) -> None:
    are_hanging_up = []

    def stop(told: Input | None) -> None:
        post.pollers.abandon_all()
        post.pollers.abandon(1)
        are_hanging_up.append(post.pollers.are_hanging_up)

    post.on_tell = stop
    post.pollers.ask(Receive(1, 20, 1))
    post.answer(1)

    wait_until(lambda: are_hanging_up and not post.pollers.are_hanging_up)
    assert are_hanging_up[0]


def test_what_ends_as_it_is_abandoned_is_not_waited_for(post: Post) -> None:
    class EndsNow(Call[Answered]):
        @property
        def is_under_way(self) -> bool:
            self.answered.set()
            wait_until(lambda: post.pollers._under_way == {})
            return True

    def begin(question: Inspect | Receive) -> Call[Answered]:
        call = post.asked[1] = EndsNow(Received((), 1))
        return call

    post.pollers._begin = begin
    post.pollers.ask(Receive(1, 20, 1))
    wait_until(lambda: post.pollers._under_way)

    post.pollers.abandon(1)

    assert post.asked[1].is_abandoned
    assert not post.pollers.are_hanging_up


def test_what_was_abandoned_is_waited_for_no_longer_than_was_said(post: Post) -> None:
    post.pollers.ask(Receive(1, 20, 1))
    wait_until(lambda: 1 in post.asked)
    post.pollers.abandon_all()

    post.pollers.wait_for_abandoned(0.0)

    assert post.pollers.are_hanging_up


def test_another_thread_takes_the_place_of_a_poll_that_hangs(post: Post) -> None:
    post.pollers.ask(Receive(1, 20, 1))
    wait_until(lambda: 1 in post.asked)
    post.pollers.abandon(1)

    post.pollers.ask(Receive(1, 20, 2))
    wait_until(lambda: 2 in post.asked)

    assert post.askers[1] != post.askers[2]
    assert post.threads() == 1


class Slow:
    """A post whose poller handles what it has received for long, with a question to ask next."""

    def __init__(self, post: Post, count: int) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()
        post.handle = self._handle
        post.answers[1] = Received(MESSAGES[:count], 1)
        post.on_tell = lambda told: post.pollers.ask(Receive(1, 20, 2)) if len(post.told) == 1 else None
        post.pollers.ask(Receive(2, 20, 1))
        post.answer(1)
        assert self.inside.wait(PATIENCE)

    def _handle(self) -> bool:
        if not self.inside.is_set():
            self.inside.set()
            self.go_on.wait(PATIENCE)
        return False


@pytest.mark.parametrize("count", [1, 2])
def test_where_a_poller_is_slow_another_one_asks_in_its_place(post: Post, count: int) -> None:
    before = set(threading.enumerate())
    slow = Slow(post, count)
    (thread,) = set(threading.enumerate()) - before

    assert not post.pollers.replace_slow(3_600.0)
    assert post.pollers.replace_slow(0.0)
    assert not post.pollers.replace_slow(0.0), "it is replaced once"
    post.answer(2)

    wait_until(lambda: len(post.polls_told()) == 2)
    assert post.polls_told()[1] == (2, Caller.POLLER)
    assert post.threads() == 1
    slow.go_on.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_poll_that_is_begun_just_as_its_poller_is_replaced_is_waited_for_by_another_one(post: Post) -> None:
    def begin(question: Inspect | Receive) -> Call[Answered]:
        call = post.begin(question)
        if question == Receive(1, 20, 2):
            assert post.pollers.replace_slow(0.0)
        return call

    post.pollers._begin = begin
    post.answers[1] = Received(MESSAGES, 1)
    post.on_tell = lambda told: post.pollers.ask(Receive(1, 20, 2)) if len(post.told) == 1 else None
    post.pollers.ask(Receive(2, 20, 1))
    post.answer(1)

    post.answer(2)

    wait_until(lambda: len(post.polls_told()) == 2)
    assert post.threads() == 1


def test_a_thread_that_is_about_to_wait_says_so_first(post: Post) -> None:
    post.pollers.ask(Receive(1, 20, 1))
    wait_until(lambda: 1 in post.asked)
    wait_until(lambda: post.waits == 2)
    post.answer(1)

    wait_until(lambda: post.told)
    wait_until(lambda: post.waits == 3)
    post.pollers.close()

    wait_until(lambda: post.waits == 4)


def test_an_answer_that_is_there_already_is_not_waited_for(post: Post) -> None:
    def begin(question: Inspect | Receive) -> Call[Answered]:
        call = real(question)
        call.answered.set()
        return call

    real = post.begin
    post.pollers._begin = begin
    post.pollers.ask(Receive(1, 20, 1))

    wait_until(lambda: post.told)
    wait_until(lambda: post.waits == 2)
    assert post.pollers._asking == 0


def test_all_answers_can_be_waited_for(post: Post) -> None:
    for poll in (1, 2):
        post.pollers.ask(Receive(1, 20, poll))
    wait_until(lambda: len(post.asked) == 2)
    waited = threading.Thread(target=post.pollers.wait, args=(PATIENCE,))
    waited.start()

    post.answer(1)
    wait_until(lambda: len(post.told) == 1)
    assert waited.is_alive()
    post.answer(2)

    waited.join(PATIENCE)
    assert not waited.is_alive()
    assert len(post.told) == 2


def test_answers_are_waited_for_no_longer_than_was_said(post: Post) -> None:
    post.pollers.ask(Receive(1, 20, 1))

    post.pollers.wait(0.0)

    assert post.told == []


def test_pollers_that_are_let_go_end_once_they_have_their_answers(post: Post) -> None:
    before = set(threading.enumerate())
    for poll in (1, 2):
        post.pollers.ask(Receive(1, 20, poll))
    wait_until(lambda: len(post.asked) == 2)
    threads = set(threading.enumerate()) - before
    assert [thread.daemon for thread in threads] == [True, True]

    post.pollers.close()
    post.answer(1)
    post.answer(2)

    for thread in threads:
        thread.join(PATIENCE)
    assert not [thread for thread in threads if thread.is_alive()]
    assert len(post.told) == 2


def test_a_question_that_fails_is_told_and_the_next_one_asked(post: Post) -> None:
    failed = AskFailed(ConnectionError(), refused=False, poll=1)
    post.answers[1] = failed
    post.pollers.ask(Receive(1, 20, 1))
    post.answer(1)
    wait_until(lambda: post.told)
    assert post.told == [(failed, Caller.POLLER)]

    post.pollers.ask(Receive(1, 20, 2))

    wait_until(lambda: 2 in post.asked)
    assert post.threads() == 1


def test_a_poller_that_waits_looks_meanwhile_for_what_it_has_begun_to_settle(post: Post) -> None:
    def end_the_looks(told: Input | None) -> None:
        post.looks = len(post.told) < 3

    post.looks, post.on_tell = True, end_the_looks

    post.pollers.ask(Receive(1, 20, 1))
    wait_until(lambda: post.waits > 1)

    assert post.told == [(None, Caller.WAITING_POLLER)] * 3


def test_a_poller_that_waits_for_long_lets_others_look(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_A_WHILE", 0.0)
    post.looks = True

    post.pollers.ask(Receive(1, 20, 1))
    wait_until(lambda: post.waits > 1)
    post.looks = False
    post.answer(1)

    wait_until(lambda: post.polls_told() == [(1, Caller.POLLER)])
    assert post.told[0][0] is not None


def test_where_another_thread_tells_the_core_a_poller_does_not_try_again_and_again(post: Post) -> None:
    post.answers[1] = Received(MESSAGES, 1)
    post.handle, post.is_left = lambda: True, True

    post.pollers.ask(Receive(2, 20, 1))
    post.answer(1)
    wait_until(lambda: post.waits > 2)

    assert [caller for told, caller in post.told if told is None] == [Caller.POLLER]
