"""Tracers: what wraps boto3 gets every call, come it before the wire or later, and the wire is back after it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.endpoint import Endpoint
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParser
from botocore.signers import RequestSigner

from megaflow import SqsPublisher
from megaflow.wire.client import WireClient, open_wire
from megaflow.wire.fallback import why_aside
from tests.wire.scripted import QUEUE_URL, Request, Scripted, answer, scripted

SENT = json.dumps({"MessageId": "m-1"}).encode()


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        server.script = [answer(SENT)] * 10
        yield server


@pytest.fixture
def restore(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the classes be afterwards as they are now: not every tracer takes back all that it has wrapped."""
    for kind, name in [
        (BaseClient, "_make_api_call"),
        (Endpoint, "prepare_request"),
        (ResponseParser, "parse"),
        (URLLib3Session, "send"),
    ]:
        monkeypatch.setattr(kind, name, vars(kind)[name])


def publish(client: Any) -> None:
    SqsPublisher(queue_url=QUEUE_URL, client=client).publish("hello")


def attributes(request: Request) -> dict[str, Any]:
    """Return the names of the message attributes that have come to the queue, with their values."""
    given = json.loads(request.body).get("MessageAttributes", {})
    return {name: each["StringValue"] for name, each in given.items()}


def check(
    server: Scripted,
    instrument: Callable[[], object],
    uninstrument: Callable[[], object],
    find: Callable[[Request], Any],
) -> None:
    """Check that what *instrument* puts in *find* can find, in a client of before and in one of after it."""
    before = open_wire(server.client())
    publish(before)
    instrument()
    try:
        publish(before)
        after = open_wire(server.client())
        publish(after)
    finally:
        uninstrument()
    publish(before)

    assert isinstance(before, WireClient)
    assert not isinstance(after, WireClient)
    assert [bool(find(request)) for request in server.requests] == [False, True, True, False]


