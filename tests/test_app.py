"""`App`: configuration, publishing, and what it asks of AWS and when."""

import re
import subprocess
import sys
import threading
from typing import Any

import boto3
import pytest

from megaflow import (
    App,
    ConfigurationError,
    Kind,
    PayloadBuilder,
    RegistrationError,
    SnsPublisher,
    SqsPublisher,
    UsageError,
)
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.match.functions import gt, lt, one_of
from megaflow.transport.session import AwsOptions
from tests.waiting import PATIENCE


@pytest.fixture
def account() -> Account:
    return Account()


def test_importing_megaflow_imports_neither_boto3_nor_bson() -> None:
    program = (
        "import sys, megaflow, megaflow.aws.sqs.subscribe\n"
        "print([name for name in ('boto3', 'botocore', 'bson') if name in sys.modules])"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["megaflow", "megaflow.consumer.core.core"])
def test_importing_what_no_http_is_for_imports_no_http_server(module: str) -> None:
    program = f"import sys, {module}; print([name for name in ('http.server', 'http.client') if name in sys.modules])"

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("concurrency", 0, "concurrency=0 must be a whole number from 1 to 10,000"),
        ("concurrency", True, "concurrency=True must be a whole number"),
        ("max_number_of_messages", 11, "max_number_of_messages=11 must be a whole number from 1 to 10"),
        ("wait_time_seconds", 21, "wait_time_seconds=21 must be a whole number from 0 to 20"),
        ("visibility_timeout", 43_201, "visibility_timeout=43201 must be a whole number from 1 to 43,200"),
        ("visibility_timeout", 1.5, "visibility_timeout=1.5 must be a whole number from 1 to 43,200"),
        ("shutdown_timeout", -1, "shutdown_timeout=-1 must be a number of seconds, 0 or more"),
        ("unmatched", "drop", "unmatched='drop' must be one of 'delete', 'keep', 'dead_letter'"),
        ("backoff", 5, "backoff=5 must be a function"),
        ("retry_on", ("ConnectionError",), "must hold exception types; 'ConnectionError' is none"),
        ("retry_on", "ConnectionError", "must hold exception types; 'ConnectionError' is none"),
        (
            "dead_letter_queue_url",
            "carts-dead",
            "dead_letter_queue_url='carts-dead' is not the URL or the ARN of a queue",
        ),
        ("retry_on", KeyboardInterrupt, "must hold exception types"),
        ("max_message_size", 0, "max_message_size=0 must be a whole number from 1 to 1,048,576"),
        ("aws_access_key_id", "AKIA", "aws_access_key_id was given without aws_secret_access_key"),
    ],
)
def test_a_value_out_of_range_is_refused_in_the_constructor(option: str, value: Any, said: str) -> None:
    options: dict[str, Any] = {option: value}

    with pytest.raises(ConfigurationError) as caught:
        App(**options)

    assert said in str(caught.value)


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="concurency"):
        App(concurency=5)  # type: ignore[call-arg]


def test_run_without_a_queue_says_what_would_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEGAFLOW_QUEUE_URL", raising=False)

    with pytest.raises(ConfigurationError, match="queue_url is not set: give queue_url=, or set MEGAFLOW_QUEUE_URL"):
        App().run()


@pytest.mark.parametrize("url", ["carts", "arn:aws:sns:us-east-1:1:carts", "https://sqs.us-east-1.amazonaws.com", 5])
def test_what_is_no_address_is_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^queue_url=.* is not the URL or the ARN of a queue"):
        App(url).run()


def test_what_is_no_arn_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^topic_arn='users' is not the ARN of a topic, but a name"):
        App(topic_arn="users").publish("ping")


def test_run_without_handlers_is_refused(account: Account) -> None:
    sqs = SqsClient(account)

    with pytest.raises(RegistrationError, match="no handler is registered"):
        App(sqs.create_queue(QueueName="q")["QueueUrl"], client=sqs).run()


def test_publish_without_queue_or_topic_says_what_would_set_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEGAFLOW_QUEUE_URL", raising=False)
    monkeypatch.delenv("MEGAFLOW_TOPIC_ARN", raising=False)

    with pytest.raises(ConfigurationError) as caught:
        App().publish({})

    for name in ("topic_arn=", "queue_url=", "MEGAFLOW_TOPIC_ARN", "MEGAFLOW_QUEUE_URL"):
        assert name in str(caught.value)


def test_the_environment_is_read_when_it_is_needed(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    sqs = SqsClient(account)
    app = App(client=sqs)
    monkeypatch.setenv("MEGAFLOW_QUEUE_URL", sqs.create_queue(QueueName="q")["QueueUrl"])
    monkeypatch.delenv("MEGAFLOW_TOPIC_ARN", raising=False)

    message_id = app.publish("ping")

    (received,) = sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName="q")["QueueUrl"])["Messages"]
    assert (received["MessageId"], received["Body"]) == (message_id, "ping")


