"""Threads: they come when there is something to do, and go by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from megaflow.publishing import threads as module
from megaflow.publishing.threads import Threads
from tests.waiting import PATIENCE, wait_until


def mine() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "megaflow-publisher"]


@pytest.fixture(autouse=True)
def _end_all() -> None:
    wait_until(lambda: not mine())


def test_what_is_submitted_is_called_and_its_result_or_error_given() -> None:
    threads = Threads(2)

    assert threads.submit(lambda a, b: a + b, 1, b=2).result(PATIENCE) == 3
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 / 0).result(PATIENCE)


def test_no_more_run_at_once_than_it_says_and_as_many_as_there_is_work() -> None:
    threads, together = Threads(3), threading.Barrier(3)

    futures = [threads.submit(together.wait, PATIENCE) for _ in range(9)]

    assert sorted(each.result(PATIENCE) for each in futures) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len(mine()) == 3


def test_a_thread_that_is_free_takes_the_next() -> None:
    threads = Threads(5)

    for _ in range(20):
        threads.submit(lambda: None).result(PATIENCE)
        wait_until(lambda: threads._idle == 1)

    assert len(mine()) == 1


def test_where_more_are_allowed_they_come_at_once() -> None:
    threads, go_on, together = Threads(1), threading.Event(), threading.Barrier(3)
    first = threads.submit(go_on.wait, PATIENCE)
    others = [threads.submit(together.wait, PATIENCE) for _ in range(3)]

    threads.allow(4)

    assert sorted(each.result(PATIENCE) for each in others) == [0, 1, 2]
    go_on.set()
    assert first.result(PATIENCE)


def test_what_is_cancelled_before_it_begins_is_not_called() -> None:
    threads, go_on = Threads(1), threading.Event()
    called: list[int] = []
    first = threads.submit(go_on.wait, PATIENCE)
    second = threads.submit(called.append, 2)
    third = threads.submit(called.append, 3)

    assert second.cancel()
    go_on.set()
    third.result(PATIENCE)

    assert first.result(PATIENCE)
    assert called == [3]


def test_they_end_once_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LINGERS", 0.01)
    threads = Threads(2)

    for _ in range(3):
        threads.submit(lambda: None).result(PATIENCE)
        wait_until(lambda: not mine())


def test_at_the_end_they_go_at_once() -> None:
    with Threads(2) as threads:
        threads.submit(lambda: None).result(PATIENCE)

    wait_until(lambda: not mine())


def test_no_process_waits_for_them() -> None:
    program = """
import threading
from megaflow.publishing.threads import Threads
began = threading.Event()
def hang():
    began.set()
    threading.Event().wait()
Threads(1).submit(hang)
began.wait()
"""

    ended = subprocess.run([sys.executable, "-c", program], timeout=PATIENCE, check=False)

    assert ended.returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_has_threads_of_its_own() -> None:
    threads, go_on = Threads(1), threading.Event()
    threads.submit(go_on.wait, PATIENCE)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if threads.submit(lambda: 7).result(PATIENCE) == 7 else 2
        finally:
            os._exit(code)

    go_on.set()

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_where_no_thread_can_be_started_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(1)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="there is no thread to publish with: can't start new thread"):
            threads.submit(lambda: None)

    assert threads.submit(lambda: 1).result(PATIENCE) == 1
