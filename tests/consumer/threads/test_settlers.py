"""Settlers: what they do themselves, what a poller begins, and who waits for the answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from megaflow import Kind, Lease, Message
from megaflow.consumer.core.protocol import DeadLetter, Delete, Extend, Hide, Input, Settled, Settlement
from megaflow.consumer.threads.caller import Caller
from megaflow.consumer.threads.settlers import Settlers
from tests.consumer.threads.under_way import Call
from tests.waiting import PATIENCE, wait_until

MESSAGE = Message("m", "body", Kind.TEXT, "body", lease=Lease("handle", 0.0, 30.0, lambda: 0.0))
DELETE, HIDE = Delete((MESSAGE,)), Hide((MESSAGE,), (0.0,))
EXTEND = Extend((MESSAGE,), ("handle",), (30.0,), 0.0)
DEAD_LETTER = DeadLetter(MESSAGE, "https://dead", "{}")


class Office:
    """Settlers, the calls that they began, and what they tell."""

    def __init__(self) -> None:
        self.calls: list[Call[Settled]] = []
        self.told: list[tuple[Input | None, Caller]] = []
        self.are_under_way = True
        self.settlers = Settlers(self.begin, lambda told, caller: self.told.append((told, caller)))

    def begin(self, action: Settlement) -> Call[Settled]:
        self.calls.append(Call(Settled(action), is_under_way=self.are_under_way))
        return self.calls[-1]

    def answer_all(self) -> None:
        for call in self.calls:
            call.answered.set()


@pytest.fixture
def office() -> Iterator[Office]:
    office = Office()
    yield office
    office.answer_all()
    office.settlers.close()


@pytest.mark.parametrize("action", [DELETE, HIDE, EXTEND, DEAD_LETTER])
@pytest.mark.parametrize("caller", [Caller.WORKER, Caller.SETTLER, Caller.MAIN])
def test_a_settler_does_what_others_have_to_settle(office: Office, action: Settlement, caller: Caller) -> None:
    office.settlers.start()

    office.settlers.settle(action, caller)
    wait_until(lambda: office.calls)
    office.answer_all()

    wait_until(lambda: office.told)
    assert office.told == [(Settled(action), Caller.SETTLER)]


@pytest.mark.parametrize("action", [EXTEND, DEAD_LETTER])
def test_a_poller_leaves_extensions_and_dead_letters_to_settlers(office: Office, action: Settlement) -> None:
    office.settlers.settle(action, Caller.POLLER)
    office.settlers.begin_own()
    assert office.calls == []

    office.settlers.start()

    wait_until(lambda: office.calls)


@pytest.mark.parametrize("action", [DELETE, HIDE])
def test_a_poller_begins_what_it_settles_and_takes_the_answer_later(office: Office, action: Settlement) -> None:
    office.settlers.start()
    office.settlers.settle(action, Caller.POLLER)
    assert office.calls == []

    office.settlers.begin_own()
    office.answer_all()

    assert office.settlers.take_settled() == [Settled(action)]
    assert office.settlers.take_settled() == []
    assert office.told == []


def test_where_the_answer_is_not_there_a_settler_waits_for_it(office: Office) -> None:
    office.settlers.start()
    office.settlers.settle(DELETE, Caller.POLLER)
    office.settlers.begin_own()

    assert office.settlers.take_settled() == []
    office.answer_all()

    wait_until(lambda: office.told)
    assert office.told == [(Settled(DELETE), Caller.SETTLER)]


def test_where_a_poller_waits_itself_a_settler_waits_for_its_answers(office: Office) -> None:
    office.settlers.start()
    office.settlers.settle(DELETE, Caller.POLLER)
    office.settlers.begin_own()

    office.settlers.let_others_wait()
    office.answer_all()

    wait_until(lambda: office.told)
    assert office.settlers.take_settled() == []


def test_what_is_not_begun_without_waiting_is_done_by_a_settler(office: Office) -> None:
    office.are_under_way = False
    office.settlers.start()
    office.settlers.settle(DELETE, Caller.POLLER)

    office.settlers.begin_own()
    office.answer_all()

    wait_until(lambda: office.told)
    assert office.told == [(Settled(DELETE), Caller.SETTLER)]


@pytest.mark.parametrize("slow", [EXTEND, DEAD_LETTER, DELETE])
def test_a_slow_one_holds_up_none_of_the_others(office: Office, slow: Settlement) -> None:
    office.settlers.start()
    office.settlers.settle(slow, Caller.WORKER)
    wait_until(lambda: office.calls)

    for action in (EXTEND, DEAD_LETTER, DELETE):
        office.settlers.settle(action, Caller.WORKER)
    wait_until(lambda: len(office.calls) == 4)

    for call in office.calls[1:]:
        call.answered.set()
    wait_until(lambda: len(office.told) == 3)


def test_there_are_two_threads_for_each(office: Office) -> None:
    before = set(threading.enumerate())

    office.settlers.start()

    started = [thread for thread in threading.enumerate() if thread not in before]
    assert [thread.daemon for thread in started] == [True] * 6
    office.settlers.close()
    for thread in started:
        thread.join(PATIENCE)
    assert not [thread for thread in started if thread.is_alive()]


def test_what_is_to_be_settled_before_they_are_let_go_is_settled(office: Office) -> None:
    office.settlers.settle(DELETE, Caller.WORKER)
    office.settlers.settle(HIDE, Caller.WORKER)
    office.settlers.close()

    office.settlers.start()
    wait_until(lambda: len(office.calls) == 2)
    office.answer_all()

    wait_until(lambda: len(office.told) == 2)
