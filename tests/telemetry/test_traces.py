"""Traces: which spans there are, what they hang below, what they say, and what goes along with a message."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode, TraceFlags

from megaflow import (
    App,
    ConfigurationError,
    EncodeError,
    MemoryStore,
    Outgoing,
    PublishError,
    Reject,
    RetryLater,
    SnsPublisher,
    SqsPublisher,
    Telemetry,
)
from megaflow.app import parts_of
from megaflow.local import Account, Fault, FaultKind, Faults, SqsClient
from megaflow.local.server import Server
from megaflow.telemetry.conventions import ATTRIBUTES, SPANS
from megaflow.telemetry.trace_header import read_trace_header
from megaflow.testing import TestClient
from megaflow.wire.client import WireClient
from tests.consuming import Faulty, Queues, running
from tests.fakes import client_error
from tests.telemetry.spans import Spans, attributes_of, id_of, instrumented, links_of, reaching, recording, trace_of
from tests.waiting import PATIENCE, wait_until

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recording() as spans:
        yield spans


@pytest.fixture
def queues() -> Queues:
    return Queues()


def carried(queues: Queues) -> Iterator[tuple[dict[str, str], str]]:
    """Give the attributes and the trace header of each message in the queue."""
    for each in queues.sqs.receive_message(
        QueueUrl=queues.url,
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
    ).get("Messages", ()):
        attributes = {name: said["StringValue"] for name, said in each.get("MessageAttributes", {}).items()}
        yield attributes, each["Attributes"].get("AWSTraceHeader", "")


def consume(app: App, done: threading.Event) -> None:
    with running(app):
        assert done.wait(PATIENCE)


# What is sent


def test_a_publish_has_one_span_and_its_message_goes_on_with_it(spans: Spans, queues: Queues) -> None:
    with spans.tracer.start_as_current_span("request") as request:
        message_id = queues.app().publish({"a": 1})

    send = spans.one("send q")
    assert send.kind is SpanKind.PRODUCER
    assert send.parent is not None
    assert send.parent.span_id == request.get_span_context().span_id
    assert attributes_of(send) == {
        "aws.request_id": attributes_of(send)["aws.request_id"],
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "q",
        "messaging.message.id": message_id,
        "aws.sqs.queue.url": queues.url,
        "server.address": urlsplit(queues.url).hostname,
        "server.port": urlsplit(queues.url).port or 80,
    }
    ((attributes, header),) = carried(queues)
    assert attributes == {
        "traceparent": f"00-{trace_of(send):032x}-{id_of(send):016x}-{attributes['traceparent'][-2:]}"
    }
    assert read_trace_header(header) == (trace_of(send), id_of(send), True)


def test_each_batch_has_one_span_whose_context_every_message_has(spans: Spans, queues: Queues) -> None:
    queues.app().publish_batch([{"n": n} for n in range(13)])

    sends = spans.named("send q")
    assert [attributes_of(send)["messaging.batch.message_count"] for send in sends] == [10, 3]
    received = [header for _ in range(2) for _, header in carried(queues)]
    parents = Counter(said.span_id for said in map(read_trace_header, received) if said is not None)
    assert parents == {id_of(sends[0]): 10, id_of(sends[1]): 3}


def test_a_stream_is_below_the_span_in_which_it_was_begun(spans: Spans, queues: Queues) -> None:
    with spans.tracer.start_as_current_span("job") as job:
        stream = queues.app().publish_stream({"n": n} for n in range(3))

    assert len(list(stream)) == 3
    parent = spans.one("send").parent
    assert parent is not None
    assert parent.span_id == job.get_span_context().span_id


def test_what_of_a_batch_is_sent_again_has_no_second_span(spans: Spans) -> None:
    account = Account()
    queues = Queues(SqsClient(account))
    publisher = SqsPublisher(queue_url=queues.url, client=queues.sqs, sleep=lambda seconds: None)
    account.faults = Faults([Fault("SendMessageBatch", FaultKind.FAIL_ENTRIES, entries=(1, 2), times=1)])

    publisher.publish_batch([{"n": n} for n in range(4)])

    assert spans.names == ["send q"]
    assert spans.one("send").status.status_code is StatusCode.UNSET


def test_what_does_not_go_is_an_error_with_awss_code(spans: Spans, queues: Queues) -> None:
    def refuse(real: Any, **parameters: Any) -> Any:
        raise client_error("AccessDenied")

    def refuse_one(real: Any, **parameters: Any) -> Any:
        return {"Failed": [{"Id": "0", "Code": "InternalError", "SenderFault": True}]}

    app = queues.app(client=Faulty(queues.sqs, send_message=refuse, send_message_batch=refuse_one))

    with pytest.raises(Exception, match="AccessDenied"):
        app.publish("x")
    with pytest.raises(PublishError):
        app.publish_batch(["x"])

    assert [attributes_of(send)["error.type"] for send in spans.named("send")] == ["AccessDenied", "InternalError"]
    assert {send.status.status_code for send in spans.named("send")} == {StatusCode.ERROR}
    assert {send.status.description for send in spans.named("send")} == {None}


def test_what_is_refused_before_any_call_has_no_span(spans: Spans, queues: Queues) -> None:
    with pytest.raises(EncodeError):
        queues.app().publish("x", trace_header="nonsense")

    assert spans.all == []


def test_baggage_goes_along_and_one_place_of_ten_stays_free(spans: Spans, queues: Queues) -> None:
    token = context.attach(baggage.set_baggage("tenant", "acme"))
    try:
        for count in (0, 7, 8, 9, 10):
            queues.app().publish("x", attributes={f"a{number}": "x" for number in range(count)})
    finally:
        context.detach(token)

    found = list(carried(queues))
    assert [sorted(set(attributes) & {"traceparent", "baggage"}) for attributes, _ in found] == [
        ["baggage", "traceparent"],
        ["baggage", "traceparent"],
        ["traceparent"],
        [],
        [],
    ]
    assert [len(attributes) for attributes, _ in found] == [2, 9, 9, 9, 10]
    assert all(header for _, header in found)


def test_what_the_user_propagates_goes_before_what_is_traced(spans: Spans, queues: Queues) -> None:
    app = queues.app()
    app.propagate("x-request-id")
    from megaflow import context as given

    with given({"x-request-id": "r-1"}):
        app.publish("x", attributes={f"a{number}": "x" for number in range(8)})

    ((attributes, _),) = carried(queues)
    assert "x-request-id" in attributes
    assert "traceparent" not in attributes


def test_what_has_no_room_in_bytes_is_left_out(spans: Spans) -> None:
    queues = Queues()
    body = "x" * (1024 * 1024 - 40)

    queues.app().publish(body)
    queues.app().publish_batch(["y", "x" * (1024 * 1024 - 60)])

    found = list(carried(queues)) + list(carried(queues))
    assert [attributes for attributes, _ in found if "traceparent" in attributes] == []
    assert all(header for _, header in found)


def test_the_header_that_the_user_gives_is_not_replaced(spans: Spans, queues: Queues) -> None:
    queues.app().publish("x", trace_header=HEADER, attributes={"traceparent": PARENT})
    queues.app().publish_batch([Outgoing("x", trace_header=HEADER), "y"])

    (first, second, third) = carried(queues)
    assert first == ({"traceparent": PARENT}, HEADER)
    assert second[1] == HEADER
    assert third[1] != HEADER


def test_without_an_sdk_and_without_telemetry_nothing_goes_along(queues: Queues) -> None:
    queues.app().publish("x")
    with recording() as spans:
        queues.app(telemetry=False).publish("y")

    assert spans.all == []
    assert list(carried(queues)) == [({}, ""), ({}, "")]


def test_a_header_without_telemetry_goes_all_the_same(queues: Queues) -> None:
    queues.app(telemetry=False).publish("x", trace_header=HEADER)

    assert list(carried(queues)) == [({}, HEADER)]


def test_nothing_of_opentelemetry_is_imported_where_nobody_has() -> None:
    program = (
        "import sys\n"
        "from megaflow import App\n"
        "from megaflow.testing import TestClient\n"
        "app = App()\n"
        "app.on_message(handler_name='all')(lambda message: None)\n"
        "with TestClient(app) as client:\n"
        "    client.publish('x')\n"
        "    client.run()\n"
        "print([name for name in sys.modules if 'opentelemetry' in name])\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert said.stdout == "[]\n", said.stderr


@pytest.mark.parametrize("given", ["yes", None, 1, Telemetry])
def test_an_odd_telemetry_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="telemetry="):
        App(telemetry=given)


def test_an_odd_trace_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="trace='child' must be one of 'parent', 'link'"):
        Telemetry(trace="child")  # type: ignore[arg-type]


# What is received


def test_a_message_is_processed_in_its_senders_trace_and_all_else_is_linked(spans: Spans, queues: Queues) -> None:
    app, done = queues.app(), threading.Event()

    @app.on_text("x")
    def handle(text: str) -> None: ...

    @app.on_text("x")
    async def ahandle(text: str) -> None: ...

    app.on_verdict(lambda verdict: done.set())
    app.publish("x")
    consume(app, done)

    send, process = spans.one("send"), spans.one("process q")
    receive, settle = spans.one("receive q"), spans.one("settle q")
    assert process.parent is not None
    assert process.parent.span_id == id_of(send)
    assert links_of(process) == [id_of(receive)]
    assert links_of(receive) == links_of(settle) == [id_of(send)]
    assert (receive.parent, settle.parent) == (None, None)
    assert [span.name.rpartition(".")[2] for span in spans.below(process)] == ["handle", "ahandle"]
    kinds = {span.name.split()[0]: span.kind.name for span in spans.ours}
    assert kinds == {name.split()[0]: kind for name, (kind, _) in SPANS.items()}
    assert attributes_of(settle)["megaflow.settlement"] == "delete"
    assert attributes_of(receive)["messaging.batch.message_count"] == 1


def test_what_is_processed_says_what_became_of_it(spans: Spans, queues: Queues) -> None:
    app, done = queues.app(), threading.Event()

    @app.on_text("x", handler_name="later")
    def later(text: str) -> None:
        raise RetryLater

    @app.on_text("x", handler_name="broken", retry_on=ValueError)
    def broken(text: str) -> None:
        raise ValueError("with a secret: 1234")

    app.on_verdict(lambda verdict: done.set())
    app.publish("x")
    consume(app, done)

    process = spans.one("process")
    said = attributes_of(process)
    assert 0 <= said.pop("megaflow.time_in_queue") < PATIENCE
    assert said.pop("messaging.message.id")
    assert said == {
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "q",
        "aws.sqs.queue.url": queues.url,
        "megaflow.receive_count": 1,
        "megaflow.handler": "later, broken",
        "megaflow.status": "RETRY_LATER, RETRIABLE_ERROR",
        "megaflow.fate": "kept",
        "error.type": "ValueError",
    }
    assert process.status.status_code is StatusCode.ERROR
    first, second = spans.named("handle")
    assert attributes_of(first) == {"megaflow.handler": "later", "megaflow.status": "RETRY_LATER"}
    assert first.status.status_code is StatusCode.UNSET
    assert attributes_of(second)["error.type"] == "ValueError"
    assert not any("1234" in span.to_json() for span in spans.all)
    assert [attributes_of(span)["megaflow.settlement"] for span in spans.named("settle")] == ["hide"]


def test_with_link_a_message_is_a_trace_of_its_own(spans: Spans, queues: Queues) -> None:
    app, done = queues.app(telemetry=Telemetry(trace="link")), threading.Event()
    seen: list[Any] = []

    @app.on_text("x")
    def handle(text: str) -> None:
        seen.append(baggage.get_baggage("tenant"))

    app.on_verdict(lambda verdict: done.set())
    token = context.attach(baggage.set_baggage("tenant", "acme"))
    app.publish("x")
    context.detach(token)
    consume(app, done)

    process = spans.one("process")
    assert process.parent is None
    assert links_of(process) == [id_of(spans.one("send")), id_of(spans.one("receive"))]
    assert trace_of(process) == trace_of(spans.one("handle"))
    assert seen == ["acme"]


def test_attributes_go_before_the_header_and_strangers_nonsense_is_nothing(spans: Spans, queues: Queues) -> None:
    app = queues.app()
    parents: dict[str, str] = {}

    @app.on_message()
    def handle(message: Any) -> None:
        span = trace.get_current_span().get_span_context()
        parents[message.body] = f"{span.trace_id:032x}"

    def send(body: str, header: str = "", **attributes: str) -> None:
        system = {"AWSTraceHeader": {"DataType": "String", "StringValue": header}} if header else {}
        carried = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        queues.sqs.send_message(
            QueueUrl=queues.url, MessageBody=body, MessageAttributes=carried, MessageSystemAttributes=system
        )

    send("both", HEADER, traceparent=PARENT)
    send("header", HEADER)
    send("broken attribute", HEADER, traceparent="00-zz")
    send("baggage alone", HEADER, baggage="a=b")
    send("no parent", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1")
    send("zeros", "Root=1-00000000-000000000000000000000000;Parent=0000000000000000")
    with running(app):
        wait_until(lambda: len(parents) == 6)

    root = "5759e988bd862e3fe1be46a994272793"
    assert parents["both"] == PARENT.split("-")[1]
    assert [parents[name] for name in ("header", "broken attribute", "baggage alone")] == [root] * 3
    assert parents["no parent"] != root
    assert int(parents["zeros"], 16) != 0


def test_who_sends_unsampled_is_followed_and_below_it_there_is_no_handle(queues: Queues) -> None:
    with recording(sampler=ParentBased(TraceIdRatioBased(1))) as spans:
        app, done = queues.app(), threading.Event()

        @app.on_text("x")
        def handle(text: str) -> None:
            with spans.tracer.start_as_current_span("below"):
                pass

        app.on_verdict(lambda verdict: done.set())
        app.publish("x", trace_header=HEADER.replace("Sampled=1", "Sampled=0"), attributes={"traceparent": "none"})
        spans.clear()
        consume(app, done)

    assert [name for name in (span.name for span in spans.all) if name.split()[0] not in ("receive", "settle")] == []


def test_where_nothing_is_sampled_all_works_and_the_flag_says_so(queues: Queues) -> None:
    with recording(sampler=ALWAYS_OFF) as spans:
        app, done = queues.app(), threading.Event()

        @app.on_text("x")
        async def handle(text: str) -> None: ...

        app.on_verdict(lambda verdict: done.set())
        app.publish("x")
        ((attributes, header),) = carried(queues)
        app.publish("x")
        consume(app, done)

    assert spans.all == []
    assert int(attributes["traceparent"][-2:], 16) & TraceFlags.SAMPLED == 0
    assert header.endswith("Sampled=0")


def test_what_a_handler_does_is_below_it_and_what_it_publishes_too(spans: Spans, queues: Queues) -> None:
    app, done = queues.app(), threading.Event()

    def work(name: str) -> None:
        with spans.tracer.start_as_current_span(name):
            pass

    @app.on_text("x", handler_name="plain")
    def plain(text: str) -> None:
        work("in plain")
        app.publish("y")

    @app.on_text("x", handler_name="asynchronous")
    async def asynchronous(text: str) -> None:
        await asyncio.sleep(0)
        work("in async")
        await asyncio.to_thread(work, "in a thread of it")

    @app.on_text("x", handler_name="timed", timeout=60)
    def timed(text: str) -> None:
        work("in timed")

    @app.on_text("y", handler_name="last")
    def last(text: str) -> None:
        done.set()

    app.publish("x")
    consume(app, done)

    found = {handle.name: [span.name for span in spans.below(handle)] for handle in spans.named("handle")}
    assert found == {
        "handle plain": ["in plain", "send q"],
        "handle asynchronous": ["in async", "in a thread of it"],
        "handle timed": ["in timed"],
        "handle last": [],
    }
    assert len({trace_of(span) for span in spans.all if span.name.split()[0] not in ("receive", "settle")}) == 1


def test_where_run_is_called_in_a_span_messages_are_no_part_of_it(spans: Spans, queues: Queues) -> None:
    app, done = queues.app(telemetry=True), threading.Event()
    app.on_text("x")(lambda text: None)
    app.on_verdict(lambda verdict: done.set())
    queues.sqs.send_message(QueueUrl=queues.url, MessageBody="x")

    def run() -> None:
        with spans.tracer.start_as_current_span("main"):
            app.run()

    thread = threading.Thread(target=run)
    thread.start()
    assert done.wait(PATIENCE)
    app.stop()
    thread.join(PATIENCE)

    assert spans.one("process").parent is None


def test_a_handler_that_has_not_returned_in_its_time_ends_its_spans(spans: Spans, queues: Queues) -> None:
    app, release, gone = queues.app(), threading.Event(), threading.Event()

    @app.on_text("x", handler_name="stuck", timeout=0.05)
    def stuck(text: str) -> None:
        release.wait(PATIENCE)
        gone.set()

    app.publish("x")
    with running(app):
        handle, process = spans.one("handle"), spans.one("process")
        release.set()
        assert gone.wait(PATIENCE)

    assert attributes_of(handle)["error.type"] == attributes_of(process)["error.type"] == "timeout"
    assert process.status.status_code is StatusCode.ERROR
    assert Counter(name for name in spans.names if name.split()[0] in ("handle", "process")) == {
        "handle stuck": 1,
        "process q": 1,
    }


def test_what_is_under_way_as_the_consumer_ends_ends_its_spans(spans: Spans, queues: Queues) -> None:
    app, release, begun = queues.app(shutdown_timeout=0.05), threading.Event(), threading.Event()

    @app.on_text("x", handler_name="slow")
    def slow(text: str) -> None:
        begun.set()
        release.wait(PATIENCE)

    app.publish("x")
    with running(app):
        assert begun.wait(PATIENCE)

    assert attributes_of(spans.one("handle"))["error.type"] == "given_up"
    assert attributes_of(spans.one("process"))["error.type"] == "given_up"
    release.set()


def test_what_waits_for_its_turn_as_the_consumer_ends_ends_its_span(spans: Spans, queues: Queues) -> None:
    app = queues.app()

    @app.on_text("x", handler_name="seen")
    def see(text: str) -> None: ...

    @app.on_text("x", handler_name="limited", rate="1/h")
    def count(text: str) -> None: ...

    app.publish_batch(["x", "x"])
    with running(app):
        wait_until(lambda: len(spans.named("handle")) == 3)

    errors = {attributes_of(each).get("error.type") for each in spans.named("process")}
    assert errors == {None, "given_up"}


@pytest.mark.parametrize(("name", "options"), [("_select", {}), ("_decide", {"progress": MemoryStore()})])
def test_a_message_that_crashes_ends_its_span(
    name: str, options: dict[str, Any], spans: Spans, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = queues.app(**options)

    @app.on_text("x")
    def handle(text: str) -> None: ...

    def crash(*args: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(parts_of(app).assembly.processor(), name, crash)
    app.publish("x")
    with running(app):
        process = spans.one("process")

    assert attributes_of(process)["error.type"] == "MemoryError"


def test_a_dead_letter_has_its_trace_and_a_span_of_its_own_kind(spans: Spans, queues: Queues) -> None:
    app, done = queues.app(), threading.Event()

    @app.on_text("x")
    def refuse(text: str) -> None:
        raise Reject("no")

    app.publish("x", trace_header=HEADER, attributes={"traceparent": PARENT})
    with running(app):
        wait_until(lambda: len(spans.named("settle")) == 2)

    (dead,) = queues.receive_dead_letters()
    assert dead["Attributes"]["AWSTraceHeader"] == HEADER
    assert dead["MessageAttributes"]["traceparent"]["StringValue"] == PARENT
    first, second = spans.named("settle")
    assert attributes_of(first)["megaflow.settlement"] == "dead_letter"
    assert "messaging.batch.message_count" not in attributes_of(first)
    assert attributes_of(second)["megaflow.settlement"] == "delete"
    assert done.is_set() is False


def test_an_unmatched_message_that_is_dead_lettered_is_an_error(spans: Spans, queues: Queues) -> None:
    app = queues.app(unmatched="dead_letter")
    app.on_text("y")(lambda text: None)
    app.publish("x")
    with running(app):
        process = spans.one("process")

    assert attributes_of(process)["error.type"] == "unmatched"


def test_a_handler_that_is_skipped_has_no_span(spans: Spans, queues: Queues) -> None:
    store = MemoryStore()
    app = queues.app(progress=store, backoff=lambda count: 0)

    @app.on_text("x", handler_name="good")
    def good(text: str) -> None: ...

    @app.on_text("x", handler_name="bad", retry_on=ValueError)
    def bad(text: str) -> None:
        if len(spans.named("process")) == 0:
            raise ValueError

    app.publish("x")
    with running(app):
        wait_until(lambda: len(spans.named("process")) == 2)

    assert Counter(span.name for span in spans.named("handle")) == {"handle good": 1, "handle bad": 2}


def test_extending_a_lease_and_polls_that_bring_nothing_have_no_span(spans: Spans, queues: Queues) -> None:
    app = queues.app(wait_time_seconds=0)
    app.on_text("y")(lambda text: None)
    polled = threading.Event()

    def receive(real: Any, **parameters: Any) -> Any:
        polled.set()
        return real(**parameters)

    idle = queues.app(client=Faulty(queues.sqs, receive_message=receive))
    idle.on_text("y")(lambda text: None)
    consume(idle, polled)

    assert spans.all == []


def test_process_is_below_what_is_current(spans: Spans) -> None:
    app = App()

    @app.on_text("x", handler_name="handle")
    def handle(text: str) -> None: ...

    async def aprocess() -> None:
        with spans.tracer.start_as_current_span("request"):
            await app.aprocess("x")
            assert trace.get_current_span().name == "request"  # type: ignore[attr-defined]

    with spans.tracer.start_as_current_span("request"):
        app.process("x")
        assert trace.get_current_span().name == "request"  # type: ignore[attr-defined]
    asyncio.run(aprocess())

    requests = [span for span in spans.all if span.name == "request"]
    assert [[each.name for each in spans.below(request)] for request in requests] == [["process"], ["process"]]


def test_the_test_client_has_the_same_spans(spans: Spans) -> None:
    app = App()

    @app.on_data({"type": "order"}, handler_name="handle")
    def handle(payload: Any) -> None: ...

    with TestClient(app) as client:
        client.publish({"type": "order"})
        client.run()

    assert {name.split()[0] for name in spans.names} >= {"receive", "process", "handle", "settle"}
    assert len({trace_of(span) for span in spans.ours if span.name.split()[0] in ("send", "process", "handle")}) == 1


def test_in_lambda_a_message_of_nobodys_trace_is_below_the_invocation(spans: Spans, queues: Queues) -> None:
    from tests.verdicts.drivers import write_record

    app = queues.app()

    @app.on_text("x")
    def handle(text: str) -> None: ...

    app.publish("x")
    queues.sqs.send_message(QueueUrl=queues.url, MessageBody="x")
    answer = queues.sqs.receive_message(
        QueueUrl=queues.url,
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
    )
    records = [write_record(each, queues.arn(queues.url)) for each in answer["Messages"]]
    with spans.tracer.start_as_current_span("invocation") as invocation:
        app.lambda_handler()({"Records": records})

    own = invocation.get_span_context().span_id
    found = {span.parent.span_id: links_of(span) for span in spans.named("process") if span.parent is not None}
    assert found == {id_of(spans.one("send")): [own], own: []}


class Broken(SpanProcessor):
    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise OSError("the disk of the traces is full")

    def on_end(self, span: Any) -> None:
        raise OSError("the disk of the traces is full")


def test_a_broken_span_processor_harms_no_message(
    spans: Spans, queues: Queues, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    spans.provider.add_span_processor(Broken())
    app, done = queues.app(), threading.Event()
    app.on_text("x")(lambda text: done.set())
    app.publish("x")
    consume(app, done)

    wait_until(lambda: queues.depth() == (0, 0))
    assert "could not be started" in caplog.text


def test_every_attribute_is_in_the_table_and_at_the_spans_that_it_names(spans: Spans, queues: Queues) -> None:
    app, done = queues.app(), threading.Event()

    @app.on_text("x")
    def refuse(text: str) -> None:
        raise Reject("no")

    app.on_text("last")(lambda text: done.set())
    app.publish_batch(["x", "x"])
    app.publish("last")
    consume(app, done)

    for span in spans.ours:
        kind = span.name.split()[0]
        for name in attributes_of(span):
            assert kind in ATTRIBUTES[name][0], (span.name, name)


# The wire, and boto3


@pytest.fixture
def server() -> Iterator[Account]:
    account = Account()
    with Server(account):
        yield account


def test_beside_the_instrumentation_of_botocore_the_wire_stays_on_and_each_call_has_one_span(
    server: Account, spans: Spans
) -> None:
    url = SqsClient(server).create_queue(QueueName="q")["QueueUrl"]
    before = SqsPublisher(queue_url=url, **reaching(server.url))
    before.publish("before")
    with instrumented():
        before.publish("during")
        after = SqsPublisher(queue_url=url, **reaching(server.url))
        after.publish("after")

    assert isinstance(after.client, WireClient)
    assert [span.name for span in spans.all] == ["send q"] * 3
    assert all(attributes_of(span)["aws.request_id"] for span in spans.all)
    assert {attributes_of(span)["server.address"] for span in spans.all} == {"127.0.0.1"}


def test_calls_by_way_of_boto3_have_no_second_span_and_its_own_calls_have(server: Account, spans: Spans) -> None:
    sqs = SqsClient(server)
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    topic = boto3.client("sns", **reaching(server.url)).create_topic(Name="t")["TopicArn"]
    app, done = App(url, wire=False, **reaching(server.url)), threading.Event()
    app.on_text()(lambda text: done.set())
    with instrumented():
        app.publish_batch(["x"] * 3)
        SnsPublisher(topic_arn=topic, **reaching(server.url)).publish_batch(["x"] * 3)
        consume(app, done)
        wait_until(
            lambda: (
                sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"][
                    "ApproximateNumberOfMessagesNotVisible"
                ]
                == "0"
            )
        )
        boto3.client("sqs", **reaching(server.url)).get_queue_url(QueueName="q")

    assert {span.name for span in spans.all if span not in spans.ours} == {"SQS.GetQueueUrl"}
    assert Counter(name.split()[0] for name in spans.names)["send"] == 2


def test_without_telemetry_the_instrumentation_has_its_spans_and_the_wire_steps_aside(
    server: Account, spans: Spans
) -> None:
    url = SqsClient(server).create_queue(QueueName="q")["QueueUrl"]
    with instrumented():
        publisher = SqsPublisher(queue_url=url, telemetry=False, **reaching(server.url))
        publisher.publish("x")

    assert not isinstance(publisher.client, WireClient)
    assert [span.name for span in spans.all] == ["SQS.SendMessage"]


def test_of_a_topic_only_a_batch_whose_entries_share_a_context_has_the_header(server: Account, spans: Spans) -> None:
    sqs, sns = SqsClient(server), boto3.client("sns", **reaching(server.url))
    url, topic = sqs.create_queue(QueueName="q")["QueueUrl"], sns.create_topic(Name="t")["TopicArn"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    publisher, sent = SnsPublisher(topic_arn=topic, client=sns), []
    sns.meta.events.register("before-send.sns", lambda request, **_: sent.append(str(request.headers["Authorization"])))

    def headers() -> list[str]:
        asked = {"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"]}
        received = sqs.receive_message(QueueUrl=url, **asked).get("Messages", ())
        return [each["Attributes"].get("AWSTraceHeader", "") for each in received]

    publisher.publish_batch(["x", "y"])
    shared = headers()
    publisher.publish_batch([Outgoing("x", trace_header=HEADER), "y"])
    mixed = headers()
    publisher.publish("x", trace_header=HEADER)
    alone = headers()
    sns.publish(TopicArn=topic, Message="by somebody else")

    assert len(set(shared)) == 1
    assert shared[0]
    assert mixed == ["", ""]
    assert alone == [HEADER]
    assert headers() == [""]
    assert sent
    assert not any("x-amzn-trace-id" in authorization for authorization in sent)
    assert attributes_of(spans.named("send t")[0])["aws.sns.topic.arn"] == topic
    assert attributes_of(spans.named("send t")[0])["messaging.system"] == "aws.sns"


def test_in_a_lambda_function_the_header_keeps_what_lambda_knows_circles_by(
    spans: Spans, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"{HEADER};Lineage=a87bd80c:1|68fd508a:5")

    queues.app().publish("x")

    ((_, header),) = carried(queues)
    assert header.endswith(";Sampled=1;Lineage=a87bd80c:1|68fd508a:5")
    assert read_trace_header(header) is not None
