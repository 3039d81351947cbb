"""Tracing: whether there are spans, which is looked at once per poll and once per call of a publisher.

Without OpenTelemetry's SDK there are none, and a message costs one look at `Tracing.spans`. What makes them is imported
only where somebody has set up the SDK.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, get_args

from megaflow.checks import check_choice, refused

if TYPE_CHECKING:
    from megaflow.messages.message import Message
    from megaflow.telemetry.otel_spans import Spans

Joining: TypeAlias = Literal["parent", "link"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """How messages are traced, for ``telemetry=`` of `App`, `SqsPublisher` and `SnsPublisher`.

    Raises:
        ConfigurationError: *trace* is another choice.
    """

    trace: Joining = "parent"
    """``"parent"``: what handles a message continues the trace of its sender.

    ``"link"``: it is a trace of its own, with a link to the sender's, and is sampled by itself.
    """

    def __post_init__(self) -> None:
        """Raise `ConfigurationError` for another choice."""
        check_choice("trace", self.trace, get_args(Joining))


class Place(NamedTuple):
    """A queue or a topic, as spans name it: its *address* is a URL or an ARN; what is not known is ``""``."""

    system: str
    name: str
    address: str
    endpoint_url: str = ""


class Tracing:
    """Gives spans where *telemetry* wants them, and OpenTelemetry's SDK is set up. May be used from any thread."""

    __slots__ = ("_joining", "_provider", "spans")

    def __init__(self, telemetry: bool | Telemetry = False) -> None:
        if not isinstance(telemetry, bool | Telemetry):
            raise refused("telemetry", telemetry, "True, False or Telemetry(…)")
        given = Telemetry() if telemetry is True else telemetry
        self._joining: Joining | None = given.trace if given else None
        self._provider: Any = None
        self.spans: Spans | None = None
        """What makes spans, as of the last `look`; None where there are none."""

    def look(self) -> Spans | None:
        """Look whether there is an SDK now, and return what makes spans."""
        # What nobody has imported, nobody has set up.
        api = None if self._joining is None else sys.modules.get("opentelemetry.trace")
        provider = getattr(api, "get_tracer_provider", _find_nothing)()
        if provider is not self._provider:
            self.spans = None if _is_nothing(api, provider) else _make_spans(provider, self._joining == "link")
            self._provider = provider
        return self.spans

    def stands_in(self) -> bool:
        """Tell whether these spans take the place of those that OpenTelemetry has for calls of boto3's."""
        return self.look() is not None

    def suppressing_others(self) -> AbstractContextManager[None]:
        """Have OpenTelemetry make no span of its own for what boto3 calls within a ``with``, where these are there."""
        spans = self.look()
        return nullcontext() if spans is None else spans.suppressing_others()


NO_TRACING: Final = Tracing()


def give_up(message: Message, *, timed_out: bool = True) -> None:
    """End the spans of *message*, whose handler has not returned: it may never do."""
    if message.lease is not None and message.lease.trace is not None:
        message.lease.trace.give_up(timed_out=timed_out)


def _find_nothing() -> None:
    """Be what a program without OpenTelemetry has."""


def _is_nothing(api: Any, provider: object) -> bool:
    """Tell whether *provider* is what the API has as long as there is no SDK."""
    return provider is None or isinstance(provider, api.ProxyTracerProvider | api.NoOpTracerProvider)


def _make_spans(provider: Any, as_link: bool) -> Spans:
    from megaflow.telemetry.otel_spans import Spans

    return Spans(provider, as_link=as_link)
