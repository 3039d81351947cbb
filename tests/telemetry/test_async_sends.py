"""Spans of what coroutines send: a call keeps its own, and its own context, where it shares a request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from megaflow import SnsPublisher, SqsPublisher
from megaflow.errors import PublishError
from megaflow.telemetry.trace_header import read_trace_header
from tests.fakes import ScriptedClient, batch
from tests.telemetry.spans import Spans, attributes_of, id_of, recording, trace_of

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/orders"
TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recording() as spans:
        yield spans


async def publish_each(publisher: Any, spans: Spans, bodies: str) -> list[Any]:
    async def call(body: str) -> Any:
        with spans.tracer.start_as_current_span(f"job {body}"):
            return await publisher.apublish(body)

    return await asyncio.gather(*map(call, bodies), return_exceptions=True)


def entries_of(client: ScriptedClient) -> list[Any]:
    ((_, parameters),) = client.calls
    return list(parameters.get("Entries") or parameters["PublishBatchRequestEntries"])


@pytest.mark.parametrize(
    "make", [lambda c: SqsPublisher(queue_url=URL, client=c), lambda c: SnsPublisher(topic_arn=TOPIC, client=c)]
)
def test_calls_that_share_a_request_have_a_span_and_a_context_each(spans: Spans, make: Any) -> None:
    client = ScriptedClient()

    ids = asyncio.run(publish_each(make(client), spans, "abc"))

    sends = spans.named("send")
    assert len(sends) == 3
    jobs = {span.name: span for span in spans.all if span.name.startswith("job")}
    parents = {span.parent.span_id: span for span in sends if span.parent is not None}
    for body, entry, message_id in zip("abc", entries_of(client), ids, strict=True):
        send = parents[id_of(jobs[f"job {body}"])]
        assert trace_of(send) == trace_of(jobs[f"job {body}"])
        said = entry["MessageAttributes"]["traceparent"]["StringValue"]
        assert said.startswith(f"00-{trace_of(send):032x}-{id_of(send):016x}-")
        if "MessageSystemAttributes" in entry:
            header = read_trace_header(entry["MessageSystemAttributes"]["AWSTraceHeader"]["StringValue"])
            assert header == (trace_of(send), id_of(send), True)
        assert attributes_of(send)["messaging.message.id"] == message_id
        assert "messaging.batch.message_count" not in attributes_of(send)


def test_one_that_is_alone_has_its_span_below_what_was_current(spans: Spans) -> None:
    publisher = SqsPublisher(queue_url=URL, client=ScriptedClient())

    asyncio.run(publish_each(publisher, spans, "a"))

    send = spans.one("send")
    (job,) = (span for span in spans.all if span.name == "job a")
    assert send.parent is not None
    assert send.parent.span_id == id_of(job)
    assert attributes_of(send)["messaging.message.id"] == "id of a"


def test_the_span_of_the_one_that_failed_says_so_alone(spans: Spans) -> None:
    publisher = SqsPublisher(queue_url=URL, client=ScriptedClient(batch(faulty=("b",), silent=("c",))))

    answers = asyncio.run(publish_each(publisher, spans, "abc"))

    assert answers[0] == "id of a"
    assert isinstance(answers[2], PublishError)
    said = [(attributes_of(send).get("error.type"), send.status.status_code) for send in spans.named("send")]
    assert said == [
        (None, StatusCode.UNSET),
        ("InvalidMessageContents", StatusCode.ERROR),
        ("NoAnswer", StatusCode.ERROR),
    ]


def test_what_goes_along_stays_within_the_size_of_a_batch(spans: Spans) -> None:
    client = ScriptedClient()
    publisher = SnsPublisher(topic_arn=TOPIC, client=client, max_message_size=1_000)

    async def main() -> None:
        await asyncio.gather(*[publisher.apublish("x" * 490) for _ in range(2)])

    asyncio.run(main())

    assert len(spans.named("send")) == 2
    assert [("MessageAttributes" in entry) for entry in entries_of(client)] == [False, False]


def test_batches_and_streams_are_below_what_was_current_where_they_were_called(spans: Spans) -> None:
    publisher = SqsPublisher(queue_url=URL, client=ScriptedClient())

    async def main() -> None:
        with spans.tracer.start_as_current_span("job"):
            await publisher.apublish_batch(["a", "b"])
            stream = publisher.apublish_stream(["c"])
        assert [each.failure async for each in stream] == [None]

    asyncio.run(main())

    (job,) = (span for span in spans.all if span.name == "job")
    parents = [send.parent for send in spans.named("send")]
    assert [each and each.span_id for each in parents] == [id_of(job)] * 2