def test_publishing_goes_to_the_topic_where_one_is_set(account: Account) -> None:
    sqs, sns = SqsClient(account), SnsClient(account)
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    topic = sns.create_topic(Name="t")["TopicArn"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    app = App("http://nowhere.invalid/q", topic, client=sqs, sns_client=sns)

    app.publish("one")
    app.publish_batch(["two", "three"])
    app.publish_raw_message("four")

    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [each["Body"] for each in received] == ["one", "two", "three", "four"]


def test_publishing_goes_to_the_queue_where_no_topic_is_set(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEGAFLOW_TOPIC_ARN", raising=False)
    sqs = SqsClient(account)
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    app = App(url, client=sqs)

    ids = [app.publish({"a": 1}, binary_encoding=True), *app.publish_batch(["two"]), app.publish_raw_message("three")]

    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [each["MessageId"] for each in received] == ids


def test_secrets_never_show(account: Account) -> None:
    options: AwsOptions = {
        "aws_access_key_id": "AKIA-HERE",
        "aws_secret_access_key": "s3cret",
        "aws_session_token": "t0ken",
    }

    shown = [repr(vars(each)) for each in (App(**options), SqsPublisher(**options), SnsPublisher(**options))]

    assert not any(secret in text for text in shown for secret in ("AKIA-HERE", "s3cret", "t0ken"))


def test_handlers_for_gives_them_in_order_of_registration() -> None:
    app = App()
    app.on_data({"n": gt(1)}, handler_name="above one")(lambda data: None)
    app.on_message(handler_name="all")(lambda message: None)
    app.on_data({"n": gt(5)}, handler_name="above five")(lambda data: None)
    app.on_text(handler_name="text")(lambda text: None)

    assert [handler.name for handler in app.handlers_for({"n": 3})] == ["above one", "all"]
    assert [handler.name for handler in app.handlers_for({"n": 9})] == ["above one", "all", "above five"]


def test_a_dict_is_always_data_for_handlers_for_and_explain() -> None:
    app = App()
    app.on_event(handler_name="event")(lambda payload: None)
    app.on_data(handler_name="data")(lambda data: None)
    claims = {"protocol": "mega", "version": 1, "event": {"name": "n", "timestamp": "2020-01-01T00:00:00"}}

    assert [handler.name for handler in app.handlers_for(claims)] == ["data"]
    assert app.explain(claims).message.kind is Kind.DATA


def test_explain_reads_well() -> None:
    app = App()

    @app.on_event(domain="shopping_cart", name="item.added", attributes={"quantity": gt(0)}, handler_name="reserve")
    def reserve(payload: object) -> None: ...

    payload = PayloadBuilder().with_event(domain="shopping_cart", name="item.added", quantity=0).build()

    first, second, third = str(app.explain(payload)).splitlines()

    assert first == "a message of kind mega"
    assert second.startswith("reserve: not matched  (")
    assert third == "    event.attributes.quantity: wanted gt(0), found 0"


def test_handlers_may_be_registered_while_others_select() -> None:
    app = App()
    app.on_data({"n": gt(0)}, handler_name="0")(lambda data: None)
    names = [str(number) for number in range(60)]
    seen: list[list[str]] = []
    start = threading.Barrier(3, timeout=PATIENCE)

    def select() -> None:
        start.wait()
        found: list[str] = []
        while found != names and found == names[: len(found)]:
            found = [handler.name for handler in app.handlers_for({"n": 1, "m": 1})]
            seen.append(found)

    readers = [threading.Thread(target=select) for _ in range(2)]
    for reader in readers:
        reader.start()
    start.wait()
    for name in names[1:]:
        app.on_data({"n": one_of(1, int(name)), "m": 1}, handler_name=name)(lambda data: None)
    for reader in readers:
        reader.join(PATIENCE)

    assert not any(reader.is_alive() for reader in readers)
    assert all(found == names[: len(found)] for found in seen)
    assert seen[-1] == names


def test_check_says_what_is_odd_about_the_handlers() -> None:
    app = App(retry_on=())

    @app.on_data({"n": gt(5) & lt(3)}, handler_name="never")
    def never(data: object) -> None: ...

    @app.on_data({"n": 1}, handler_name="one")
    def one(data: object) -> None: ...

    @app.on_data({"n": 1}, handler_name="again")
    def again(data: object) -> None: ...

    first, second = map(str, app.check())

    assert re.fullmatch(r"never \(.*test_app\.py:\d+\) never matches: n: and_\(gt\(5\), lt\(3\)\)", first)
    assert re.fullmatch(r"again \(.*test_app\.py:\d+\) has the same pattern as one \(.*test_app\.py:\d+\)", second)


def test_an_app_is_connected_to_another_queue_for_a_while() -> None:
    sqs = SqsClient(Account())
    other = sqs.create_queue(QueueName="other")["QueueUrl"]
    app = App("https://sqs.eu-west-1.amazonaws.com/123456789012/carts", topic_arn=None)

    with app.connected(other, client=sqs) as connected:
        sent = app.publish("ping")

    assert connected is app
    assert [each["MessageId"] for each in sqs.receive_message(QueueUrl=other)["Messages"]] == [sent]
    assert app.queue_url == "https://sqs.eu-west-1.amazonaws.com/123456789012/carts"


def test_options_for_boto3_take_the_place_of_the_clients_an_app_was_given(moto_url: str) -> None:
    client = SqsClient(Account())
    app = App(client.create_queue(QueueName="carts")["QueueUrl"], client=client)
    options: AwsOptions = {
        "endpoint_url": moto_url,
        "region_name": "us-east-2",
        "aws_access_key_id": "AKIA",
        "aws_secret_access_key": "secret",
    }
    sqs = boto3.client("sqs", **options)
    url = sqs.create_queue(QueueName="connected")["QueueUrl"]

    with app.connected(url, **options):
        app.publish("ping")

    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "ping"


def test_a_running_app_stays_connected_as_it_is() -> None:
    sqs = SqsClient(Account())
    app = App(sqs.create_queue(QueueName="carts")["QueueUrl"], client=sqs)
    refused: list[UsageError] = []

    @app.on_text()
    def connect(text: str) -> None:
        with pytest.raises(UsageError) as raised, app.connected("https://example.com/1/other"):
            pass
        refused.append(raised.value)
        app.stop()

    app.publish("ping")
    app.run()

    assert [str(each) for each in refused] == [
        "this app is running: what it is connected to can be changed before that only"
    ]
