"""What stands for a queue's URL, and what stands for true."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import ATTRIBUTES, CREATE, RECEIVE, moto_differs


def test_a_name_stands_for_the_url(world: World) -> None:
    url = world.queue()

    world.send(url.rpartition("/")[2], "hello")

    assert world.bodies(url) == ["hello"]


def test_a_name_stands_at_a_path_of_queues(world: World) -> None:
    url = world.queue()
    name = url.rpartition("/")[2]

    world.send(f"{url.removesuffix(f'/{world.account_id}/{name}')}/queue/{name}", "hello")

    assert world.bodies(url) == ["hello"]


@pytest.mark.parametrize("name", ["nowhere", "http://localhost/queue/nowhere", "http://localhost/999999999999/nowhere"])
def test_a_name_of_no_queue_is_refused(world: World, name: str) -> None:
    with pytest.raises(world.sqs.exceptions.QueueDoesNotExist):
        world.send(name)


@pytest.mark.parametrize(
    "attributes",
    [
        {"FifoQueue": "True"},
        {"FifoQueue": "TRUE"},
        {"FifoQueue": "true", "ContentBasedDeduplication": "True"},
        {"FifoQueue": "true", "ContentBasedDeduplication": "False"},
        pytest.param(
            {"FifoQueue": "True", "SqsManagedSseEnabled": "False"},
            marks=moto_differs("moto shows it as it was given", ATTRIBUTES),
        ),
    ],
)
def test_a_capital_letter_makes_no_difference(world: World, attributes: dict[str, str]) -> None:
    name = f"{next(world.names)}.fifo"

    url = world.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    again = world.sqs.create_queue(QueueName=name, Attributes={**attributes, "FifoQueue": "true"})["QueueUrl"]

    assert again == url
    shown = world.attributes(url)
    assert {key: shown[key] for key in attributes} == {key: value.lower() for key, value in attributes.items()}


def test_a_standard_queue_does_not_mind_the_id_of_an_attempt(world: World) -> None:
    url = world.queue()
    for body in "ab":
        world.send(url, body)

    first = world.bodies(url, 1, ReceiveRequestAttemptId="one")
    second = world.bodies(url, 1, ReceiveRequestAttemptId="one")

    assert sorted([*first, *second]) == ["a", "b"]


@moto_differs("moto knows no such words", ATTRIBUTES)
@pytest.mark.parametrize(("name", "value"), [("DeduplicationScope", "queue"), ("FifoThroughputLimit", "perQueue")])
def test_high_throughput_is_for_fifo_queues_only(world: World, name: str, value: str) -> None:
    words = f"You can specify the {name} only when FifoQueue is set to true."

    with pytest.raises(ClientError) as created:
        world.queue(**{name: value})
    with pytest.raises(ClientError) as changed:
        world.sqs.set_queue_attributes(QueueUrl=world.queue(), Attributes={name: value})

    for error in (created.value.response["Error"], changed.value.response["Error"]):
        assert (error["Code"], error["Message"]) == ("InvalidAttributeName", words)


@moto_differs("moto changes anything", ATTRIBUTES)
def test_the_type_of_a_queue_never_changes(world: World) -> None:
    standard, fifo = world.queue(), world.fifo_queue()

    world.sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"FifoQueue": "true"})
    with pytest.raises(ClientError, match="Unknown Attribute FifoQueue"):
        world.sqs.set_queue_attributes(QueueUrl=standard, Attributes={"FifoQueue": "true"})
    with pytest.raises(ClientError) as error:
        world.sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"FifoQueue": "false"})

    assert error.value.response["Error"]["Code"] == "InvalidAttributeValue"
    assert error.value.response["Error"]["Message"] == (
        "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
    )


@moto_differs("moto has other words", RECEIVE)
@pytest.mark.parametrize("seconds", [-1, 21])
def test_a_receive_waits_twenty_seconds_at_most(world: World, seconds: int) -> None:
    url = world.queue()

    with pytest.raises(ClientError) as error:
        world.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=seconds)

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"
    assert error.value.response["Error"]["Message"] == (
        f"Value {seconds} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."
    )


@moto_differs("moto has other words", ATTRIBUTES)
def test_a_dead_letter_queue_is_named_by_its_arn(world: World) -> None:
    policy = '{"deadLetterTargetArn": "dummy", "maxReceiveCount": 42}'

    with pytest.raises(ClientError, match=r"is invalid\. Reason: Invalid value for deadLetterTargetArn\."):
        world.queue(RedrivePolicy=policy)


@moto_differs("moto counts no tags of a new queue", CREATE)
def test_a_new_queue_has_fifty_tags_at_most(world: World) -> None:
    with pytest.raises(ClientError, match="Too many tags added for queue"):
        world.sqs.create_queue(QueueName=next(world.names), tags={str(n): "x" for n in range(51)})
