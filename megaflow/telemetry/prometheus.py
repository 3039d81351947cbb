"""Metrics for Prometheus, with the extra ``prometheus``: a collector for any registry, and the text that is scraped.

https://prometheus.github.io/client_python/collector/custom/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from megaflow.checks import show
from megaflow.distribution import describe_missing_extra
from megaflow.errors import ConfigurationError
from megaflow.telemetry.instruments import INSTRUMENTS, Instrument, Kind
from megaflow.telemetry.metrics import Measurements, merge

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

__all__ = ["PrometheusCollector"]


class PrometheusCollector:
    """Collects what apps have counted and measured, for a registry of prometheus-client: ``register(collector)``.

    *measurements* are apps' ``metrics``. Where an app runs as several processes, the one that has started them collects
    for all. From when it is made, what is measured is kept. Raises `ConfigurationError` without prometheus-client, and
    for what is no `Measurements`.

    Example:
        >>> from megaflow import App
        >>> from megaflow.telemetry.prometheus import PrometheusCollector
        >>> from prometheus_client import CollectorRegistry
        >>> registry, app = CollectorRegistry(), App()
        >>> registry.register(PrometheusCollector(app.metrics))
    """

    def __init__(self, *measurements: Measurements) -> None:
        try:
            import prometheus_client.metrics_core
        except ImportError as error:
            raise ConfigurationError(
                describe_missing_extra("telling Prometheus what is measured", "prometheus", error)
            ) from error
        _check(measurements)
        self._families: Any = prometheus_client.metrics_core
        self._measurements = measurements
        for each in measurements:
            each.is_read = True

    def describe(self) -> Iterator[Metric]:
        """Give all metrics without any values, by which a registry sees whether two are called the same."""
        return map(self._make, INSTRUMENTS.values())

    def collect(self) -> Iterator[Metric]:
        """Give all metrics that have values, as they are now."""
        families: dict[str, Any] = {}
        for (name, *values), numbers in sorted(merge([each.read() for each in self._measurements]).items()):
            instrument = INSTRUMENTS[name]
            family = families.get(name)
            if family is None:
                family = families[name] = self._make(instrument)
            _add(family, instrument, values, numbers)
        yield from families.values()

    def _make(self, instrument: Instrument) -> Metric:
        kinds = {
            Kind.COUNTER: self._families.CounterMetricFamily,
            Kind.HISTOGRAM: self._families.HistogramMetricFamily,
            Kind.GAUGE: self._families.GaugeMetricFamily,
        }
        family: Metric = kinds[instrument.kind](
            instrument.prometheus_name,
            instrument.meaning,
            labels=instrument.labels,
            unit="seconds" if instrument.unit == "s" else "",
        )
        return family


def _check(measurements: Sequence[object]) -> None:
    for each in measurements or (None,):
        if not isinstance(each, Measurements):
            said = "nothing" if each is None else show(each)
            raise ConfigurationError(
                f"PrometheusCollector takes the measurements of apps, not {said}: PrometheusCollector(app.metrics)"
            )


def render(collector: PrometheusCollector, accept: str) -> tuple[bytes, str]:
    """Return what is scraped, and its content type, as the header *accept* asks for it."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _add(family: Any, instrument: Instrument, labels: Sequence[str], numbers: Sequence[float]) -> None:
    if instrument.kind is not Kind.HISTOGRAM:
        family.add_metric(labels, numbers[0])
        return
    bounds = [*map(str, instrument.buckets), "+Inf"]
    counts = list(accumulate(numbers[:-1]))
    family.add_metric(labels, list(zip(bounds, counts, strict=True)), numbers[-1])
