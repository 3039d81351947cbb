"""What Prometheus scrapes: from the health port, and from a registry of the user's own."""

from __future__ import annotations

import http.client
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

import megaflow
from megaflow import App, ConfigurationError, Health
from megaflow.local import Account, SqsClient
from megaflow.runtime.health_server import serve_health
from megaflow.runtime.running import serving_health
from megaflow.runtime.several_apps import join_health
from megaflow.telemetry.instruments import INSTRUMENTS
from megaflow.telemetry.metrics import Measurements
from megaflow.telemetry.prometheus import PrometheusCollector, render
from megaflow.testing import TestClient
from tests.consuming import Queues, running
from tests.runtime.test_health_server import ask
from tests.waiting import PATIENCE, wait_until

HOST = "127.0.0.1"
READ_OPENMETRICS: Any = openmetrics.text_string_to_metric_families
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def scrape(port: int, accept: str = "") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    connection.request("GET", "/metrics", headers={"Accept": accept})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["Content-Type"], text


def samples_of(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return all samples, by name and labels; what is ``""`` is left out, as Prometheus does."""
    return {
        (each.name, frozenset((name, value) for name, value in each.labels.items() if value)): each.value
        for family in read_text(text)
        for each in family.samples
    }


def sample(text: str, name: str, **labels: str) -> float:
    return samples_of(text)[name, frozenset(labels.items())]


@contextmanager
def served(*measurements: Measurements) -> Iterator[int]:
    with serving_health(HOST, 0, lambda: Health(live=True, ready=True), *measurements) as port:
        assert isinstance(port, int)
        yield port


def full() -> Measurements:
    """Return measurements of every instrument, with a value for every label."""
    measurements = Measurements()
    for name, each in INSTRUMENTS.items():
        told = (name, *[f"a {label}" for label in each.labels[1:]])
        if each.kind.value == "gauge":
            measurements.gauge("a", name, 2.5)
        elif each.kind.value == "counter":
            measurements.note("a", {told: 1}, {})
        else:
            measurements.note("a", {}, {told: (1.0,)})
    return measurements


def test_every_instrument_is_scraped_under_the_name_of_the_table() -> None:
    text = render(PrometheusCollector(full()), "")[0].decode()

    names = {name for name, _ in samples_of(text)}
    for each in INSTRUMENTS.values():
        suffix = "_count" if each.buckets else ""
        assert each.prometheus_name + suffix in names


def test_what_is_scraped_is_read_as_openmetrics_too() -> None:
    body, content_type = render(PrometheusCollector(full()), OPENMETRICS)

    assert content_type.startswith("application/openmetrics-text")
    families = list(READ_OPENMETRICS(body.decode()))
    assert len(families) == len(INSTRUMENTS)
    assert {each.unit for each in families} == {"", "seconds"}


def test_a_histogram_counts_up_to_each_bound() -> None:
    measurements = Measurements()
    measurements.note("a", {}, {("handler_duration", "ship", "DONE"): (0.003, 0.004, 0.02, 1_000.0)})

    text = render(PrometheusCollector(measurements), "")[0].decode()

    labels = {"queue": "a", "handler": "ship", "status": "DONE"}
    name = "megaflow_handler_duration_seconds"
    assert sample(text, f"{name}_bucket", **labels, le="0.0025") == 0
    assert sample(text, f"{name}_bucket", **labels, le="0.005") == 2
    assert sample(text, f"{name}_bucket", **labels, le="300.0") == 3
    assert sample(text, f"{name}_bucket", **labels, le="+Inf") == sample(text, f"{name}_count", **labels) == 4
    assert sample(text, f"{name}_sum", **labels) == pytest.approx(1_000.027)


def test_labels_are_names_and_never_urls_or_ids() -> None:
    app = App("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", retry_on=())
    app.on_text("ping", handler_name="answer")(lambda text: None)
    collector = PrometheusCollector(app.metrics)

    with TestClient(app) as client:
        ids = [client.publish("ping") for _ in range(3)]

    text = render(collector, "")[0].decode()
    said = {pair for _, labels in samples_of(text) for pair in labels if pair[0] != "le"}
    assert {value for name, value in said if name == "queue"} == {"orders"}
    assert {value for name, value in said if name == "handler"} == {"answer"}
    assert not any(id in text for id in ids)
    assert sample(text, "megaflow_messages_ended_total", queue="orders", fate="deleted") == 3


def test_a_registry_of_the_users_own_takes_the_collector_and_the_global_one_is_left_alone() -> None:
    app, registry = App(), CollectorRegistry()
    app.metrics.note("a", {("received",): 3}, {})

    registry.register(PrometheusCollector(app.metrics))

    assert registry.get_sample_value("megaflow_client_consumed_messages_total", {"queue": "a"}) == 3
    assert b"megaflow" not in generate_latest(REGISTRY)
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(PrometheusCollector(App().metrics))


def test_several_apps_are_told_apart_by_their_queues_and_add_up_where_they_share_one() -> None:
    one, other = Measurements(), Measurements()
    one.note("a", {("received",): 1}, {})
    other.note("a", {("received",): 2}, {})
    other.note("b", {("received",): 3}, {})

    with served(one, other) as port:
        _, _, text = scrape(port)

    assert sample(text, "megaflow_client_consumed_messages_total", queue="a") == 3
    assert sample(text, "megaflow_client_consumed_messages_total", queue="b") == 3


def test_the_health_port_answers_in_the_form_that_is_asked_for() -> None:
    with served(full()) as port:
        plain, open_ = scrape(port), scrape(port, f"{OPENMETRICS},text/plain;version=0.0.4;q=0.5")

    assert (plain[0], plain[1].partition(";")[0]) == (200, "text/plain")
    assert (open_[0], open_[1].partition(";")[0]) == (200, "application/openmetrics-text")
    assert open_[2].endswith("# EOF\n")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    measurements = Measurements()

    with served(measurements) as port:
        status, _, text = scrape(port)

    assert status == 404
    assert "pip install 'megaflow-sqs[prometheus]'" in text
    assert not measurements.is_read
    with pytest.raises(ConfigurationError, match=r"^telling Prometheus what is measured needs the extra prometheus \("):
        PrometheusCollector(measurements)


def test_metrics_that_cannot_be_told_are_503_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(accept: str) -> Any:
        raise RuntimeError("broken")

    with serve_health(0, lambda: Health(live=True, ready=True), fail, host=HOST) as port:
        status, _, text = scrape(port)

    assert status == 503
    assert "the metrics cannot be told" in text
    assert "broken" in caplog.text


def test_a_consumer_is_scraped_while_it_runs() -> None:
    queues = Queues()
    app = queues.app(retry_on=())
    app.on_text("ping", handler_name="answer")(lambda text: None)
    collector = PrometheusCollector(app.metrics)
    name = queues.url.rpartition("/")[2]

    def read() -> str:
        return render(collector, "")[0].decode()

    with running(app):
        app.publish("ping")
        wait_until(lambda: app.metrics.snapshot()["deleted"] == 1)
        wait_until(lambda: ("megaflow_messages_in_hand", frozenset({("queue", name)})) in samples_of(read()))
        text = read()
        heard = "megaflow_last_heard_timestamp_seconds"
        wait_until(lambda: samples_of(read()).get((heard, frozenset({("queue", name)})), 0) > 0)

    assert sample(text, "megaflow_handler_duration_seconds_count", queue=name, handler="answer", status="DONE") == 1
    assert sample(text, "megaflow_message_age_seconds_count", queue=name) == 1
    for operation in ("receive", "delete"):
        assert sample(text, "megaflow_client_operation_duration_seconds_count", queue=name, operation=operation) >= 1
        assert sample(text, "megaflow_batch_messages_sum", queue=name, operation=operation) == 1
    assert sample(text, "megaflow_polls_total", queue=name, result="messages") == 1
    assert sample(read(), "megaflow_messages_in_hand", queue=name) == 0


def test_several_apps_run_with_one_port(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sqs = SqsClient(Account())
    apps = [App(sqs.create_queue(QueueName=name)["QueueUrl"], client=sqs, retry_on=()) for name in ("orders", "mails")]
    for app in apps:
        app.on_text("ping")(lambda text: None)
        app.publish("ping")
    thread = threading.Thread(
        target=megaflow.run, args=apps, kwargs={"health_port": 0, "health_host": HOST}, daemon=True
    )

    thread.start()
    wait_until(lambda: all(app.metrics.snapshot()["deleted"] for app in apps))
    (port,) = [each.args[0] for each in caplog.records if each.msg.startswith("health is answered")]  # type: ignore[index]
    _, _, text = scrape(int(str(port)))
    ready, health = ask(int(str(port)), "/ready")
    for app in apps:
        app.stop()
    thread.join(PATIENCE)

    assert not thread.is_alive()
    for name in ("orders", "mails"):
        assert sample(text, "megaflow_messages_deleted_total", queue=name) == 1
        assert sample(text, "megaflow_client_sent_messages_total", queue=name) == 1
    assert (ready, health["ready"], health["problems"]) == (200, True, [])


def test_several_apps_are_ready_once_each_is() -> None:
    well = Health(live=True, ready=True, in_hand=2, heard_ago=(1.0,), finished_ago=3.0, longest_running=4.0)
    ill = Health(live=True, ready=False, problems=("polls fail",), in_hand=1, heard_ago=(None,), longest_running=1.0)
    waits = Health(live=True, ready=True, paused=True, open_breakers=("the app", "store"))

    joined = join_health([SimpleNamespace(health=lambda: well), SimpleNamespace(health=lambda: ill)])

    assert (joined.live, joined.ready, joined.problems) == (True, False, ("polls fail",))
    assert not joined.paused
    both = join_health([SimpleNamespace(health=lambda: well), SimpleNamespace(health=lambda: waits)])
    assert (both.ready, both.paused, both.open_breakers) == (True, True, ("the app", "store"))
    assert (joined.in_hand, joined.heard_ago, joined.finished_ago, joined.longest_running) == (3, (1.0, None), 3.0, 4.0)
