"""Spans: OpenTelemetry's SDK, set up for a test's while, and what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import opentelemetry.trace
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from megaflow import AwsOptions
from megaflow.telemetry.conventions import SCOPE
from tests.waiting import wait_until


class Spans:
    """The spans that have ended, in the order of their ends."""

    def __init__(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.provider = provider
        self.tracer = provider.get_tracer("test")
        self._exporter = exporter

    @property
    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    @property
    def ours(self) -> list[ReadableSpan]:
        return [span for span in self.all if scope_of(span) == SCOPE]

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.ours]

    def named(self, start: str) -> list[ReadableSpan]:
        return [span for span in self.ours if span.name.startswith(start)]

    def one(self, start: str) -> ReadableSpan:
        wait_until(lambda: self.named(start))
        (span,) = self.named(start)
        return span

    def below(self, parent: ReadableSpan) -> list[ReadableSpan]:
        return [span for span in self.all if span.parent is not None and span.parent.span_id == id_of(parent)]

    def clear(self) -> None:
        self._exporter.clear()


@contextmanager
def recording(**options: Any) -> Iterator[Spans]:
    """Set the SDK up within a ``with``; *options* are those of its provider."""
    provider, exporter = TracerProvider(**options), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = opentelemetry.trace._TRACER_PROVIDER
    opentelemetry.trace._TRACER_PROVIDER = provider
    try:
        yield Spans(provider, exporter)
    finally:
        opentelemetry.trace._TRACER_PROVIDER = before
        provider.shutdown()


@contextmanager
def instrumented() -> Iterator[None]:
    """Let OpenTelemetry's instrumentation of botocore be active within a ``with``."""
    instrumentor: Any = BotocoreInstrumentor()  # type: ignore[no-untyped-call]
    instrumentor.instrument()
    try:
        yield
    finally:
        instrumentor.uninstrument()


def reaching(endpoint_url: str) -> AwsOptions:
    """Return how an embedded account is reached over HTTP, by boto3 and by megaflow."""
    return {
        "aws_access_key_id": "x",
        "aws_secret_access_key": "y",
        "region_name": "us-east-1",
        "endpoint_url": endpoint_url,
    }


def scope_of(span: ReadableSpan) -> str:
    assert span.instrumentation_scope is not None
    return span.instrumentation_scope.name


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.trace_id)


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def links_of(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]
