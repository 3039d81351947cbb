"""What is counted and measured, from any thread, and who is told."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

import megaflow
from megaflow import App, ConfigurationError
from megaflow.telemetry.instruments import INSTRUMENTS, LABELS, Kind
from megaflow.telemetry.metrics import NAMES, Measurements, merge, without_gauges
from megaflow.telemetry.outlets import Outlets
from megaflow.testing import TestClient
from tests.syntax import parse
from tests.telemetry.kept import KeptMetrics
from tests.waiting import PATIENCE

_COUNTS = re.compile(r"actions\.count$|self\._count$")


def test_counts_add_up_by_name_whatever_the_queue() -> None:
    measurements = Measurements()

    measurements.note("a", {("received",): 1}, {})
    measurements.note("a", {("received",): 2, ("ended", "kept"): 1}, {})
    measurements.note("b", {("received",): 3, ("ended", "deleted"): 3, ("polls", "failed"): 4}, {})

    counted = {name: count for name, count in measurements.snapshot().items() if count}
    assert counted == {"received": 6, "kept": 1, "failed_polls": 4}


def test_a_snapshot_stays_as_it_was() -> None:
    measurements = Measurements()
    before, all_before = measurements.snapshot(), measurements.read()

    measurements.note("a", {("received",): 1}, {("message_age",): (1.0,)})

    assert before["received"] == 0
    assert all_before == {}


def test_no_count_is_lost_between_threads() -> None:
    measurements, together = Measurements(), Barrier(8)

    def count(_: int) -> None:
        together.wait(PATIENCE)
        for _ in range(1_000):
            measurements.note("a", {("received",): 1}, {("message_age",): (1.0,)})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(8)))

    assert measurements.snapshot()["received"] == 8_000
    assert measurements.read()["message_age", "a"][-1] == 8_000


def test_a_value_is_in_the_lowest_bucket_that_it_does_not_exceed() -> None:
    measurements = Measurements()

    measurements.note("a", {}, {("batch_size", "receive"): (1, 2, 10)})

    *buckets, whole = measurements.read()["batch_size", "a", "receive", ""]
    assert (buckets, whole) == ([1, 1, *[0] * 7, 1], 13)


def test_after_clear_everything_begins_at_0() -> None:
    measurements = Measurements()
    measurements.note("a", {("received",): 1}, {})

    measurements.clear()
    measurements.note("a", {("received",): 1}, {})

    assert measurements.snapshot()["received"] == 1


def test_several_processes_together_have_the_sum_and_the_oldest_word() -> None:
    one, other = Measurements(), Measurements()
    for each, heard in ((one, 10.0), (other, 20.0)):
        each.note("a", {("received",): 1}, {("message_age",): (1.0,)})
        each.gauge("a", "in_hand", 2)
        each.gauge("a", "last_heard", heard)

    merged = merge([one.read(), other.read()])

    assert merged["received", "a"] == [2]
    assert (merged["message_age", "a"][-1], sum(merged["message_age", "a"][:-1])) == (2.0, 2)
    assert (merged["in_hand", "a"], merged["last_heard", "a"]) == ([4], [10.0])
    assert without_gauges(merged).keys() == {("received", "a"), ("message_age", "a")}


def test_every_name_is_there_from_the_start() -> None:
    assert App().metrics.snapshot() == dict.fromkeys(NAMES, 0)


def test_names_are_told_apart_everywhere_and_their_labels_are_explained() -> None:
    instruments = INSTRUMENTS.values()

    assert len({each.otel_name for each in instruments}) == len(INSTRUMENTS)
    assert len({each.prometheus_name for each in instruments}) == len(INSTRUMENTS)
    assert {label for each in instruments for label in each.labels} == set(LABELS)
    for each in instruments:
        assert each.prometheus_name.startswith("megaflow_"), each
        assert each.prometheus_name.endswith("_seconds") == (each.unit == "s"), each
        assert each.prometheus_name.endswith("_total") == (each.kind is Kind.COUNTER), each
        assert bool(each.buckets) == (each.kind is Kind.HISTOGRAM), each
        assert each.labels[0] == "queue", each


def test_nothing_is_counted_under_another_name() -> None:
    root = Path(megaflow.__file__).parent
    paths = [path for room in ("consumer", "awslambda") for path in (root / room).rglob("*.py")]
    counted = {name for path in paths for name in find_counted(path)}

    assert counted <= set(INSTRUMENTS)
    assert len(counted) > 10


def find_counted(path: Path) -> Iterator[str]:
    """Give the names that are counted in the module at *path*: whatever text stands in the first argument."""
    for node in ast.walk(parse(path.read_text())):
        if isinstance(node, ast.Call) and _COUNTS.search(ast.unparse(node.func)):
            texts = [text for given in node.args[:2] for text in constants_of(given)]
            assert texts, f"{path}: write the name out"
            yield from texts


def constants_of(given: ast.expr) -> Iterator[Any]:
    """Give the constants that an expression may be; what an ``if`` asks is none of them."""
    if isinstance(given, ast.IfExp):
        yield from (*constants_of(given.body), *constants_of(given.orelse))
    elif isinstance(given, ast.Tuple):
        yield from constants_of(given.elts[0])
    elif isinstance(given, ast.Constant) and isinstance(given.value, str):
        yield given.value


def test_a_users_own_metrics_are_told_what_happens_to_messages() -> None:
    kept = KeptMetrics()
    app = App("http://sqs.example.com/1/orders", metrics=kept, retry_on=ConnectionError)

    @app.on_data({"kind": "order"}, handler_name="ship")
    def ship(order: dict[str, Any]) -> None: ...

    with TestClient(app) as client:
        client.publish({"kind": "order"})
        client.publish({"kind": "other"})

    assert kept.counted("received", queue="orders") == 2
    assert kept.counted("ended", queue="orders", fate="deleted") == 2
    assert kept.counted("sent", queue="orders", topic="", error="") == 2
    (taken,) = kept.observed("handler_duration", queue="orders", handler="ship", status="DONE")
    (whole,) = kept.observed("process_duration", queue="orders", fate="deleted")
    assert 0 < taken == whole < PATIENCE
    assert kept.observed("message_age", queue="orders") == [0.0, 0.0]
    assert kept.observed("batch_size", queue="orders", operation="send") == [1, 1]
    assert app.metrics.snapshot()["received"] == 2


def test_what_is_kept_is_older_when_it_comes_again() -> None:
    kept = KeptMetrics()
    app = App(metrics=kept, retry_on=ConnectionError, backoff=lambda count: 100.0)

    @app.on_text("ping")
    def answer(text: str, message: megaflow.Message) -> None:
        if message.receive_count == 1:
            raise ConnectionError

    with TestClient(app) as client:
        client.publish("ping")
        client.advance(100)

    assert kept.observed("message_age") == [0.0, pytest.approx(100, abs=1)]
    assert kept.counted("ended", fate="kept") == kept.counted("ended", fate="deleted") == 1
    assert len(kept.observed("handler_duration", status="RETRIABLE_ERROR")) == 1


def test_every_label_of_an_instrument_is_told() -> None:
    kept = KeptMetrics()
    app = App(metrics=kept, retry_on=())
    app.on_text("ping")(lambda text: None)

    with TestClient(app) as client:
        client.publish_batch(["ping", "pong"])

    assert {told.name for told in kept.told} > {"received", "polls", "batch_size", "operation_duration"}
    for told in kept.told:
        assert tuple(told.labels) == INSTRUMENTS[told.name].labels, told


def test_metrics_that_raise_are_logged_once_in_a_while_and_harm_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(KeptMetrics):
        def count(self, name: str, amount: int, labels: Any) -> None:
            raise RuntimeError("no route to the statistics")

        def observe(self, name: str, value: float, labels: Any) -> None:
            raise RuntimeError("no route to the statistics")

    app = App(metrics=Broken(), retry_on=())
    app.on_text("ping")(lambda text: None)

    with TestClient(app) as client:
        client.publish("ping")
        client.publish("ping")

    assert app.metrics.snapshot()["deleted"] == 2
    failures = [each for each in caplog.records if "the metrics failed" in each.getMessage()]
    assert len(failures) == 1
    assert "no route to the statistics" in caplog.text


@pytest.mark.parametrize("missing", ["count", "observe", "gauge"])
def test_what_is_no_metrics_is_refused_when_it_is_given(missing: str) -> None:
    class Half:
        def __getattr__(self, name: str) -> Any:
            if name == missing:
                raise AttributeError(name)
            return lambda *given: None

    with pytest.raises(ConfigurationError, match=f"has no {missing}"):
        App(metrics=Half())


def test_what_nobody_wants_is_not_measured() -> None:
    app = App(retry_on=())
    app.on_text("ping")(lambda text: None)

    with TestClient(app) as client:
        client.publish("ping")

    kinds = {INSTRUMENTS[name].kind for name, *_ in app.metrics.read()}
    assert kinds == {Kind.COUNTER}


def test_a_logger_of_metrics_says_again_after_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1_000.0
    monkeypatch.setattr("time.monotonic", lambda: now)

    class Broken(KeptMetrics):
        def count(self, name: str, amount: int, labels: Any) -> None:
            raise RuntimeError("broken")

    outlets = Outlets(own=Broken())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            outlets.note("a", {("received",): 1})
        now += 60
        outlets.note("a", {("received",): 1})

    assert caplog.text.count("the metrics failed at received") == 2