@pytest.mark.usefixtures("restore")
def test_opentelemetry_has_its_spans_and_its_header_reaches_the_queue(server: Scripted) -> None:
    instrumentor = import_module("opentelemetry.instrumentation.botocore").BotocoreInstrumentor()
    provider = import_module("opentelemetry.sdk.trace").TracerProvider()
    spans = import_module("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    provider.add_span_processor(import_module("opentelemetry.sdk.trace.export").SimpleSpanProcessor(spans))

    check(
        server,
        lambda: instrumentor.instrument(tracer_provider=provider),
        instrumentor.uninstrument,
        lambda request: request.headers.get("x-amzn-trace-id"),
    )

    finished = spans.get_finished_spans()
    assert [span.attributes["rpc.method"] for span in finished] == ["SendMessage"] * 2
    for span, request in zip(finished, server.requests[1:3], strict=True):
        assert f"Parent={span.context.span_id:016x}" in request.headers["x-amzn-trace-id"]


@pytest.mark.usefixtures("restore")
def test_x_ray_has_its_segments_and_its_header_reaches_the_queue(server: Scripted) -> None:
    core = import_module("aws_xray_sdk.core")
    patcher, xray_recorder = core.patcher, core.xray_recorder
    ended: list[Any] = []
    xray_recorder.configure(sampling=False, context_missing="IGNORE_ERROR", plugins=())
    if hasattr(xray_recorder.emitter, "_socket"):
        xray_recorder.emitter._socket.close()
    xray_recorder.emitter = Emitter(ended)
    original = vars(BaseClient)["_make_api_call"], vars(Endpoint)["prepare_request"]

    def unpatch() -> None:
        # The SDK's own leaves the second one wrapped.
        BaseClient._make_api_call, Endpoint.prepare_request = original
        patcher._PATCHED_MODULES.discard("botocore")

    with xray_recorder.in_segment("shop") as segment:
        check(
            server,
            lambda: patcher.patch(["botocore"]),
            unpatch,
            lambda request: request.headers.get("x-amzn-trace-id"),
        )

    assert [each.aws["operation"] for each in segment.subsegments] == ["SendMessage"] * 2
    assert segment.trace_id in server.requests[1].headers["x-amzn-trace-id"]


class Emitter:
    """Keeps what X-Ray would send to its daemon."""

    def __init__(self, ended: list[Any]) -> None:
        self.send_entity = ended.append


@pytest.mark.usefixtures("restore")
def test_ddtrace_has_its_spans_and_its_header_reaches_the_queue(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DD_TRACE_AGENT_URL", "http://127.0.0.1:1")
    pytest.importorskip("ddtrace", reason="its tests run in .ci/run")
    from ddtrace.contrib.internal.botocore.patch import patch, unpatch
    from ddtrace.trace import TraceFilter, tracer

    spans: list[Any] = []

    class Keep(TraceFilter):  # type: ignore[misc]
        def process_trace(self, trace: list[Any]) -> None:
            spans.extend(trace)

    tracer.configure(trace_processors=[Keep()])

    check(server, patch, unpatch, lambda request: attributes(request).get("_datadog"))

    assert [span.resource for span in spans] == ["sqs.sendmessage"] * 2


@pytest.mark.usefixtures("restore")
def test_elastic_has_its_spans_and_its_header_reaches_the_queue(server: Scripted) -> None:
    elasticapm = pytest.importorskip("elasticapm", reason="its tests run in .ci/run")
    from elasticapm.instrumentation.packages.botocore import BotocoreInstrumentation

    client = elasticapm.Client(
        service_name="shop", disable_send=True, cloud_provider=False, central_config=False, server_version=(8, 0, 0)
    )
    spans: list[Any] = []
    client.tracer.queue_func = lambda kind, data, **options: spans.append(data) if kind == "span" else None
    instrumentation = BotocoreInstrumentation()
    client.begin_transaction("messaging")
    try:
        check(
            server,
            instrumentation.instrument,
            instrumentation.uninstrument,
            lambda request: attributes(request).get("traceparent"),
        )
    finally:
        client.end_transaction("sends")
        client.close()

    assert {span["name"] for span in spans} == {"SQS SEND to orders"}


@pytest.fixture
def wrapt() -> ModuleType:
    """The one that is installed: versions 1 and 2 take turns in ``.ci/run``."""
    module: ModuleType = pytest.importorskip("wrapt")
    return module


def count(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    CALLS.append(wrapped.__name__)
    return wrapped(*args, **kwargs)


CALLS: list[str] = []


@pytest.mark.parametrize(
    ("find", "name"),
    [
        (lambda client: BaseClient, "_make_api_call"),
        (lambda client: type(client), "send_message"),
        (lambda client: client, "send_message"),
        (lambda client: Endpoint, "make_request"),
        (lambda client: Endpoint, "prepare_request"),
        (lambda client: client._endpoint, "_send"),
        (lambda client: URLLib3Session, "send"),
        (lambda client: client._endpoint.http_session, "send"),
        (lambda client: RequestSigner, "sign"),
        (lambda client: ResponseParser, "parse"),
        (lambda client: client._serializer, "serialize_to_request"),
        (lambda client: client.meta.events._emitter, "emit"),
    ],
)
def test_a_proxy_around_whatever_a_call_goes_through_is_seen(
    find: Callable[[Any], Any], name: str, server: Scripted, wrapt: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client()
    part = find(client)
    CALLS.clear()
    assert why_aside(client) == ""

    monkeypatch.setattr(part, name, wrapt.FunctionWrapper(getattr(part, name), count))
    publish(client)

    assert name in why_aside(client)
    assert why_aside(client).endswith("replaced by tests.wire.test_tracers.count")
    assert CALLS


@pytest.mark.parametrize("name", ["_endpoint", "_request_signer", "_response_parser", "_serializer"])
def test_a_proxy_around_an_object_that_a_call_goes_through_is_seen(
    name: str, server: Scripted, wrapt: ModuleType
) -> None:
    client = server.client()

    setattr(client, name, wrapt.ObjectProxy(getattr(client, name)))

    assert "ObjectProxy" in why_aside(client)


def test_a_proxy_around_a_whole_client_is_no_client_of_boto3s(server: Scripted, wrapt: ModuleType) -> None:
    client = server.client()

    proxy = wrapt.ObjectProxy(client)

    assert isinstance(proxy, BaseClient)
    assert "ObjectProxy" in why_aside(proxy)


def test_a_proxy_around_an_event_handler_of_botocores_is_seen(server: Scripted, wrapt: ModuleType) -> None:
    client = server.client()
    handler = wrapt.FunctionWrapper(client._request_signer.handler, count)

    client.meta.events.register("request-created.sqs", handler)

    assert "an event handler is registered for request-created" in why_aside(client)


def test_what_a_subclass_or_a_mixin_overrides_is_seen(server: Scripted) -> None:
    class Mixin:
        def receive_message(self, **parameters: Any) -> Any:
            return {}

        def peek(self) -> None:
            """Nothing that a call goes through."""

    client, other = server.client(), server.client()

    client.__class__ = type("SQS", (Mixin, type(client)), {})
    other.__class__ = type("SQS", (type(other),), {"peek": Mixin.peek})

    assert why_aside(client).startswith("the client's receive_message was replaced by tests.wire.test_tracers.")
    assert why_aside(other) == ""


def test_code_that_was_put_into_a_function_is_seen(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    original = URLLib3Session.send.__code__
    traced = original.replace(co_consts=(*original.co_consts, count))
    client = server.client()

    monkeypatch.setattr(URLLib3Session.send, "__code__", traced)

    assert "URLLib3Session.send was replaced" in why_aside(client)


@pytest.mark.parametrize(
    ("find", "name"),
    [
        (lambda client: client, "receive_message"),
        (lambda client: client._endpoint.http_session, "send"),
        (lambda client: URLLib3Session, "send"),
        (lambda client: Endpoint, "make_request"),
    ],
)
def test_what_comes_after_the_wire_was_opened_is_called_and_makes_way_when_it_goes(
    find: Callable[[Any], Any], name: str, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client()
    wire = open_wire(client)
    part = find(client)
    original, called = getattr(part, name), []

    def traced(*args: Any, **parameters: Any) -> Any:
        called.append(name)
        return original(*args, **parameters)

    server.script = []
    wire.receive_message(QueueUrl=QUEUE_URL)
    with monkeypatch.context() as patched:
        patched.setattr(part, name, traced)
        wire.receive_message(QueueUrl=QUEUE_URL)
        during = len(called)
    wire.receive_message(QueueUrl=QUEUE_URL)

    assert isinstance(wire, WireClient)
    assert (during, len(called)) == (1, 1)
    assert len(server.requests) == 3


@pytest.mark.usefixtures("restore")
@pytest.mark.parametrize("instrumented", [("botocore",), ("urllib3",), ("botocore", "urllib3")])
def test_opentelemetry_is_no_reason_where_something_stands_in_for_it(
    instrumented: tuple[str, ...], server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    instrumentors = [_instrumentor(name) for name in instrumented]
    for instrumentor in instrumentors:
        instrumentor.instrument()
    try:
        client = server.client()

        assert "replaced by opentelemetry.instrumentation." in why_aside(client)
        assert why_aside(client, stands_in=True) == ""
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()


def _instrumentor(name: str) -> Any:
    module = import_module(f"opentelemetry.instrumentation.{name}")
    return getattr(module, {"botocore": "BotocoreInstrumentor", "urllib3": "URLLib3Instrumentor"}[name])()


@pytest.mark.usefixtures("restore")
@pytest.mark.parametrize("is_inside", [True, False])
def test_another_tracer_beside_opentelemetrys_is_seen(
    is_inside: bool, server: Scripted, wrapt: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    instrumentor = _instrumentor("botocore")
    if is_inside:
        monkeypatch.setattr(BaseClient, "_make_api_call", wrapt.FunctionWrapper(BaseClient._make_api_call, count))
    instrumentor.instrument()
    try:
        if not is_inside:
            wrapped = vars(BaseClient)["_make_api_call"]
            monkeypatch.setattr(BaseClient, "_make_api_call", wrapt.FunctionWrapper(wrapped, count))

        assert "_make_api_call" in why_aside(server.client(), stands_in=True)
    finally:
        instrumentor.uninstrument()
