"""Metrics: what Prometheus scrapes of an app, in a registry of one's own, and what an object of one's own is told.

In production `app.run(processes=4, health_port=8080)` answers `/metrics`, one for all processes.
"""

from collections import Counter
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, generate_latest

from megaflow import App, RetryLater
from megaflow.telemetry.prometheus import PrometheusCollector
from megaflow.testing import TestClient


class Fates:
    """Takes note of what became of messages, and of nothing else."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, name: str, amount: int, labels: Mapping[str, str]) -> None:
        if name == "ended":
            self.counts[labels["fate"]] += amount

    def observe(self, name: str, value: float, labels: Mapping[str, str]) -> None: ...

    def gauge(self, name: str, value: float, labels: Mapping[str, str]) -> None: ...


fates = Fates()
app = App("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", retry_on=(), metrics=fates)


@app.on_data({"kind": "order"}, handler_name="ship")
def ship(order: dict[str, str]) -> None:
    if order["id"] == "A-2":
        raise RetryLater(after=60)


registry = CollectorRegistry()
registry.register(PrometheusCollector(app.metrics))

if __name__ == "__main__":
    with TestClient(app) as client:
        client.publish_batch([{"kind": "order", "id": "A-1"}, {"kind": "order", "id": "A-2"}])
    for line in generate_latest(registry).decode().splitlines():
        if line.startswith(("megaflow_messages_ended_total", "megaflow_handler_duration_seconds_count")):
            print(line)
    print(dict(fates.counts))
