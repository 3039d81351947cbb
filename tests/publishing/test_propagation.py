"""Propagation: the attributes that go on from the message in hand, or from a request, to what is published for it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import pytest
from botocore.config import Config

import megaflow
from megaflow import (
    App,
    Attribute,
    ConfigurationError,
    EncodeError,
    Message,
    Outgoing,
    SqsPublisher,
    UsageError,
    current_message,
)
from megaflow.limits import SQS_MESSAGE_SIZE
from megaflow.local.server import Server
from megaflow.messages.message import open_message
from megaflow.publishing import outgoing
from megaflow.telemetry import current
from megaflow.testing import TestClient
from tests.fakes import ScriptedClient

URL = "https://sqs.us-east-1.amazonaws.com/000000000000/orders"
REQUEST = {"x-request-id": Attribute("String", "r-1")}


@pytest.fixture(autouse=True)
def say_again() -> None:
    """Let what is said once be said in each test."""
    outgoing._tell_left_out.cache_clear()
    current._tell_refused.cache_clear()


class Publishing:
    """An app that publishes as it is told while it handles a message, and what was then sent."""

    def __init__(self, publish: Callable[[App], object], **options: Any) -> None:
        self.client = ScriptedClient()
        self.app = App(URL, client=self.client, retry_on=(), **options)
        self.app.propagate("x-request-id", "tenant")
        self.app.on_message()(self.handle_message)
        self._publish = publish

    def publish(self) -> object:
        return self._publish(self.app)

    def handle_message(self, message: Message) -> Any:
        said = self._publish(self.app)
        return said if inspect.isawaitable(said) else None

    def handle(self, attributes: Mapping[str, Attribute] = REQUEST, body: str = "ping") -> None:
        verdict = self.app.process(open_message(body, id="m", sqs_attributes=attributes))
        assert verdict.deletes, verdict.outcomes

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The attributes of each message that was sent, as values or, where they are no text, as boto3 takes them."""
        entries = [each for _, asked in self.client.calls for each in asked.get("Entries", [asked])]
        return [
            {name: each.get("StringValue", each) for name, each in entry.get("MessageAttributes", {}).items()}
            for entry in entries
        ]


def publish_outgoing(app: App) -> object:
    return app.publish_batch([Outgoing("a"), Outgoing("b", attributes={"tenant": "mine"})])


WAYS: list[tuple[Callable[[App], object], int]] = [
    (lambda app: app.publish("a"), 1),
    (lambda app: app.publish({"id": 1}), 1),
    (lambda app: app.publish(b"\0"), 1),
    (lambda app: app.publish_raw_message("a"), 1),
    (lambda app: app.publish_batch(["a", {"id": 1}]), 2),
    (lambda app: list(app.publish_stream(map(str, range(12)))), 12),
    (lambda app: list(app.publish_stream(["a"], raw=True)), 1),
    (publish_outgoing, 2),
]


@pytest.mark.parametrize(("publish", "count"), WAYS)
def test_every_way_to_publish_takes_along_what_is_named(publish: Callable[[App], object], count: int) -> None:
    publishing = Publishing(publish)

    publishing.handle({**REQUEST, "other": Attribute("String", "stays")})

    assert [each["x-request-id"] for each in publishing.sent] == ["r-1"] * count
    assert not any("other" in each for each in publishing.sent)


def test_nothing_is_taken_along_where_nothing_is_in_hand_or_nothing_named() -> None:
    publishing = Publishing(lambda app: app.publish("a"))

    publishing.publish()
    publishing.handle({})
    publishing.app.process("ping")

    assert publishing.sent == [{}, {}, {}]


def test_what_a_message_is_published_with_goes_before() -> None:
    publishing = Publishing(lambda app: app.publish("a", attributes={"x-request-id": "mine", "more": 1}))

    publishing.handle({**REQUEST, "tenant": Attribute("String", "acme")})

    assert publishing.sent == [{"x-request-id": "mine", "more": "1", "tenant": "acme"}]


def test_types_go_on_as_they_came() -> None:
    given = {"x-request-id": Attribute("Number.id", "007"), "tenant": Attribute("Binary.key", b"\1")}
    publishing = Publishing(lambda app: app.publish("a"))

    publishing.handle(given)

    assert publishing.sent == [{"x-request-id": "007", "tenant": {"DataType": "Binary.key", "BinaryValue": b"\1"}}]
    assert publishing.client.asked["MessageAttributes"]["x-request-id"]["DataType"] == "Number.id"


