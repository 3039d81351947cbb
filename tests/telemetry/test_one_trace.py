"""One trace: from a web request through a topic, a queue, two handlers and the dead-letter queue until it is done."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import uvicorn
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from megaflow import App, Reject
from megaflow.app import parts_of
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.local.server import Server
from megaflow.wire.client import WireClient
from tests import forked
from tests.consuming import running
from tests.telemetry.spans import (
    Spans,
    attributes_of,
    id_of,
    instrumented,
    links_of,
    reaching,
    recording,
    scope_of,
    trace_of,
)
from tests.verdicts.drivers import write_record
from tests.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]
TEN = {f"a{number}": "x" for number in range(10)}
"""So many attributes that none of OpenTelemetry's has room: AWS's header alone is left."""


class World:
    """A web server and an app, both as a user has them, and SQS and SNS over HTTP."""

    def __init__(self, account: Account, *, raw: bool = False, count: int = 1, attributes: dict[str, str]) -> None:
        self.account = account
        self.sqs = SqsClient(account)
        sns = SnsClient(account)
        self.topic_arn = sns.create_topic(Name="orders")["TopicArn"]
        self.dead = self.sqs.create_queue(QueueName="dead")["QueueUrl"]
        policy = {"deadLetterTargetArn": self.arn(self.dead), "maxReceiveCount": "5"}
        attributes_of_queue = {"RedrivePolicy": json.dumps(policy)}
        self.queue_url = self.sqs.create_queue(QueueName="stock", Attributes=attributes_of_queue)["QueueUrl"]
        delivery = {"RawMessageDelivery": "true"} if raw else {}
        subscription = {"TopicArn": self.topic_arn, "Protocol": "sqs", "Attributes": delivery}
        sns.subscribe(**subscription, Endpoint=self.arn(self.queue_url))
        self.app = App(self.queue_url, self.topic_arn, wait_time_seconds=1, **reaching(account.url))
        pages = [Route("/orders", self._order, methods=["POST"]), Route("/prices", self._price)]
        self.web = Starlette(routes=pages)
        self.count = count
        self.attributes = attributes
        self.is_mended = False
        self.done: Counter[str] = Counter()
        self.url = ""
        self._add_handlers()

    def arn(self, url: str) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    def depth(self, url: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(map(int, self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))

    def _order(self, request: Request) -> Response:
        orders = [{"type": "order", "number": number} for number in range(self.count)]
        if self.count == 1:
            return JSONResponse(self.app.publish(orders[0], attributes=self.attributes))
        return JSONResponse(self.app.publish_batch(orders, attributes=self.attributes))

    async def _price(self, request: Request) -> Response:
        return JSONResponse(5)

    def _add_handlers(self) -> None:
        own = boto3.client("sqs", **reaching(self.account.url))

        @self.app.on_data({"type": "order"}, handler_name="reserve")
        def reserve(payload: dict[str, Any]) -> None:
            own.get_queue_url(QueueName="stock")
            if not self.is_mended:
                raise Reject("there is a bug in it")
            self.done["reserve"] += 1

        @self.app.on_data({"type": "order"}, handler_name="invoice")
        async def invoice(payload: dict[str, Any]) -> None:
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"{self.url}/prices")).json() == 5
            self.done["invoice"] += 1

    def order(self) -> None:
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/orders", method="POST")) as answer:
            assert answer.status == 200

    def redrive(self) -> None:
        """Do what a person does, on the command line."""
        assert self.depth(self.dead) == self.count
        self.is_mended = True
        command = ("-m", "megaflow", "redrive", "dead", "--endpoint-url", self.account.url, "--region", "us-east-1")
        environment = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
        said = forked.run(*command, env=environment, timeout=PATIENCE)
        assert said.returncode == 0, said.stderr

    def is_done(self) -> bool:
        return self.depth(self.queue_url) == 0 and self.depth(self.dead) == 0 and self.done["reserve"] == self.count


@contextmanager
def serving(web: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(web, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


def consume(world: World) -> None:
    """Order, let it fail, redrive it, and let it be done: in a consumer."""
    with running(world.app):
        world.order()
        wait_until(lambda: world.depth(world.dead) == world.count and world.depth(world.queue_url) == 0)
        world.redrive()
        wait_until(world.is_done)


def invoke(world: World) -> None:
    """Do the same in a Lambda function."""
    handler = world.app.lambda_handler()

    def call() -> None:
        left = world.count
        while left:
            answer = world.sqs.receive_message(
                QueueUrl=world.queue_url,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            )
            records = [write_record(each, world.arn(world.queue_url)) for each in answer["Messages"]]
            assert handler({"Records": records}) == {"batchItemFailures": []}
            left -= len(records)
            for each in answer["Messages"]:
                world.sqs.delete_message(QueueUrl=world.queue_url, ReceiptHandle=each["ReceiptHandle"])

    world.order()
    call()
    world.redrive()
    call()
    assert world.is_done()


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recording() as spans, instrumented():
        HTTPXClientInstrumentor().instrument()
        try:
            yield spans
        finally:
            HTTPXClientInstrumentor().uninstrument()


CASES = [
    pytest.param({}, consume, id="enveloped"),
    pytest.param({"raw": True}, consume, id="raw"),
    pytest.param({"count": 3}, consume, id="in a batch"),
    pytest.param({"count": 3, "raw": True, "attributes": TEN}, consume, id="in a batch, raw, with ten attributes"),
    pytest.param({}, invoke, id="through Lambda"),
    pytest.param({"attributes": TEN}, consume, id="with ten attributes"),
    pytest.param({"raw": True, "attributes": TEN}, consume, id="raw, with ten attributes"),
    pytest.param({"raw": True, "attributes": TEN}, invoke, id="through Lambda, raw, with ten attributes"),
]


@pytest.mark.parametrize(("how", "run"), CASES)
def test_all_that_becomes_of_a_message_is_one_trace(
    how: dict[str, Any], run: Callable[[World], None], spans: Spans
) -> None:
    account = Account()
    with Server(account):
        world = World(account, **{"attributes": {}, **how})
        app = OpenTelemetryMiddleware(world.web, exclude_spans=["receive", "send"])
        with serving(app) as world.url:
            run(world)
        queue_client = parts_of(world.app).destination.queue.client

    count = world.count
    roots = [span for span in spans.all if span.name.split()[0] in ("receive", "settle")]
    rest = [span for span in spans.all if span not in roots]
    assert isinstance(queue_client, WireClient)
    assert len({trace_of(span) for span in rest}) == 1
    assert Counter(span.name for span in rest if scope_of(span) == "megaflow") == {
        "send orders": 1,
        "process stock": 2 * count,
        "handle reserve": 2 * count,
        "handle invoice": 2 * count,
    }
    (send,) = spans.named("send")
    (request,) = (span for span in rest if span.parent is None)
    assert "/orders" in request.name
    assert send.parent is not None
    assert send.parent.span_id == id_of(request)
    for process in spans.named("process"):
        assert process.parent is not None
        assert process.parent.span_id == id_of(send)
        assert [span.name for span in spans.below(process)] == ["handle reserve", "handle invoice"]
    for handle in spans.named("handle reserve"):
        assert [span.name for span in spans.below(handle)] == ["SQS.GetQueueUrl"]
    for handle in spans.named("handle invoice"):
        (client,) = spans.below(handle)
        (served,) = spans.below(client)
        assert (client.name, served.name) == ("GET", "GET /prices")
    # Of all other calls of boto3's there is no span: ours stand for them.
    of_boto3 = [span for span in rest if scope_of(span).startswith("opentelemetry.instrumentation.botocore")]
    assert len(of_boto3) == 2 * count
    assert {scope_of(span) for span in roots} <= {"megaflow"}
    assert all(set(links_of(root)) == {id_of(send)} for root in roots)
    fates = Counter(attributes_of(process)["megaflow.fate"] for process in spans.named("process"))
    assert fates == {"dead-lettered": count, "deleted": count}
