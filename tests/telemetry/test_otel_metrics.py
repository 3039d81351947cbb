"""OpenTelemetry's metrics: the same instruments, where a meter provider is set up."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from megaflow import App, SqsPublisher, Telemetry
from megaflow.local import Account, SqsClient
from megaflow.telemetry import otel_metrics
from megaflow.telemetry.instruments import INSTRUMENTS, LABELS, Kind
from megaflow.telemetry.otel_metrics import ATTRIBUTES, OpenTelemetryMetrics, describe
from megaflow.telemetry.outlets import Outlets
from megaflow.testing import TestClient


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """Set up a provider, as a program does once; its global one cannot be set back."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(api, "get_meter_provider", lambda: provider)
    yield reader
    provider.shutdown()


def points_of(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """Return the points of each instrument."""
    data: Any = reader.get_metrics_data()
    resources = data.resource_metrics if data is not None else ()
    metrics = [each for resource in resources for scope in resource.scope_metrics for each in scope.metrics]
    return {each.name: list(each.data.data_points) for each in metrics}


def test_what_happens_to_a_message_is_told_by_the_conventions_names(reader: InMemoryMetricReader) -> None:
    app = App("http://sqs.example.com/1/orders", retry_on=())
    app.on_text("ping", handler_name="answer")(lambda text: None)

    with TestClient(app) as client:
        client.publish("ping")

    points = points_of(reader)
    (sent,) = points["messaging.client.sent.messages"]
    queue = {"messaging.system": "aws_sqs", "messaging.destination.name": "orders"}
    assert (sent.value, dict(sent.attributes)) == (1, {**queue, "messaging.operation.name": "send"})
    (consumed,) = points["messaging.client.consumed.messages"]
    assert (consumed.value, consumed.attributes["messaging.operation.name"]) == (1, "receive")
    (processed,) = points["messaging.process.duration"]
    assert dict(processed.attributes) == {**queue, "messaging.operation.name": "process", "megaflow.fate": "deleted"}
    assert tuple(processed.explicit_bounds) == INSTRUMENTS["process_duration"].buckets
    (handled,) = points["megaflow.handler.duration"]
    assert dict(handled.attributes) == {**queue, "megaflow.handler": "answer", "megaflow.status": "DONE"}
    calls = {
        (each.attributes["messaging.operation.name"], each.attributes["messaging.operation.type"])
        for each in points["messaging.client.operation.duration"]
    }
    assert calls == {("send", "send"), ("receive", "receive"), ("delete", "settle")}


def test_every_instrument_is_there_with_its_unit_and_every_label_has_a_name() -> None:
    assert set(ATTRIBUTES) == set(LABELS)
    for name, each in INSTRUMENTS.items():
        labels = {label: "x" for label in each.labels if label != "topic"}
        assert set(describe(name, labels)) >= {ATTRIBUTES[label] for label in labels} | {"messaging.system"}
    topic = describe("sent", {"queue": "", "topic": "orders", "error": ""})
    assert (topic["messaging.system"], topic["messaging.destination.name"]) == ("aws.sns", "orders")


def test_all_kinds_are_told(reader: InMemoryMetricReader) -> None:
    outlets = Outlets()
    outlets.look()

    for name, each in INSTRUMENTS.items():
        if each.kind is Kind.GAUGE:
            outlets.gauge("a", name, 2.5)
        elif each.kind is Kind.COUNTER:
            outlets.note("a", {(name,): 3})
        else:
            outlets.note("a", {}, {(name,): (1.0, 2.0)})

    points = points_of(reader)
    for each in INSTRUMENTS.values():
        (point,) = points[each.otel_name]
        said = (point.sum, point.count) if each.kind is Kind.HISTOGRAM else point.value
        assert said == {Kind.GAUGE: 2.5, Kind.COUNTER: 3, Kind.HISTOGRAM: (3.0, 2)}[each.kind]


def test_a_publisher_of_its_own_tells_what_failed(reader: InMemoryMetricReader) -> None:
    sqs = SqsClient(Account())
    publisher = SqsPublisher(queue_url=sqs.create_queue(QueueName="orders")["QueueUrl"], client=sqs)
    sqs.delete_queue(QueueUrl=publisher.queue_url)

    with pytest.raises(Exception, match="does not exist"):
        publisher.publish("ping")

    points = points_of(reader)
    (sent,) = points["messaging.client.sent.messages"]
    (called,) = points["messaging.client.operation.duration"]
    assert sent.attributes["error.type"] == "QueueDoesNotExist"
    assert called.attributes["error.type"] == "QueueDoesNotExist"


@pytest.mark.parametrize(("telemetry", "is_told"), [(True, True), (Telemetry(trace="link"), True), (False, False)])
def test_telemetry_says_whether_opentelemetry_is_told(
    reader: InMemoryMetricReader, telemetry: bool | Telemetry, is_told: bool
) -> None:
    app = App(retry_on=(), telemetry=telemetry)
    app.on_text("ping")(lambda _: None)
    sqs = SqsClient(Account())
    queue_url = sqs.create_queue(QueueName="orders")["QueueUrl"]

    with TestClient(app) as client:
        client.publish("ping")
    SqsPublisher(queue_url=queue_url, client=sqs, telemetry=telemetry).publish("ping")

    assert app.metrics.snapshot()["deleted"] == 1
    assert bool(points_of(reader)) is is_told


def test_without_a_provider_nothing_is_told_and_one_that_comes_later_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider: Any = api.NoOpMeterProvider()
    monkeypatch.setattr(api, "get_meter_provider", lambda: provider)
    outlets, reader = Outlets(), InMemoryMetricReader()

    outlets.look()
    before = outlets.are_told_all
    provider = MeterProvider([reader])
    outlets.look()
    outlets.note("a", {("received",): 1})

    assert (before, outlets.are_told_all) == (False, True)
    assert points_of(reader)["messaging.client.consumed.messages"][0].value == 1
    provider.shutdown()


def test_the_apis_own_proxy_is_no_provider() -> None:
    code = "from megaflow.telemetry.otel_metrics import find_meter; assert find_meter() is None"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_several_threads_that_look_at_once_find_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[OpenTelemetryMetrics] = []
    together, may_go = threading.Barrier(4), threading.Event()

    def find() -> Any:
        meter = OpenTelemetryMetrics(api.NoOpMeterProvider().get_meter("x"))
        found.append(meter)
        may_go.wait(1)
        return meter

    monkeypatch.setattr(otel_metrics, "find_meter", find)
    outlets = Outlets()

    def look() -> None:
        together.wait()
        outlets.look()
        may_go.set()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert len(found) == 1


def test_a_provider_that_fails_is_logged_and_not_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MeterProvider):
        def get_meter(self, *given: Any, **more: Any) -> Any:
            raise RuntimeError("no meters today")

    provider = Broken()
    monkeypatch.setattr(api, "get_meter_provider", lambda: provider)
    outlets = Outlets()

    with caplog.at_level(logging.WARNING):
        outlets.look()
        outlets.look()

    assert caplog.text.count("is told no metrics") == 1
    assert not outlets.are_told_all
    provider.shutdown()


def test_a_program_without_opentelemetry_never_imports_it() -> None:
    code = """
import sys
from megaflow import App
from megaflow.testing import TestClient
app = App(retry_on=())
app.on_text("ping")(lambda text: None)
with TestClient(app) as client:
    client.publish("ping")
assert not any(name.startswith(("opentelemetry", "prometheus_client")) for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