def test_async_handlers_tasks_and_streams_that_are_read_later_do_the_same() -> None:
    streams: list[Iterator[object]] = []

    async def publish_later(app: App) -> None:
        await asyncio.gather(asyncio.to_thread(app.publish, "a"), asyncio.create_task(publish(app)))
        streams.append(app.publish_stream(["c"]))

    async def publish(app: App) -> None:
        app.publish("b")

    publishing = Publishing(publish_later)

    publishing.handle()
    for stream in streams:
        list(stream)

    assert publishing.sent == [{"x-request-id": "r-1"}] * 3


def test_a_context_gives_them_in_a_request() -> None:
    publishing = Publishing(lambda app: app.publish("a"))

    with megaflow.context({"x-request-id": "r-1", "user": "not named, so that it is only in the log"}):
        publishing.publish()
        with megaflow.context({"tenant": 7}):
            publishing.publish()
    publishing.publish()

    assert publishing.sent == [{"x-request-id": "r-1"}, {"x-request-id": "r-1", "tenant": "7"}, {}]


def test_a_context_within_a_handler_goes_before_its_message_which_is_still_in_hand() -> None:
    seen: list[object] = []

    def publish(app: App) -> None:
        with megaflow.context({"x-request-id": "other"}):
            seen.append(current_message())
            app.publish("a")
        app.publish("b")

    publishing = Publishing(publish)
    publishing.handle({**REQUEST, "tenant": Attribute("String", "acme")})

    assert publishing.sent == [
        {"x-request-id": "other", "tenant": "acme"},
        {"x-request-id": "r-1", "tenant": "acme"},
    ]
    assert isinstance(seen[0], Message)


def test_a_message_that_is_handled_within_a_context_has_its_own_alone() -> None:
    publishing = Publishing(lambda app: app.publish("a"))

    with megaflow.context({"x-request-id": "outside", "tenant": "outside"}):
        publishing.handle()
        publishing.publish()

    assert publishing.sent == [{"x-request-id": "r-1"}, {"x-request-id": "outside", "tenant": "outside"}]


def test_a_context_that_is_left_elsewhere_than_it_was_entered_does_no_harm() -> None:
    """So do frameworks with what a request depends on."""
    entered = megaflow.context({"x-request-id": "r-1"})

    async def enter() -> None:
        entered.__enter__()

    async def main() -> None:
        await asyncio.create_task(enter())
        entered.__exit__(None, None, None)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"x-request-id": ""}, r"context\.x-request-id: is empty"),
        ({"x-request-id": "a\0"}, r"context\.x-request-id: holds '\\x00'"),
        ({"x-request-id": None}, "None is no text, number or bytes"),
        ({"x-request-id": float("inf")}, "inf is no text, number or bytes"),
        ({"x request": "a"}, r"context\.x request: a name is up to 256 letters"),
        ({"AWS.trace": "a"}, "a name is up to 256 letters"),
    ],
)
def test_what_aws_would_refuse_is_refused_where_it_is_given(attributes: Any, said: str) -> None:
    with pytest.raises(EncodeError, match=said):
        megaflow.context(attributes)


def test_what_is_no_mapping_or_megaflows_own_is_refused() -> None:
    with pytest.raises(UsageError, match="takes names and values"):
        megaflow.context("x-request-id")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"megaflow-origin is megaflow's own"):
        megaflow.context({"megaflow-origin": "{}"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("megaflow-kind", "megaflow-kind is megaflow's own"),
        ("x request", "not 'x request': a name is up to 256 letters"),
        (["x-request-id"], r"one after another, not \['x-request-id'\]"),
        ("amazon.x", "not 'amazon.x'"),
    ],
)
def test_a_name_that_no_attribute_can_have_is_refused(name: Any, said: str) -> None:
    app = App(URL)

    with pytest.raises(ConfigurationError, match=said):
        app.propagate("good", name)

    assert app._destination.propagation.names == ()


@pytest.mark.parametrize(("own", "taken"), [(7, 2), (8, 1), (9, 0), (10, 0)])
def test_one_of_ten_places_stays_free(own: int, taken: int, caplog: pytest.LogCaptureFixture) -> None:
    mine = {f"own-{number}": "x" for number in range(own)}
    publishing = Publishing(lambda app: [app.publish("a", attributes=mine) for _ in range(2)])

    publishing.handle({**REQUEST, "tenant": Attribute("String", "acme")})

    names = ["x-request-id", "tenant"]
    assert [set(each) - set(mine) for each in publishing.sent] == [set(names[:taken])] * 2
    said = [record.getMessage() for record in caplog.records if "no room" in record.getMessage()]
    assert [next(name for name in names if name in text) for text in said] == names[taken:]


def test_a_hint_of_the_kind_has_its_place_before() -> None:
    mine = {f"own-{number}": "x" for number in range(8)}
    publishing = Publishing(lambda app: app.publish('{"id": 7}', attributes=mine))

    publishing.handle()

    (sent,) = publishing.sent
    assert set(sent) - set(mine) == {"megaflow-kind"}


