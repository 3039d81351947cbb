"""Contexts of OpenTelemetry: read from a message, written to go along with one, linked to, and suppressing spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import context as api_context
from opentelemetry.context import Context, attach, detach, set_value
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from typing_extensions import override

from megaflow import limits
from megaflow.errors import text_of
from megaflow.logs import get_logger
from megaflow.messages.attributes import Attribute
from megaflow.messages.message import Message
from megaflow.telemetry.trace_header import SentIn, read_trace_header, write_trace_header

log = get_logger(__name__)

NOWHERE: Final = Context()
"""Where a root begins."""

_SUPPRESSED: Final = ("suppress_instrumentation", getattr(api_context, "_SUPPRESS_INSTRUMENTATION_KEY", ""))
"""The keys by which instrumentation is told to make no spans; the first one is that of older versions."""


class Reader:
    """Reads what messages say of their senders."""

    def __init__(self) -> None:
        self._textmap: object = None
        self._fields: frozenset[str] = frozenset()

    def read(self, message: Message) -> Context | None:
        """Return the span and the baggage that a message was sent with: by its attributes, or else by AWS's header."""
        context, attributes, header = None, message.attributes, message.trace_header
        if attributes and not self._find_fields().isdisjoint(attributes):
            context = _extract(attributes)
        if header and (context is None or not get_current_span(context).get_span_context().is_valid):
            return _read_header(header, context)
        return context

    def _find_fields(self) -> frozenset[str]:
        """Return the names that the propagator reads, and keep them: to ask for them takes longer than to look."""
        textmap = get_global_textmap()
        if textmap is not self._textmap:
            self._fields, self._textmap = frozenset(textmap.fields), textmap
        return self._fields


def _extract(attributes: Mapping[str, Any]) -> Context | None:
    try:
        return get_global_textmap().extract(attributes, NOWHERE, _GETTER)
    except Exception as error:  # noqa: BLE001 - a propagator raises whatever it likes about what a stranger has sent
        log.debug("what a message says of its trace could not be read: %s", text_of(error))
        return None


def write_attributes(context: Context) -> dict[str, Attribute]:
    """Return the attributes by which a receiver continues *context*, the most important one first."""
    carrier: dict[str, str] = {}
    get_global_textmap().inject(carrier, context)
    return {name: Attribute("String", value) for name, value in carrier.items() if _can_be_sent(name, value)}


def _can_be_sent(name: str, value: str) -> bool:
    return bool(value) and limits.allows_attribute_name(name) and limits.refused_character(value) is None


def write_header(sent_in: SpanContext) -> str:
    """Return AWS's header for a span; ``""`` where there is none."""
    if not sent_in.is_valid:
        return ""
    return write_trace_header(SentIn(sent_in.trace_id, sent_in.span_id, is_sampled(sent_in)))


def _read_header(header: str, context: Context | None) -> Context | None:
    said = read_trace_header(header)
    if said is None:
        return context
    flags = TraceFlags(TraceFlags.SAMPLED if said.sampled else TraceFlags.DEFAULT)
    sent_in = SpanContext(said.trace_id, said.span_id, is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(sent_in), context or NOWHERE) if sent_in.is_valid else context


def link_to(contexts: Iterable[SpanContext | None]) -> list[Link]:
    """Return a link to each span that there is to be seen."""
    return [Link(each) for each in contexts if each is not None and each.is_valid and is_sampled(each)]


def is_sampled(context: SpanContext) -> bool:
    """Tell whether a span is kept."""
    return bool(context.trace_flags & TraceFlags.SAMPLED)


@contextmanager
def suppressing(context: Context) -> Iterator[None]:
    """Let *context* be current within a ``with``, in which no instrumentation makes spans."""
    for key in filter(None, _SUPPRESSED):
        context = set_value(key, True, context)
    token = attach(context)
    try:
        yield
    finally:
        detach(token)


class _AttributeGetter(Getter[Mapping[str, Any]]):
    @override
    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        value = carrier.get(key)
        return [value] if isinstance(value, str) else None

    @override
    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        return list(carrier)


_GETTER: Final = _AttributeGetter()


def if_kept(context: SpanContext) -> SpanContext | None:
    """Return the context of a span that is kept; None where a link to it would lead nowhere."""
    return context if context.is_valid and is_sampled(context) else None
