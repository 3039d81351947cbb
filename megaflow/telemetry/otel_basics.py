"""Basics of spans: how they start and end, and what all spans of an operation have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, StatusCode, Tracer

from megaflow.logs import get_logger
from megaflow.telemetry import conventions as names
from megaflow.telemetry.tracing import Place

log = get_logger(__name__)

_PORTS: Final = {"http": 80, "https": 443}


def start(
    tracer: Tracer,
    name: str,
    context: Context,
    kind: SpanKind,
    attributes: Mapping[str, str | int],
    links: Sequence[Link] = (),
    began: int | None = None,
) -> Span:
    """Start a span; where a sampler or a processor of the user's fails, there is none, and the message goes its way."""
    try:
        return tracer.start_span(name, context, kind, attributes, links, began)
    except Exception:
        log.warning("the span %s could not be started", name, exc_info=True)
        return INVALID_SPAN


def end(span: Span, problem: str) -> None:
    """End a span; *problem* is the type of the error, where there was one."""
    if problem:
        span.set_attribute(names.ERROR_TYPE, problem)
        span.set_status(StatusCode.ERROR)
    try:
        span.end()
    except Exception:
        log.warning("a span could not be ended", exc_info=True)


@cache
def describe(place: Place, operation: str) -> Mapping[str, str | int]:
    """Return what all spans of an operation at *place* have in common, made once."""
    address = {names.QUEUE_URL if place.system == names.SQS else names.TOPIC_ARN: place.address}
    known = {
        names.MESSAGING_SYSTEM: place.system,
        names.OPERATION_NAME: operation,
        names.OPERATION_TYPE: operation,
        names.DESTINATION_NAME: place.name,
    }
    return known | address | _describe_server(place.endpoint_url)


def _describe_server(endpoint_url: str) -> dict[str, str | int]:
    split = urlsplit(endpoint_url)
    port = split.port or _PORTS.get(split.scheme)
    return {names.SERVER_ADDRESS: split.hostname, names.SERVER_PORT: port} if split.hostname and port else {}