def test_what_would_make_a_message_too_large_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    room = len("x-request-idStringr-1")
    publishing = Publishing(
        lambda app: [app.publish("x" * (SQS_MESSAGE_SIZE - room + more)) for more in (0, 1, room)],
    )

    publishing.handle()

    assert publishing.sent == [{"x-request-id": "r-1"}, {}, {}]
    assert [record.levelno for record in caplog.records if "no room" in record.getMessage()] == [logging.WARNING]


ENVELOPE = """{"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:us-east-1:000000000000:t",
"Message": "ping", "Timestamp": "2020-06-12T17:29:58.000Z",
"MessageAttributes": {"x-request-id": {"Type": "String", "Value": %s}, "tenant": {"Type": "Number", "Value": "%s"}}}"""


def test_what_nobody_can_have_sent_does_not_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """An envelope is a body, and anybody can write one."""
    publishing = Publishing(lambda app: app.publish("a"))

    for body in (
        ENVELOPE % ('"r-1"', "7"),
        ENVELOPE % (r'"\u0000"', "1e300"),
        ENVELOPE % ('""', "9" * 39),
    ):
        publishing.handle({}, body)

    assert publishing.sent == [{"x-request-id": "r-1", "tenant": "7"}, {}, {}]
    assert sum("AWS takes from nobody" in record.getMessage() for record in caplog.records) == 2


def test_other_publishers_take_along_what_they_are_told_to() -> None:
    silent, told = ScriptedClient(), ScriptedClient()
    other = SqsPublisher(queue_url=URL, client=silent)
    another = SqsPublisher(queue_url=URL, client=told)
    another.propagate("x-request-id")
    publishing = Publishing(lambda app: [each.publish("a") for each in (other, another)])

    publishing.handle()

    assert "MessageAttributes" not in silent.asked
    assert set(told.asked["MessageAttributes"]) == {"x-request-id"}


def test_an_app_that_is_connected_elsewhere_propagates_there() -> None:
    publishing = Publishing(lambda app: app.publish("a"))
    elsewhere = ScriptedClient()

    with publishing.app.connected(client=elsewhere):
        publishing.handle()

    assert set(elsewhere.asked["MessageAttributes"]) == {"x-request-id"}


def test_tests_see_it() -> None:
    app = App(retry_on=())
    app.propagate("x-request-id")
    seen = []

    @app.on_text("first")
    def first(text: str) -> None:
        app.publish("second")

    @app.on_text("second")
    def second(message: Message) -> None:
        seen.append(message.attributes)

    with TestClient(app) as client:
        client.publish("first", attributes={"x-request-id": "r-1"})

    assert seen == [{"x-request-id": "r-1"}]


@pytest.mark.parametrize("raw", [True, False])
def test_over_http_by_way_of_a_topic_and_back_again(raw: bool) -> None:
    """Real boto3: a request publishes to a topic, a handler to the next queue, and its dead letters keep it."""
    with Server() as server:
        session = boto3.Session(aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1")
        sqs, sns = (session.client(name, endpoint_url=server.url, config=Config(proxies={})) for name in ("sqs", "sns"))
        topic = sns.create_topic(Name="orders")["TopicArn"]
        queues = [sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("first", "second", "dead")]
        arn = sqs.get_queue_attributes(QueueUrl=queues[0], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        delivery = {"RawMessageDelivery": str(raw).lower()}
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=delivery)

        web = App(topic_arn=topic, sns_client=sns)
        first = App(queues[0], client=sqs, retry_on=(), wait_time_seconds=1)
        second = App(queues[1], client=sqs, retry_on=(), wait_time_seconds=1, dead_letter_queue_url=queues[2])
        for app in (web, first, second):
            app.propagate("x-request-id")

        @first.on_text("order")
        def forward(text: str) -> None:
            second.publish_batch(["a", "b"], attributes={f"own-{number}": "x" for number in range(8)})
            first.stop()

        failed: list[str] = []

        @second.on_text()
        def fail(text: str) -> None:
            failed.append(text)
            if len(failed) == 2:
                second.stop()
            raise ValueError("no")

        with megaflow.context({"x-request-id": "r-1"}):
            web.publish("order")
        first.run()
        second.run()

        found = sqs.receive_message(QueueUrl=queues[2], MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        for client in (sqs, sns):
            client.close()
    attributes = [each["MessageAttributes"] for each in found["Messages"]]
    assert [each["x-request-id"]["StringValue"] for each in attributes] == ["r-1", "r-1"]
    assert all("megaflow-origin" in each and len(each) == 10 for each in attributes)
