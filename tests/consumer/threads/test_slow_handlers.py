"""When the main thread looks for slow handlers, and what it does where it sees one."""

import math
from typing import Any

import pytest

from megaflow.consumer.threads.slow_handlers import SlowHandlerWatch


class Threads:
    """Pollers, workers and settlers at once: they say what the test wants, and note what they are told to do."""

    def __init__(self) -> None:
        self.is_slow = self.is_held_up = self.are_waited_for = self.have_finished = False
        self.are_quick = True
        self.told: list[str] = []
        self.asked: list[float] = []

    def replace_slow(self, seconds: float) -> bool:
        self.asked.append(seconds)
        return self.is_slow

    def are_held_up(self, seconds: float) -> bool:
        self.asked.append(seconds)
        return self.is_held_up

    def let_others_wait(self) -> None:
        self.told.append("let others wait")

    def wake_for_the_rest(self) -> None:
        self.told.append("wake for the rest")


@pytest.fixture
def threads() -> Any:
    return Threads()


@pytest.fixture
def watch(threads: Any) -> SlowHandlerWatch:
    return SlowHandlerWatch(threads, threads, threads)


def test_it_does_not_look_before_something_is_started(watch: SlowHandlerWatch) -> None:
    assert watch.pause == math.inf


def test_a_look_before_something_is_started_is_the_only_one(watch: SlowHandlerWatch) -> None:
    watch.look()

    assert watch.pause == math.inf


def test_only_the_first_start_wakes_the_main_thread(watch: SlowHandlerWatch) -> None:
    wakes = [watch.note_start() for _ in range(3)]

    assert wakes == [True, False, False]
    assert watch.pause < math.inf


def test_it_looks_once_more_after_the_last_start_and_then_no_more(watch: SlowHandlerWatch) -> None:
    watch.note_start()
    watch.look()
    once_more = watch.pause

    watch.look()

    assert once_more < math.inf
    assert watch.pause == math.inf
    assert watch.note_start()


def test_it_goes_on_as_long_as_something_waits(watch: SlowHandlerWatch, threads: Any) -> None:
    threads.are_waited_for = True
    watch.note_start()

    for _ in range(3):
        watch.look()

    assert watch.pause < math.inf


def test_the_pause_grows_while_handlers_are_quick_up_to_four_times(watch: SlowHandlerWatch, threads: Any) -> None:
    threads.are_waited_for = True
    watch.note_start()
    first, pauses = watch.pause, []
    assert first == 0.004

    for _ in range(3):
        watch.look()
        pauses.append(watch.pause / first)
    threads.are_quick = False
    watch.look()

    assert pauses == [2, 4, 4]
    assert watch.pause == first


@pytest.mark.parametrize("waited_for", [False, True])
def test_quick_handlers_wake_nobody(watch: SlowHandlerWatch, threads: Any, waited_for: bool) -> None:
    threads.are_waited_for = threads.have_finished = waited_for
    watch.note_start()

    assert not watch.look()
    assert threads.told == []


def test_a_slow_poller_lets_settlers_wait_and_workers_handle(watch: SlowHandlerWatch, threads: Any) -> None:
    threads.is_slow = threads.have_finished = True
    watch.note_start()

    is_to_be_told = watch.look()

    assert threads.told == ["let others wait", "wake for the rest"]
    assert is_to_be_told


def test_workers_are_woken_for_what_is_held_up(watch: SlowHandlerWatch, threads: Any) -> None:
    threads.is_held_up = True
    watch.note_start()

    is_to_be_told = watch.look()

    assert threads.told == ["wake for the rest"]
    assert not is_to_be_told


def test_it_asks_for_what_is_slower_than_four_milliseconds(watch: SlowHandlerWatch, threads: Any) -> None:
    watch.look()

    assert threads.asked == [0.004, 0.004]


def test_what_is_held_up_was_woken_for_and_is_not_looked_at_again(watch: SlowHandlerWatch, threads: Any) -> None:
    threads.is_held_up = threads.are_waited_for = True
    watch.note_start()
    watch.look()

    watch.look()

    assert watch.pause == math.inf


def test_after_a_slow_poller_it_looks_again_soon(watch: SlowHandlerWatch, threads: Any) -> None:
    threads.are_waited_for = True
    watch.note_start()
    watch.look()
    assert watch.pause == 0.008
    threads.is_slow = True
    watch.note_start()

    watch.look()
    watch.note_start()

    assert watch.pause == 0.004


@pytest.mark.parametrize("finished", [False, True])
def test_what_is_finished_is_told_where_somebody_is_held_up(
    watch: SlowHandlerWatch, threads: Any, finished: bool
) -> None:
    threads.is_held_up, threads.have_finished = True, finished

    assert watch.look() is finished
