"""The promise: every Python block of the sqs-mega README runs with `mega.` replaced, and does what its text says.

Names that the README leaves open are filled in here; nothing else is changed.
"""

import ast
import importlib
import io
import json
import re
import threading
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import bson
import pytest

from megaflow import App, Message, Payload, ProcessStatus, RegistrationError
from megaflow.aws.sqs.subscribe import SqsListener
from megaflow.event import deserialize_payload
from megaflow.messages.codec import encode
from megaflow.transport.queue import OpenQueue
from tests.waiting import PATIENCE

README = (Path(__file__).parents[1] / "data" / "sqs-mega-python-README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
QUEUE = "https://sqs.us-east-2.amazonaws.com/424566909325/sqs-mega-test"
CREDENTIALS = {
    "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
ran: set[str] = set()


def block(phrase: str, language: str = "python") -> str:
    """Return the first block in *language* that holds *phrase*."""
    text = next(text for each, text in BLOCKS if each == language and phrase in text)
    ran.add(text)
    return str(text)


def run(text: str, **names: Any) -> dict[str, Any]:
    """Run a block of the README with `mega.` replaced and *names* filled in, and return what it defines."""
    namespace: dict[str, Any] = {"__name__": "readme"} | names
    exec(compile(re.sub(r"\bmega\.(?=aws|event|match)", "megaflow.", text), "README", "exec"), namespace)
    return namespace


def load(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(text.replace("{ ... }", "{}"))
    return loaded


def app_of(subscriber: Any) -> App:
    listener = SqsListener(queue_url=QUEUE)
    listener.register_subscriber(subscriber)
    return listener.app


@pytest.fixture
def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The README's queue and topic, where boto3 is told by its own variable to look for AWS."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    # The README says us-west-2, and gives a queue and a topic in us-east-2, which is where they are.
    sqs = boto3.client("sqs", **CREDENTIALS, region_name="us-east-2")
    sns = boto3.client("sns", **CREDENTIALS, region_name="us-east-2")
    url = sqs.create_queue(QueueName="sqs-mega-test")["QueueUrl"]
    # A long poll of a consumer that was stopped goes on in moto, and would take the first message of the next one.
    sqs.delete_queue(QueueUrl=url)
    sqs.create_queue(QueueName="sqs-mega-test")
    return SimpleNamespace(sqs=sqs, sns=sns, queue=OpenQueue(sqs, url), url=url)


def receive(aws: SimpleNamespace) -> Message:
    (message,) = aws.queue.receive(10, wait_time_seconds=5, visibility_timeout=30)
    aws.queue.delete([message.lease.receipt_handle])
    assert isinstance(message, Message)
    return message


# Publishing


def test_publishing_to_a_queue(aws: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    publisher = run(block("SqsPublisher("))["publisher"]

    payload = run(block("publisher.publish(payload)\n"), publisher=publisher)["payload"]
    message = receive(aws)
    assert (len(message.body), message.payload) == (118, payload)
    assert f"{QUEUE} is in us-east-2, so the region us-west-2 is not used for it" in caplog.text

    run("publisher.publish(payload, binary_encoding=True)", publisher=publisher, payload=payload)
    message = receive(aws)
    assert (len(message.body), message.payload) == (156, payload)


def test_publishing_to_a_topic(aws: SimpleNamespace) -> None:
    topic = aws.sns.create_topic(Name="sqs-mega-test")["TopicArn"]
    arn = aws.sqs.get_queue_attributes(QueueUrl=aws.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscription = aws.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)["SubscriptionArn"]
    publisher = run(block("SnsPublisher("))["publisher"]
    assert publisher.topic_arn == topic

    payload = run(block("publisher.publish(payload)\n"), publisher=publisher)["payload"]

    message = receive(aws)
    assert message.sns is not None
    assert (message.sns.topic_arn, message.payload) == (topic, payload)
    aws.sns.unsubscribe(SubscriptionArn=subscription)


def test_binary_encoding_is_one_word_more(aws: SimpleNamespace) -> None:
    publisher = run(block("SqsPublisher("))["publisher"]

    run(block("publisher.publish(payload, binary_encoding=True)"), publisher=publisher, payload={"a": 1})

    assert receive(aws).payload == {"a": 1}


@pytest.mark.parametrize("phrase", ["name='user.created'", "builder.with_extra("])
def test_publishing_a_mega_event(aws: SimpleNamespace, phrase: str) -> None:
    publisher = run(block("SqsPublisher("))["publisher"]

    payload = run(block(phrase), publisher=publisher)["payload"]

    assert isinstance(payload, Payload)
    assert receive(aws).payload == payload


def test_the_rich_event_holds_what_was_said() -> None:
    payload = run(block("builder.with_extra("), publisher=SimpleNamespace(publish=lambda *_, **__: None))["payload"]

    assert (payload.event.domain, payload.event.name, payload.event.version) == ("shopping_cart", "item.added", 1)
    assert (payload.event.item_id, payload.event.quantity) == ("61fcc874-624e-40f8-8fd7-0e663c7837e8", 5)
    assert payload.object.current["subtotal"] == "357.18"
    assert payload.object.previous["items"][0]["quantity"] == 5
    assert payload.extra["channel"] == "web/desktop"


# Plaintext and binary


def test_the_figures_and_the_texts_of_both_encodings_hold_exactly() -> None:
    text = next(text for text in PYTHON if text.startswith("payload = {") and "publish" not in text)
    ran.add(text)
    payload = run(text)["payload"]
    json_text = block('{"type": "user_notification"', "json").strip()
    bson_text = next(text for language, text in BLOCKS if text.startswith("cwAAAAJ0eXBl")).strip()

    assert encode(payload).body == json_text
    assert encode(payload, binary_encoding=True).body == bson_text
    assert (len(json_text), len(bson_text)) == (118, 156)


def test_bson_can_be_read_in_a_python_terminal() -> None:
    session = block(">>> import bson")
    lines = [line.removeprefix(">>> ") for line in session.splitlines() if line.startswith(">>> ")]
    expected = ast.literal_eval(session.splitlines()[-1])
    shown = io.StringIO()
    namespace: dict[str, Any] = {}
    if not hasattr(bson, "loads"):  # PyMongo's has another name for it
        lines = [line.replace("bson.loads", "bson.decode") for line in lines]

    with redirect_stdout(shown):
        for line in lines:
            exec(compile(line, "README", "single"), namespace)

    assert ast.literal_eval(shown.getvalue()) == expected


# Subscribing


def test_the_item_added_subscriber_gets_the_event_it_describes() -> None:
    seen: list[str] = []
    inventory = SimpleNamespace(get_item=seen.append)
    subscriber = run(block("class ShoppingCartItemAdded"), Inventory=inventory)["ShoppingCartItemAdded"]
    event = load(block('"name": "item.added"', "json"))

    verdict = app_of(subscriber).process(json.dumps(event))

    assert list(verdict.statuses.values()) == [ProcessStatus.DONE]
    assert seen == ["61fcc874-624e-40f8-8fd7-0e663c7837e8"]
    assert deserialize_payload(event).event.item_id == seen[0]


@pytest.mark.parametrize("change", [{"item_id": ""}, {"quantity": 0}, {"version": 3}, {"domain": "other"}])
def test_the_item_added_subscriber_leaves_other_events_alone(change: dict[str, Any]) -> None:
    subscriber = run(block("class ShoppingCartItemAdded"))["ShoppingCartItemAdded"]
    event = load(block('"name": "item.added"', "json"))
    event["event"] |= change

    assert app_of(subscriber).process(json.dumps(event)).unmatched


def test_the_notification_subscriber_matches_the_object_it_describes_and_not_the_poorer_one() -> None:
    asked: list[str] = []

    def get_template(name: str) -> str | None:
        asked.append(name)
        return {"password_changed": "Your password was changed"}.get(name)

    repository = SimpleNamespace(get=get_template)
    subscriber = run(block("class UserNotification"), TemplateRepository=repository)["UserNotification"]
    app = app_of(subscriber)

    assert list(app.process(block('"ts": 1592163068', "json")).statuses.values()) == [ProcessStatus.DONE]
    assert asked == ["password_changed"]
    poorer = next(
        text for language, text in BLOCKS if language == "json" and "user:notification" in text and "ts" not in text
    )
    assert app.process(poorer).unmatched
    assert asked == ["password_changed"]


def test_the_login_subscriber_matches_the_event_it_describes_whose_version_is_text() -> None:
    subscriber = run(block("class UserLogin"))["UserLogin"]
    login = block('"name": "user:login:web"', "json")
    assert load(login)["version"] == "1"

    verdict = app_of(subscriber).process(login)

    assert list(verdict.statuses.values()) == [ProcessStatus.DONE]
    payload = verdict.message.payload
    assert payload.event.timestamp == datetime(2020, 6, 12, 17, 29, 58, tzinfo=UTC)
    assert payload.event.email == "johndoe_86@example.com"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("event", "name"), "user:logout"),
        (("event", "subject"), "john"),
        (("event", "attributes", "attempts"), 2),
        (("event", "attributes", "success"), False),
        (("object", "version"), 4),
        (("object", "current", "email"), ""),
        (("object", "current", "username"), "test"),
        (("object", "current", "created_at"), "2019-12-31T23:59:59"),
    ],
)
def test_the_login_subscriber_leaves_other_events_alone(path: tuple[str, ...], value: object) -> None:
    subscriber = run(block("class UserLogin"))["UserLogin"]
    login = load(block('"name": "user:login:web"', "json"))
    section = login
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value

    assert app_of(subscriber).process(json.dumps(login)).unmatched


def test_process_without_self_is_refused_with_a_hint_and_works_with_it() -> None:
    text = block("DatabaseLockAlreadyAcquired")
    entered = []

    class AlreadyAcquired(Exception):
        pass

    class DatabaseLock:
        def __init__(self, name: str) -> None:
            entered.append(name)

        def __enter__(self) -> None:
            if len(entered) > 1:
                raise AlreadyAcquired

        def __exit__(self, *_: object) -> None: ...

    names = {"DatabaseLock": DatabaseLock, "DatabaseLockAlreadyAcquired": AlreadyAcquired}
    without_self = run(text, **names)["ShoppingCartCheckout"]
    with pytest.raises(RegistrationError, match=r"takes no self.*: write def process\(self, payload\)"):
        app_of(without_self)

    app = app_of(run(text.replace("def process(payload", "def process(self, payload"), **names)["ShoppingCartCheckout"])
    event = load(block('"name": "item.added"', "json")) | {"object": {"id": "18a3f92e"}}
    first, second = app.process(json.dumps(event)), app.process(json.dumps(event))

    assert (first.deletes, second.keeps) == (True, True)
    assert list(second.statuses.values()) == [ProcessStatus.RETRY_LATER]
    assert entered == ["shopping_cart.checkout:18a3f92e"] * 2


# Listening


def test_the_listener_hands_messages_to_the_subscribers_that_match(aws: SimpleNamespace) -> None:
    seen: list[str] = []
    done = threading.Event()

    def get_item(item_id: str) -> None:
        seen.append(item_id)
        done.set()

    names = run(block("class ShoppingCartItemAdded"), Inventory=SimpleNamespace(get_item=get_item))
    names = run(block("class ShoppingCartItemRemoved"), **names)
    names |= {"listener": run(block("max_number_of_messages=1"))["listener"]}
    text = next(text for text in PYTHON if text.startswith("listener.register_subscriber("))
    run(text, **names)
    ran.add(text)
    run(block("SqsPublisher("))["publisher"].publish(load(block('"name": "item.added"', "json")))

    listening = threading.Thread(daemon=True, target=run, args=("listener.listen()\n",), kwargs=names)
    listening.start()
    assert done.wait(PATIENCE)
    names["listener"].stop()
    listening.join(PATIENCE)
    ran.add("listener.listen()\n")

    assert seen == ["61fcc874-624e-40f8-8fd7-0e663c7837e8"]
    attributes = aws.sqs.get_queue_attributes(QueueUrl=aws.url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == attributes["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_the_short_listener_example_runs_with_its_dots_filled_in(aws: SimpleNamespace) -> None:
    done = threading.Event()
    names = run(block("class ShoppingCartItemAdded"), Inventory=SimpleNamespace(get_item=lambda item_id: done.set()))
    names = run(block("class ShoppingCartItemRemoved"), **names)
    text = block("listener.listen()").replace("    ...\n)", "    **options\n)")
    register, listen = text.rsplit("\n\n", 1)
    names = run(register, **names, options=CREDENTIALS)
    run(block("SqsPublisher("))["publisher"].publish(load(block('"name": "item.added"', "json")))

    listening = threading.Thread(daemon=True, target=run, args=(listen,), kwargs=names)
    listening.start()
    assert done.wait(PATIENCE)
    names["listener"].stop()
    listening.join(PATIENCE)

    assert not listening.is_alive()


@pytest.mark.parametrize(
    "path",
    sorted(set(re.findall(r"`(mega\.(?:aws|event|match)[\w.]*\.[A-Z]\w+)`", README))),
)
def test_every_class_is_where_the_text_says(path: str) -> None:
    module, name = path.replace("mega.", "megaflow.", 1).rsplit(".", 1)

    assert hasattr(importlib.import_module(module), name)


def test_every_python_block_was_run() -> None:
    assert [text for text in PYTHON if text not in ran] == []
