from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import ATTRIBUTES, DEAD_LETTERS, RECEIVE, REDRIVE, moto_differs


def policy(world: World, dead_letters: str, max_receive_count: object = 1) -> str:
    return json.dumps({"deadLetterTargetArn": world.arn(dead_letters), "maxReceiveCount": max_receive_count})


def test_a_message_received_too_often_goes_to_the_dead_letter_queue(world: World) -> None:
    dead_letters = world.queue()
    url = world.queue(RedrivePolicy=policy(world, dead_letters, 2), VisibilityTimeout="0")
    sent = world.send(url, "poison", MessageAttributes={"a": {"DataType": "String", "StringValue": "x"}})

    received = [world.bodies(url) for _ in range(3)]
    (dead,) = world.receive(dead_letters, AttributeNames=["All"], MessageAttributeNames=["All"])

    assert received == [["poison"], ["poison"], []]
    assert dead["MessageId"] == sent["MessageId"]
    assert dead["Body"] == "poison"
    assert dead["MessageAttributes"]["a"]["StringValue"] == "x"


@moto_differs("moto does not tell where a message came from", RECEIVE)
def test_a_dead_letter_tells_where_it_came_from(world: World) -> None:
    dead_letters = world.queue()
    url = world.queue(RedrivePolicy=policy(world, dead_letters), VisibilityTimeout="0")
    world.send(url)
    (alive,) = world.receive(url, AttributeNames=["All"])
    world.advance(0.1)
    world.receive(url)

    (dead,) = world.receive(dead_letters, AttributeNames=["All"])

    assert dead["Attributes"]["DeadLetterQueueSourceArn"] == world.arn(url)
    assert dead["Attributes"]["SentTimestamp"] == alive["Attributes"]["SentTimestamp"]


def test_the_next_message_is_received_in_place_of_the_dead_one(world: World) -> None:
    dead_letters = world.queue()
    url = world.queue(RedrivePolicy=policy(world, dead_letters), VisibilityTimeout="0")
    world.send(url, "poison")
    world.receive(url)
    world.send(url, "good")

    assert world.bodies(url) == ["good"]
    assert world.bodies(dead_letters) == ["poison"]


def test_the_group_goes_on_without_its_dead_head(world: World) -> None:
    dead_letters = world.fifo_queue()
    url = world.fifo_queue(RedrivePolicy=policy(world, dead_letters))
    for body in ("poison", "good"):
        world.send_in_order(url, body)
    world.receive(url, 1, VisibilityTimeout=0)

    assert world.bodies(url) == ["good"]
    (dead,) = world.receive(dead_letters, AttributeNames=["MessageGroupId"])
    assert (dead["Body"], dead["Attributes"]["MessageGroupId"]) == ("poison", "g")


@moto_differs("moto keeps the deduplication id", REDRIVE)
def test_the_id_of_a_dead_letter_takes_the_place_of_its_deduplication_id(world: World) -> None:
    dead_letters = world.fifo_queue()
    url = world.fifo_queue(RedrivePolicy=policy(world, dead_letters), VisibilityTimeout="0")
    sent = world.send_in_order(url, "poison", MessageDeduplicationId="one")
    world.receive(url)
    world.receive(url)

    (dead,) = world.receive(dead_letters, AttributeNames=["All"])

    assert dead["MessageId"] == sent["MessageId"]
    assert dead["Attributes"]["MessageDeduplicationId"] == sent["MessageId"]


def test_the_dead_letter_queue_must_be_there(world: World) -> None:
    url = world.queue()

    with pytest.raises(ClientError) as error:
        world.sqs.set_queue_attributes(
            QueueUrl=url, Attributes={"RedrivePolicy": policy(world, "http://localhost/1/nowhere")}
        )

    assert error.value.response["Error"]["Code"] in {
        "InvalidParameterValue",
        "AWS.SimpleQueueService.NonExistentQueue",  # moto's
    }


@moto_differs("moto mixes the types", DEAD_LETTERS)
def test_the_dead_letter_queue_must_be_of_the_same_type(world: World) -> None:
    standard, fifo = world.queue(), world.fifo_queue()

    with pytest.raises(ClientError):
        world.queue(RedrivePolicy=policy(world, fifo))
    with pytest.raises(ClientError):
        world.fifo_queue(RedrivePolicy=policy(world, standard))


@moto_differs("moto takes any count", ATTRIBUTES)
@pytest.mark.parametrize("count", [0, 1001, "often"])
def test_the_count_is_from_1_to_1000(world: World, count: object) -> None:
    dead_letters = world.queue()

    with pytest.raises(ClientError, match="maxReceiveCount") as error:
        world.queue(RedrivePolicy=policy(world, dead_letters, count))

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_a_count_may_be_written_as_text(world: World) -> None:
    dead_letters = world.queue()
    url = world.queue(RedrivePolicy=policy(world, dead_letters, "1"), VisibilityTimeout="0")
    world.send(url, "poison")

    received = [world.bodies(url) for _ in range(2)]

    assert received == [["poison"], []]


def test_sources_of_a_dead_letter_queue_are_listed(world: World) -> None:
    dead_letters = world.queue()
    sources = {world.queue(RedrivePolicy=policy(world, dead_letters)) for _ in range(2)}

    listed = world.sqs.list_dead_letter_source_queues(QueueUrl=dead_letters)

    assert set(listed["queueUrls"]) == sources


@moto_differs("moto does not look at the redrive allow policy", DEAD_LETTERS)
def test_a_dead_letter_queue_may_refuse_its_sources(world: World) -> None:
    dead_letters = world.queue(RedriveAllowPolicy=json.dumps({"redrivePermission": "denyAll"}))

    with pytest.raises(ClientError, match="RedrivePolicy") as error:
        world.queue(RedrivePolicy=policy(world, dead_letters))

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


@moto_differs("moto does not look at the redrive allow policy", ATTRIBUTES)
@pytest.mark.parametrize(
    ("permission", "count", "reason"),
    [
        ("byQueue", 0, "must also specify one or more sourceQueueArns"),
        ("byQueue", 11, "maximum number of source queue ARNs you can specify is 10"),
        ("allowAll", 1, "must set redrivePermission to byQueue"),
    ],
)
def test_a_redrive_allow_policy_names_one_to_ten_sources(
    world: World, permission: str, count: int, reason: str
) -> None:
    sources = [f"{world.arn('http://localhost/orders')}-{number}" for number in range(count)]

    with pytest.raises(ClientError, match=reason) as error:
        world.queue(RedriveAllowPolicy=json.dumps({"redrivePermission": permission, "sourceQueueArns": sources}))

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


@moto_differs("moto forgets the redrive allow policy", ATTRIBUTES)
def test_ten_sources_may_be_named(world: World) -> None:
    dead_letters = world.queue()
    sources = [f"{world.arn(dead_letters)}-{number}" for number in range(10)]
    allowed = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": sources})

    world.sqs.set_queue_attributes(QueueUrl=dead_letters, Attributes={"RedriveAllowPolicy": allowed})

    assert json.loads(world.attributes(dead_letters)["RedriveAllowPolicy"]) == json.loads(allowed)
