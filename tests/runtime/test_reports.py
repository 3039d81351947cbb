"""What children report of their metrics: nothing is lost but what a killed one had not yet said, and nobody waits."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from time import monotonic

import pytest

from megaflow.runtime import reports as module
from megaflow.runtime.instances import VARIABLE, instance_of_its_own
from megaflow.runtime.reports import Reporter, Reports
from megaflow.telemetry.metrics import Measurements
from tests.waiting import PATIENCE, wait_until

RECEIVED = ("received", "a")


@pytest.fixture
def pipe() -> Iterator[tuple[Connection, Connection]]:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    yield ours, theirs
    for each in (ours, theirs):
        each.close()


def test_a_child_reports_what_changes_and_last_at_its_end(
    pipe: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BETWEEN", 0.01)
    ours, theirs = pipe
    measurements, reports = Measurements(), Reports()
    reports.begin(0, ours)

    def read() -> list[float] | None:
        reports.take()
        return reports.read().get(RECEIVED)

    with Reporter(measurements, theirs):
        measurements.note("a", {("received",): 1}, {})
        wait_until(lambda: read() == [1])
        monkeypatch.setattr(module, "BETWEEN", PATIENCE)
        measurements.note("a", {("received",): 2}, {("message_age",): (1.0,)})

    assert read() == [3]
    assert reports.read()["message_age", "a"][-1] == 1.0
    assert measurements.is_read


def line(*series: object) -> bytes:
    return json.dumps(series).encode() + b"\n"


def test_what_a_child_has_counted_stays_when_it_is_dead_and_its_gauges_do_not(
    pipe: tuple[Connection, Connection],
) -> None:
    ours, theirs = pipe
    reports = Reports()
    reports.begin(0, ours)
    said = line([*RECEIVED, [3]], ["in_hand", "a", [2]]) + line([*RECEIVED, [4]])[:-5]
    os.write(theirs.fileno(), said)
    theirs.close()
    before = reports.read()

    reports.take()
    alive = reports.read()
    reports.end(0)

    assert before == {}
    assert alive == {RECEIVED: [3], ("in_hand", "a"): [2]}
    assert reports.read() == {RECEIVED: [3]}
    assert reports.pipes == []


def test_the_one_that_takes_its_place_begins_at_0_and_adds_up() -> None:
    reports = Reports()
    for count in (3, 4):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        reports.begin(0, ours)
        os.write(theirs.fileno(), line([*RECEIVED, [count]]))
        reports.end(0)
        theirs.close()

    assert reports.read() == {RECEIVED: [7]}


def test_a_child_that_stops_in_the_midst_of_a_line_holds_up_nobody(pipe: tuple[Connection, Connection]) -> None:
    ours, theirs = pipe
    reports = Reports()
    reports.begin(0, ours)
    whole = line([*RECEIVED, [3]])

    os.write(theirs.fileno(), whole[:7])
    reports.take()
    assert reports.read() == {}

    os.write(theirs.fileno(), whole[7:])
    reports.take()
    assert reports.read() == {RECEIVED: [3]}


def test_nonsense_from_a_child_is_logged_and_harms_nothing(
    pipe: tuple[Connection, Connection], caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = pipe
    reports = Reports()
    reports.begin(0, ours)

    os.write(theirs.fileno(), line([*RECEIVED, [3]]) + b"nonsense\n")
    reports.take()

    assert reports.read() == {RECEIVED: [3]}
    assert reports.pipes == []
    assert "can report no more metrics" in caplog.text


def test_a_parent_that_does_not_read_does_not_hold_up_the_child(
    pipe: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LAST", 0.05)
    _, theirs = pipe
    os.set_blocking(theirs.fileno(), False)
    with suppress(BlockingIOError):
        while True:
            os.write(theirs.fileno(), bytes(65_536))
    os.set_blocking(theirs.fileno(), True)
    measurements = Measurements()
    measurements.note("a", {("received",): 1}, {})

    began = monotonic()
    with Reporter(measurements, theirs):
        pass

    assert monotonic() - began < PATIENCE


def test_a_child_whose_parent_is_dead_goes_on(
    pipe: tuple[Connection, Connection], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ours, theirs = pipe
    ours.close()
    measurements = Measurements()
    measurements.note("a", {("received",): 1}, {})

    with Reporter(measurements, theirs):
        pass

    assert "takes no more reports" in caplog.text


@pytest.mark.parametrize(
    ("before", "starts"),
    [
        (None, "service.instance.id="),
        ("service.name=shop", "service.name=shop,service.instance.id="),
        ("service.instance.id=pod-7,service.name=shop", "service.instance.id=pod-7-3,service.name=shop"),
    ],
)
def test_each_process_finds_an_instance_of_its_own(
    before: str | None, starts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if before is not None:
        monkeypatch.setenv(VARIABLE, before)

    with instance_of_its_own(3):
        within = os.environ[VARIABLE]
    with instance_of_its_own(4):
        other = os.environ[VARIABLE]

    assert within.startswith(starts)
    assert within != other
    assert os.environ.get(VARIABLE) == before
