"""Addresses named one region, and calls went to another: that of the environment, or that of the queue they came from.

``megaflow purge https://us-west-2.queue.amazonaws.com/123456789012/orders --yes`` emptied the queue of that name in the
default region. Over real HTTP an endpoint URL says where calls go, and the signature says for which region.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from megaflow import App, ConfigurationError, Reject, SnsPublisher, SqsPublisher
from megaflow.awslambda import LambdaHandler
from tests.cli.conftest import Run, _alone, run
from tests.cli.processes import running as running_command
from tests.consuming import running
from tests.recorded import Recorded, recorded
from tests.verdicts.drivers import write_record
from tests.waiting import wait_until

__all__ = ["_alone", "run"]  # fixtures

ACCOUNT = "0" * 12
EU = f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}"
WEST = f"https://sqs.us-west-2.amazonaws.com/{ACCOUNT}"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:orders"
KEYS: Any = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
HOSTS = [
    "sqs.us-west-2.amazonaws.com",
    "us-west-2.queue.amazonaws.com",
    "vpce-0a1b2c3d-ab12.sqs.us-west-2.vpce.amazonaws.com",
    "vpce-0a1b2c3d-ab12-us-west-2a.sqs.us-west-2.vpce.amazonaws.com",
    "sqs.us-west-2.api.aws",
    "sqs-fips.us-west-2.amazonaws.com",
    "sqs-fips.us-west-2.api.aws",
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """SQS and SNS as the environment says, whose region is us-east-1."""
    with recorded() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
        yield server


@pytest.fixture
def sqs(server: Recorded) -> Any:
    client = boto3.client("sqs")
    dead = client.create_queue(QueueName="dead")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    for name in ("orders", "others"):
        client.create_queue(QueueName=name)
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    client.create_queue(QueueName="source", Attributes={"RedrivePolicy": policy})
    server.calls.clear()
    return client


def take(sqs: Any, name: str) -> list[str]:
    """Return the bodies in a queue."""
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    return [each["Body"] for each in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ())]


# The command line


@pytest.mark.parametrize("queue", [*(f"https://{host}/{ACCOUNT}/orders" for host in HOSTS)])
def test_purge_empties_the_queue_that_was_named(run: Run, server: Recorded, sqs: Any, queue: str) -> None:
    ran = run("purge", queue, "--yes")

    assert ran.code == 0
    assert server.regions_of() == server.regions_of("PurgeQueue") == {"us-west-2"}


@pytest.mark.parametrize("queue", [f"{WEST}/orders", f"arn:aws:sqs:us-west-2:{ACCOUNT}:orders"])
@pytest.mark.parametrize("command", [("peek",), ("stats",), ("purge", "--yes"), ("publish", "one.json", "--queue")])
def test_every_command_goes_to_the_region_of_the_queue(
    run: Run, server: Recorded, sqs: Any, command: tuple[str, ...], queue: str
) -> None:
    Path("one.json").write_text("{}")
    server.calls.clear()

    assert run(*command, queue).code == 0

    assert server.regions_of() == {"us-west-2"}


def test_stats_of_several_queues_asks_each_in_its_region(run: Run, server: Recorded, sqs: Any) -> None:
    assert run("stats", f"{WEST}/orders", f"{EU}/others", "dead").code == 0

    assert server.regions_of("GetQueueAttributes") == {"us-west-2", "eu-west-1", "us-east-1"}


@pytest.mark.parametrize("queue", [f"{WEST}/orders", f"arn:aws:sqs:us-west-2:{ACCOUNT}:orders"])
@pytest.mark.parametrize("command", [("peek",), ("stats",), ("purge", "--yes"), ("redrive",), ("tail",)])
def test_another_region_than_the_addresss_is_refused_by_urls_and_arns_alike(
    run: Run, server: Recorded, sqs: Any, command: tuple[str, ...], queue: str
) -> None:
    ran = run(*command, queue, "--region", "eu-west-1")

    assert ran.code == 2
    assert ran.err == (
        f"megaflow: {queue} is in us-west-2, and --region 'eu-west-1' was given: leave --region out, or "
        "give --region 'us-west-2'\n"
    )
    assert server.calls == []


def test_the_same_region_may_be_given_as_well(run: Run, server: Recorded, sqs: Any) -> None:
    assert run("purge", f"{WEST}/orders", "--yes", "--region", "us-west-2").code == 0


def test_a_name_is_looked_up_in_the_region_that_is_given_or_configured(run: Run, server: Recorded, sqs: Any) -> None:
    assert run("peek", "orders").code == 0
    assert server.regions_of() == {"us-east-1"}

    server.calls.clear()
    assert run("peek", "orders", "--region", "eu-west-1").code == 0
    assert server.regions_of() == {"eu-west-1"}


def test_move_sends_to_the_region_of_the_destination(run: Run, server: Recorded, sqs: Any) -> None:
    sqs.send_message(QueueUrl=f"{WEST}/orders", MessageBody="ping")
    server.calls.clear()

    assert run("move", f"{WEST}/orders", f"{EU}/others").out == "moved 1 message to others\n"

    assert server.regions_of("SendMessageBatch") == {"eu-west-1"}
    assert server.regions_of("ReceiveMessage", "DeleteMessageBatch") == {"us-west-2"}
    assert take(sqs, "others") == ["ping"]


def test_queues_of_one_name_in_two_regions_are_two(run: Run, server: Recorded, sqs: Any) -> None:
    assert run("move", f"{WEST}/orders", f"{EU}/orders", "--dry-run").code == 0

    ran = run("move", f"{WEST}/orders", f"https://us-west-2.queue.amazonaws.com/{ACCOUNT}/orders")
    assert (ran.code, "are the same queue" in ran.err) == (2, True)


def test_redrive_sends_to_the_region_that_to_names(run: Run, server: Recorded, sqs: Any) -> None:
    sqs.send_message(QueueUrl=f"{WEST}/dead", MessageBody="ping")
    server.calls.clear()

    assert run("redrive", f"{WEST}/dead", "--to", f"arn:aws:sqs:eu-west-1:{ACCOUNT}:others").code == 0

    assert server.regions_of("SendMessageBatch") == {"eu-west-1"}
    assert take(sqs, "others") == ["ping"]


@pytest.mark.parametrize("queue", [f"{WEST}/dead", f"arn:aws:sqs:us-west-2:{ACCOUNT}:dead"])
def test_redrive_stays_in_the_region_of_the_dead_letter_queue(run: Run, server: Recorded, sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=f"{WEST}/dead", MessageBody="ping")
    server.calls.clear()

    assert run("redrive", queue).out == "moved 1 message to source\n"

    assert server.regions_of() == {"us-west-2"}
    assert take(sqs, "source") == ["ping"]


def test_a_message_from_another_region_stays(run: Run, server: Recorded, sqs: Any) -> None:
    origin = {"DataType": "String", "StringValue": json.dumps({"message_id": "first", "queue": f"{EU}/others"})}
    sqs.send_message(QueueUrl=f"{WEST}/dead", MessageBody="ping", MessageAttributes={"megaflow-origin": origin})
    server.calls.clear()

    ran = run("redrive", f"{WEST}/dead")

    assert ran.code == 1
    assert f"it says that it was in {EU}/others, and that queue's redrive policy does not name dead" in ran.err
    assert server.regions_of() == {"us-west-2"}
    assert take(sqs, "dead") == ["ping"]


def test_a_queue_of_aws_does_in_a_shell_without_a_region(
    server: Recorded, sqs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    Path("orders.py").write_text("from megaflow import App\napp = App()\napp.on_text()(print)\n")
    sqs.send_message(QueueUrl=f"{EU}/orders", MessageBody="ping")
    server.calls.clear()

    with running_command("run", "orders.py", "--queue-url", f"{EU}/orders") as process:
        process.wait_for(r"deleted \(orders.print: DONE\)|deleted")
        assert process.end() == 0

    assert server.regions_of() == {"eu-west-1"}


# Apps and publishers


@pytest.mark.parametrize("queue", [*(f"https://{host}/{ACCOUNT}/orders" for host in HOSTS)])
@pytest.mark.parametrize("wire", [True, False])
def test_an_app_consumes_where_its_queue_is(server: Recorded, sqs: Any, queue: str, wire: bool) -> None:
    handled: list[str] = []
    app = App(queue, wire=wire)
    app.on_text()(handled.append)

    with running(app):
        app.publish("ping")
        wait_until(lambda: handled == ["ping"])

    assert {"SendMessage", "ReceiveMessage", "DeleteMessageBatch"} <= {operation for operation, _ in server.calls}
    assert server.regions_of() == {"us-west-2"}


def test_an_arn_is_an_address_for_an_app_too(server: Recorded, sqs: Any) -> None:
    app = App(f"arn:aws:sqs:us-west-2:{ACCOUNT}:orders")

    app.publish("ping")

    assert server.calls == [("SendMessage", "us-west-2")]
    assert take(sqs, "orders") == ["ping"]


def test_the_environments_addresses_follow_the_same_rule(
    server: Recorded, sqs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEGAFLOW_QUEUE_URL", f"{WEST}/orders")

    App().publish("ping")
    assert server.calls == [("SendMessage", "us-west-2")]

    monkeypatch.setenv("MEGAFLOW_QUEUE_URL", "orders")
    with pytest.raises(ConfigurationError, match=r"^MEGAFLOW_QUEUE_URL='orders' is not the URL or the ARN of a queue"):
        App().publish("ping")


def test_a_queue_and_a_topic_may_be_in_two_regions(server: Recorded, sqs: Any) -> None:
    boto3.client("sns").create_topic(Name="orders")
    server.calls.clear()
    app = App(f"{WEST}/orders", TOPIC)

    app.publish("ping")
    SqsPublisher(queue_url=app.queue_url).publish("ping")

    assert server.calls == [("Publish", "us-east-1"), ("SendMessage", "us-west-2")]


@pytest.mark.parametrize(
    "publisher",
    [
        SqsPublisher(queue_url=f"{WEST}/orders", region_name="us-east-1"),
        SqsPublisher(queue_url=f"arn:aws:sqs:us-west-2:{ACCOUNT}:orders", region_name="us-east-1"),
        SnsPublisher(topic_arn=TOPIC.replace("us-east-1", "us-west-2"), region_name="us-east-1"),
        App(f"{WEST}/orders", region_name="us-east-1"),
    ],
    ids=["url", "arn", "topic", "app"],
)
def test_a_region_that_contradicts_the_address_is_an_error_that_says_both(publisher: Any, server: Recorded) -> None:
    with pytest.raises(ConfigurationError) as raised:
        publisher.publish("ping")

    assert "is in us-west-2, and region_name='us-east-1' was given: leave region_name= out" in str(raised.value)
    assert server.calls == []


@pytest.mark.parametrize("processes", [1, 2])
def test_run_refuses_it_before_anything_begins(processes: int) -> None:
    app = App(f"{WEST}/orders", region_name="us-east-1")
    app.on_text()(print)

    with pytest.raises(ConfigurationError, match="is in us-west-2, and region_name='us-east-1' was given"):
        app.run(processes=processes)


def make_client(service: str, **options: Any) -> Any:
    return boto3.client(service, region_name="us-east-1", **KEYS, **options)


@pytest.mark.usefixtures("_alone")
def test_a_client_of_another_region_is_refused_too() -> None:
    said = "is in us-west-2, and the client that was given is of us-east-1: give one of us-west-2, or none"

    with pytest.raises(ConfigurationError, match=said):
        App(f"{WEST}/orders", client=make_client("sqs")).publish("ping")
    with pytest.raises(ConfigurationError, match=said):
        SnsPublisher(topic_arn=TOPIC.replace("us-east-1", "us-west-2"), client=make_client("sns")).publish("ping")


def test_a_client_that_calls_somebody_else_may_be_of_any_region(server: Recorded, sqs: Any) -> None:
    SqsPublisher(queue_url=f"{WEST}/orders", client=sqs).publish("ping")

    assert server.calls == [("SendMessage", "us-east-1")]


@pytest.mark.usefixtures("_alone")
def test_an_emulators_queue_is_not_looked_for_at_aws() -> None:
    url = f"http://localhost:4566/{ACCOUNT}/orders"
    said = r"is no address of AWS's, and .* endpoint_url='http://localhost:4566'$"

    with pytest.raises(ConfigurationError, match=said):
        App(url, region_name="eu-west-1", **KEYS).publish("ping")
    with pytest.raises(ConfigurationError, match=said):
        App(url, client=make_client("sqs")).publish("ping")


# Dead letters


@pytest.mark.parametrize("wire", [True, False])
def test_a_dead_letter_queue_may_be_in_another_region(server: Recorded, sqs: Any, wire: bool) -> None:
    app = App(f"{WEST}/orders", dead_letter_queue_url=f"{EU}/dead", wire=wire)

    @app.on_text()
    def refuse(text: str) -> None:
        raise Reject("no")

    with running(app):
        SqsPublisher(queue_url=f"{WEST}/orders").publish_batch(["ping"])
        wait_until(lambda: app.metrics.snapshot().get("dead_lettered") == 1)

    assert server.regions_of("SendMessage") == {"eu-west-1"}
    assert server.regions_of("ReceiveMessage", "DeleteMessageBatch") == {"us-west-2"}
    assert take(sqs, "dead") == ["ping"]


def test_a_dead_letter_queue_of_the_same_name_in_another_region_is_another_queue(server: Recorded, sqs: Any) -> None:
    app = App(f"{WEST}/orders", dead_letter_queue_url=f"arn:aws:sqs:us-west-2:{ACCOUNT}:orders")
    app.on_text()(print)
    with pytest.raises(ConfigurationError, match="is the queue itself"):
        app.run()

    app = App(f"{WEST}/orders", dead_letter_queue_url=f"{EU}/orders")
    app.on_text()(print)
    with running(app):
        wait_until(lambda: server.regions_of("ReceiveMessage") == {"us-west-2"})


def test_a_dead_letter_queue_in_another_region_than_was_given_is_refused_at_the_start() -> None:
    app = App(f"{WEST}/orders", region_name="us-west-2", dead_letter_queue_url=f"{EU}/dead")
    app.on_text()(print)
    said = "dead is in eu-west-1, and region_name='us-west-2' was given"

    with pytest.raises(ConfigurationError, match=said):
        app.run()
    with pytest.raises(ConfigurationError, match=said):
        app.lambda_handler()


def invoke(handler: LambdaHandler, sqs: Any) -> Any:
    sqs.send_message(QueueUrl=f"{WEST}/orders", MessageBody="ping")
    [message] = sqs.receive_message(QueueUrl=f"{WEST}/orders", MessageSystemAttributeNames=["All"])["Messages"]
    return handler({"Records": [write_record(message, f"arn:aws:sqs:us-west-2:{ACCOUNT}:orders")]})


def test_a_function_dead_letters_to_another_region_too(server: Recorded, sqs: Any) -> None:
    app = App(dead_letter_queue_url=f"{EU}/dead")

    @app.on_text()
    def refuse(text: str) -> None:
        raise Reject("no")

    handler = app.lambda_handler()
    server.calls.clear()

    assert invoke(handler, sqs) == {"batchItemFailures": []}
    assert ("SendMessage", "eu-west-1") in server.calls
    assert take(sqs, "dead") == ["ping"]


def test_a_function_with_another_region_than_its_queues_says_so(server: Recorded, sqs: Any) -> None:
    app = App(region_name="eu-west-1")
    app.on_text()(print)

    with pytest.raises(ConfigurationError, match="is in us-west-2, and region_name='eu-west-1' was given"):
        invoke(app.lambda_handler(), sqs)
