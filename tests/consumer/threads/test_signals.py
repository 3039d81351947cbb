"""Signals that pause and resume."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from megaflow.consumer.threads.signals import leave_pauses_to_parent, pausing_on_signals
from tests.waiting import PATIENCE


@pytest.fixture
def put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_each_signal_says_its_own_and_what_was_there_is_put_back() -> None:
    before, said = signal.getsignal(signal.SIGUSR1), list[str]()

    with pausing_on_signals(lambda: said.append("pause"), lambda: said.append("resume")):
        for number in (signal.SIGUSR1, signal.SIGUSR1, signal.SIGUSR2):
            signal.raise_signal(number)

    assert said == ["pause", "pause", "resume"]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_platform_without_these_signals_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    number = signal.SIGUSR1
    monkeypatch.delattr(signal, "SIGUSR1")
    monkeypatch.delattr(signal, "SIGUSR2")

    with pausing_on_signals(lambda: None, lambda: None):
        assert signal.getsignal(number) is before


def test_where_this_is_not_the_main_thread_nothing_is_heard() -> None:
    entered = threading.Event()

    def enter() -> None:
        with pausing_on_signals(lambda: None, lambda: None):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join(PATIENCE)

    assert entered.is_set()


@pytest.mark.usefixtures("put_back")
def test_a_process_that_leaves_pauses_to_its_parent_goes_on_at_these_signals() -> None:
    leave_pauses_to_parent()

    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR2)

    begun = subprocess.run([sys.executable, "-c", "import signal; signal.raise_signal(signal.SIGUSR1)"], check=False)
    assert begun.returncode == -signal.SIGUSR1


@pytest.mark.usefixtures("put_back")
def test_where_there_are_no_such_signals_none_are_left_to_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    number, before = signal.SIGUSR1, signal.getsignal(signal.SIGUSR1)
    monkeypatch.delattr(signal, "SIGUSR1")
    monkeypatch.delattr(signal, "SIGUSR2")

    leave_pauses_to_parent()

    assert signal.getsignal(number) is before
