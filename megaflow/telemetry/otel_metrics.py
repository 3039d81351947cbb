"""Metrics by way of OpenTelemetry's API, where a meter provider is set up: instruments and attributes of its kind.

https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from megaflow.telemetry.instruments import INSTRUMENTS, Instrument, Kind
from megaflow.telemetry.metrics import Key, Labels

ATTRIBUTES: Final[Mapping[str, str]] = {
    "queue": "messaging.destination.name",
    "topic": "messaging.destination.name",
    "operation": "messaging.operation.name",
    "error": "error.type",
    "handler": "megaflow.handler",
    "status": "megaflow.status",
    "fate": "megaflow.fate",
    "result": "megaflow.result",
}
"""What OpenTelemetry calls each label."""

_TYPES: Final = {"receive": "receive", "send": "send"}
_OPERATIONS: Final = {"received": "receive", "sent": "send", "process_duration": "process"}
"""The operation that an instrument of the conventions is about, where no label says so."""

_UNCONFIGURED: Final = ("_ProxyMeterProvider", "NoOpMeterProvider")


class OpenTelemetryMetrics:
    """Tells *meter*, one of OpenTelemetry's. May be used from any thread."""

    def __init__(self, meter: Any) -> None:
        self._instruments = {name: _make(meter, each) for name, each in INSTRUMENTS.items()}
        self._described: dict[Key, dict[str, str]] = {}
        """Attributes, by instrument and labels: there are no more of them than there are series."""

    def count(self, name: str, amount: int, labels: Labels) -> None:
        """Take note that *name* happened *amount* times more."""
        self._instruments[name].add(amount, self._describe(name, labels))

    def observe(self, name: str, value: float, labels: Labels) -> None:
        """Take note of one value of *name*."""
        self._instruments[name].record(value, self._describe(name, labels))

    def gauge(self, name: str, value: float, labels: Labels) -> None:
        """Take note that *name* is at *value* now."""
        self._instruments[name].set(value, self._describe(name, labels))

    def _describe(self, name: str, labels: Labels) -> dict[str, str]:
        key = (name, *labels.values())
        known = self._described.get(key)
        if known is None:
            known = self._described[key] = describe(name, labels)
        return known


def find_meter() -> OpenTelemetryMetrics | None:
    """Return what tells OpenTelemetry, where a meter provider is set up by now."""
    from opentelemetry import metrics

    provider = metrics.get_meter_provider()
    if type(provider).__name__ in _UNCONFIGURED:
        return None
    return OpenTelemetryMetrics(provider.get_meter("megaflow"))


def describe(name: str, labels: Labels) -> dict[str, str]:
    """Return *labels* of the instrument *name* as the attributes of OpenTelemetry."""
    attributes = {ATTRIBUTES[label]: value for label, value in labels.items() if value}
    attributes["messaging.system"] = "aws.sns" if labels.get("topic") else "aws_sqs"
    operation = labels.get("operation") or _OPERATIONS.get(name)
    if operation is not None:
        attributes["messaging.operation.name"] = operation
        if name == "operation_duration":
            attributes["messaging.operation.type"] = _TYPES.get(operation, "settle")
    return attributes


def _make(meter: Any, instrument: Instrument) -> Any:
    name, unit, meaning = instrument.otel_name, instrument.unit, instrument.meaning
    if instrument.kind is Kind.COUNTER:
        return meter.create_counter(name, unit, meaning)
    if instrument.kind is Kind.GAUGE:
        return meter.create_gauge(name, unit, meaning)
    return meter.create_histogram(name, unit, meaning, explicit_bucket_boundaries_advisory=list(instrument.buckets))
