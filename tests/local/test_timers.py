from __future__ import annotations

from megaflow.local.timers import Timers


def test_numbers_are_due_by_their_time() -> None:
    timers = Timers()
    for number, time in ((1, 30.0), (2, 10.0), (3, 20.0), (4, 40.0)):
        timers.set(number, time)

    assert list(timers.due(30.0)) == [2, 3, 1]
    assert list(timers.due(30.0)) == []
    assert len(timers) == 1


def test_a_time_can_be_put_off() -> None:
    timers = Timers()
    timers.set(1, 10.0)

    timers.set(1, 20.0)

    assert timers.next() == timers.time(1) == 20.0
    assert list(timers.due(10.0)) == []
    assert list(timers.due(20.0)) == [1]


def test_a_time_can_be_brought_forward() -> None:
    timers = Timers()
    timers.set(1, 20.0)

    timers.set(1, 10.0)

    assert timers.next() == 10.0
    assert list(timers.due(30.0)) == [1]


def test_a_cancelled_number_is_never_due() -> None:
    timers = Timers()
    timers.set(1, 10.0)

    timers.cancel(1)
    timers.cancel(2)

    assert 1 not in timers
    assert timers.next() is None
    assert list(timers.due(99.0)) == []


def test_what_was_changed_does_not_pile_up() -> None:
    timers = Timers()

    for time in range(10_000):
        timers.set(1, 50_000.0 - time)

    assert len(timers._heap) < 100
    assert list(timers.due(50_000.0)) == [1]


def test_what_was_cancelled_does_not_pile_up() -> None:
    timers = Timers()

    for number in range(10_000):
        timers.set(number, 50_000.0)
        timers.cancel(number)

    assert len(timers._heap) < 100
