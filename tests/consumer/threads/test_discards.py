"""Discards: what lay outside of messages is deleted in a thread that nobody waits for, but a moment at the end."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from megaflow.consumer.threads import discards as module
from megaflow.consumer.threads.discards import Discards
from megaflow.messages.pointers import Pointer
from tests.waiting import PATIENCE, wait_until

PLACES = [Pointer("bucket", str(number)) for number in range(3)]


def discards_by(discard: Any) -> Discards:
    processor: Any = SimpleNamespace(fetching=SimpleNamespace(discard=discard))
    return Discards(lambda: processor)


def test_each_is_deleted_in_order_and_the_end_waits_for_them() -> None:
    gone: list[Pointer] = []
    discards = discards_by(gone.append)

    for place in PLACES:
        discards.add(place)
    discards.close()

    assert gone == PLACES


def test_what_comes_before_the_first_has_begun_shares_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    begin, begun, gone = threading.Thread.start, list[threading.Thread](), list[Pointer]()
    monkeypatch.setattr(threading.Thread, "start", lambda self: begun.append(self))
    discards = discards_by(gone.append)

    for place in PLACES:
        discards.add(place)

    (thread,) = begun
    begin(thread)
    discards.close()
    assert gone == PLACES


def test_what_comes_later_begins_anew() -> None:
    gone: list[Pointer] = []
    discards = discards_by(gone.append)

    discards.add(PLACES[0])
    wait_until(lambda: gone)
    discards.add(PLACES[1])
    discards.close()

    assert gone == PLACES[:2]


def test_what_hangs_ends_nothing_and_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    begun, go_on, gone = threading.Event(), threading.Event(), list[Pointer]()

    def discard(pointer: Pointer) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        gone.append(pointer)

    discards = discards_by(discard)
    for place in PLACES:
        discards.add(place)
    assert begun.wait(PATIENCE)

    discards.close()

    assert "2 payloads stay where they lie, though their messages are done and deleted" in caplog.text
    go_on.set()
    wait_until(lambda: gone == PLACES[:1])


def test_without_a_thread_they_stay(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    gone: list[Pointer] = []
    monkeypatch.setattr(threading.Thread, "start", refuse)
    discards = discards_by(gone.append)

    discards.add(PLACES[0])
    discards.close()

    assert gone == []
    assert "1 payloads stay where they lie" in caplog.text
