"""Message move tasks; what AWS answers was recorded by LocalStack in tests/aws/services/sqs/test_sqs_move_task."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import START_MOVING, moto_differs

pytestmark = moto_differs("moto has no message move tasks", START_MOVING)

SOON = 0.1


def source_of(world: World, dead_url: str) -> str:
    """Make a queue whose messages are dead letters once they were received."""
    policy = json.dumps({"deadLetterTargetArn": world.arn(dead_url), "maxReceiveCount": 1})
    make = world.fifo_queue if dead_url.endswith(".fifo") else world.queue
    return make(RedrivePolicy=policy, VisibilityTimeout="0")


def fail(world: World, source: str, *bodies: str, **parameters: Any) -> None:
    """Send messages that become dead letters."""
    for body in bodies:
        if source.endswith(".fifo"):
            world.send_in_order(source, body, group=body[0])
        else:
            world.send(source, body, **parameters)
    world.receive(source)
    world.receive(source)


def failed(world: World, *bodies: str) -> tuple[str, str]:
    """Make a queue and its dead-letter queue, which holds *bodies*."""
    dead = world.queue()
    source = source_of(world, dead)
    fail(world, source, *bodies)
    return source, dead


def start(world: World, dead: str, **parameters: Any) -> str:
    handle: str = world.sqs.start_message_move_task(SourceArn=world.arn(dead), **parameters)["TaskHandle"]
    return handle


def tasks(world: World, dead: str, **parameters: Any) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = world.sqs.list_message_move_tasks(SourceArn=world.arn(dead), **parameters)[
        "Results"
    ]
    return results


def refusal(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, str, int]:
    response = error.value.response
    return (
        response["Error"]["Code"],
        response["Error"]["Message"],
        response["ResponseMetadata"]["HTTPStatusCode"],
    )


def test_messages_go_back_to_the_queues_they_came_from(world: World) -> None:
    dead = world.queue()
    first, second = source_of(world, dead), source_of(world, dead)
    fail(world, first, "a1", "a2")
    fail(world, second, "b1", "b2")

    start(world, dead)
    world.advance(SOON)

    assert world.bodies(dead) == []
    assert sorted(world.bodies(first)) == ["a1", "a2"]
    assert sorted(world.bodies(second)) == ["b1", "b2"]


def test_messages_go_where_they_are_wanted(world: World) -> None:
    source, dead = failed(world, "a", "b")
    destination = world.queue()

    start(world, dead, DestinationArn=world.arn(destination))
    world.advance(SOON)

    assert sorted(world.bodies(destination)) == ["a", "b"]
    assert world.bodies(source) == []


def test_what_was_sent_to_the_dead_letter_queue_itself_can_be_moved_elsewhere(world: World) -> None:
    _, dead = failed(world)
    destination = world.queue()
    world.send(dead, "direct")

    start(world, dead, DestinationArn=world.arn(destination))
    world.advance(SOON)

    assert world.bodies(destination) == ["direct"]


def test_a_task_fails_where_nobody_knows_where_a_message_came_from(world: World) -> None:
    _, dead = failed(world)
    world.send(dead, "direct")

    start(world, dead)
    world.advance(SOON)

    (task,) = tasks(world, dead)
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert task["ApproximateNumberOfMessagesMoved"] == 0
    assert world.bodies(dead) == ["direct"]


def test_a_moved_message_is_a_new_message(world: World) -> None:
    dead = world.queue()
    source = source_of(world, dead)
    attribute = {"DataType": "String", "StringValue": "x"}
    trace = {"DataType": "String", "StringValue": "Root=1-5e3d83c1-e6a0db584850d61342823d4c"}
    fail(world, source, "a", MessageAttributes={"name": attribute}, MessageSystemAttributes={"AWSTraceHeader": trace})
    everything: Any = {"AttributeNames": ["All"], "MessageAttributeNames": ["All"]}
    (before,) = world.receive(dead, VisibilityTimeout=0, **everything)

    start(world, dead, MaxNumberOfMessagesPerSecond=1)
    world.advance(1)

    (after,) = world.receive(source, **everything)
    assert (after["Body"], after["MessageAttributes"]) == ("a", {"name": attribute})
    assert after["MessageId"] != before["MessageId"]
    assert after["Attributes"]["AWSTraceHeader"] == trace["StringValue"]
    assert after["Attributes"]["ApproximateReceiveCount"] == "1"
    assert int(after["Attributes"]["SentTimestamp"]) >= int(before["Attributes"]["SentTimestamp"]) + 1000
    assert "DeadLetterQueueSourceArn" not in after["Attributes"]


def test_a_task_that_has_ended_shows_what_it_did(world: World) -> None:
    _, dead = failed(world, "a", "b")
    destination = world.queue()

    start(world, dead, DestinationArn=world.arn(destination))
    world.advance(SOON)

    (task,) = tasks(world, dead)
    assert 1_000_000_000_000 < task.pop("StartedTimestamp") < 10_000_000_000_000
    assert task == {
        "Status": "COMPLETED",
        "SourceArn": world.arn(dead),
        "DestinationArn": world.arn(destination),
        "ApproximateNumberOfMessagesMoved": 2,
        "ApproximateNumberOfMessagesToMove": 2,
    }


def test_a_task_moves_as_many_a_second_as_it_may(world: World) -> None:
    source, dead = failed(world, "a", "b", "c")

    handle = start(world, dead, MaxNumberOfMessagesPerSecond=1)
    at_once = world.bodies(source)
    world.advance(2)

    (task,) = tasks(world, dead)
    assert at_once == []
    assert len(world.bodies(source)) == 2
    assert (task["Status"], task["TaskHandle"]) == ("RUNNING", handle)
    assert (task["ApproximateNumberOfMessagesMoved"], task["ApproximateNumberOfMessagesToMove"]) == (2, 3)
    assert task["MaxNumberOfMessagesPerSecond"] == 1
    world.advance(1)
    assert tasks(world, dead)[0]["Status"] == "COMPLETED"


def test_a_task_of_nothing_is_soon_done(world: World) -> None:
    _, dead = failed(world)

    start(world, dead)
    world.advance(SOON)

    (task,) = tasks(world, dead)
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 0)


def test_a_message_in_flight_is_not_moved(world: World) -> None:
    source, dead = failed(world, "a", "b")
    (held,) = world.receive(dead, 1)

    start(world, dead)
    world.advance(SOON)

    assert len(world.bodies(source)) == 1
    world.delete(dead, held)


def test_a_message_that_becomes_visible_meanwhile_is_moved(world: World) -> None:
    source, dead = failed(world, "a", "b")
    world.receive(dead, 1, VisibilityTimeout=2)

    start(world, dead, MaxNumberOfMessagesPerSecond=1)
    world.advance(1)
    world.advance(1)

    assert sorted(world.bodies(source)) == ["a", "b"]


def test_a_task_moves_no_more_than_there_was_when_it_began(world: World) -> None:
    source, dead = failed(world, "a", "b")

    start(world, dead, MaxNumberOfMessagesPerSecond=1)
    world.advance(1)
    world.receive(source)
    world.receive(source)
    world.advance(1)
    world.advance(5)

    (task,) = tasks(world, dead)
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 2)
    assert world.attributes(dead)["ApproximateNumberOfMessages"] == "1"


def test_cancelling_leaves_the_rest(world: World) -> None:
    source, dead = failed(world, "a", "b", "c")
    handle = start(world, dead, MaxNumberOfMessagesPerSecond=1)
    world.advance(1)

    answer = world.sqs.cancel_message_move_task(TaskHandle=handle)
    world.advance(5)

    (task,) = tasks(world, dead)
    assert answer["ApproximateNumberOfMessagesMoved"] == 1
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("CANCELLED", 1)
    assert "TaskHandle" not in task
    assert (len(world.bodies(source)), len(world.bodies(dead))) == (1, 2)


def test_a_task_that_has_ended_cannot_be_cancelled(world: World) -> None:
    _, dead = failed(world)
    handle = start(world, dead)
    world.advance(SOON)

    with pytest.raises(ClientError, match="Only active tasks can be cancelled") as error:
        world.sqs.cancel_message_move_task(TaskHandle=handle)

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


@pytest.mark.parametrize("handle", ["foobared", "no base64", b64encode(b"[]").decode(), b64encode(b"{}").decode(), ""])
def test_a_handle_is_one_that_was_given(world: World, handle: str) -> None:
    with pytest.raises(ClientError) as error:
        world.sqs.cancel_message_move_task(TaskHandle=handle)

    assert refusal(error) == ("InvalidParameterValue", "Value for parameter TaskHandle is invalid.", 400)


def test_a_task_that_is_not_known_cannot_be_cancelled(world: World) -> None:
    known = {"taskId": "10f57157-fc38-4da9-a113-4de7e12d05aa", "sourceArn": world.arn(world.queue())}

    with pytest.raises(ClientError) as error:
        world.sqs.cancel_message_move_task(TaskHandle=b64encode(json.dumps(known).encode()).decode())

    assert refusal(error) == ("ResourceNotFoundException", "Task does not exist.", 404)


def test_a_queue_that_is_deleted_meanwhile_fails_the_task_and_loses_nothing(world: World) -> None:
    _, dead = failed(world, "a", "b", "c")
    destination = world.queue()
    start(world, dead, DestinationArn=world.arn(destination), MaxNumberOfMessagesPerSecond=1)
    world.advance(1)

    world.sqs.delete_queue(QueueUrl=destination)
    world.advance(1)

    (task,) = tasks(world, dead)
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "AWS.SimpleQueueService.NonExistentQueue")
    assert task["ApproximateNumberOfMessagesMoved"] == 1
    assert len(world.bodies(dead)) == 2


def test_only_dead_letter_queues_can_be_emptied_so(world: World) -> None:
    source, destination = world.queue(), world.queue()

    with pytest.raises(ClientError) as error:
        start(world, source, DestinationArn=world.arn(destination))

    assert refusal(error) == ("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.", 400)


@pytest.mark.parametrize("parameter", ["SourceArn", "DestinationArn"])
def test_both_queues_must_be_there(world: World, parameter: str) -> None:
    source, dead = failed(world)
    arns = {"SourceArn": world.arn(dead), "DestinationArn": world.arn(source)}

    with pytest.raises(ClientError) as error:
        world.sqs.start_message_move_task(**{**arns, parameter: f"{world.arn(dead)}-not"})

    message = f"The resource that you specified for the {parameter} parameter doesn't exist."
    assert refusal(error) == ("ResourceNotFoundException", message, 404)


@pytest.mark.parametrize("parameter", ["SourceArn", "DestinationArn"])
@pytest.mark.parametrize("arn", ["", "orders", "arn:aws:sqs:orders", "http://localhost/1/orders"])
def test_an_arn_has_six_parts(world: World, parameter: str, arn: str) -> None:
    source, dead = failed(world)
    arns = {"SourceArn": world.arn(dead), "DestinationArn": world.arn(source)}

    with pytest.raises(ClientError, match=f"You must use this format to specify the {parameter}") as error:
        world.sqs.start_message_move_task(**{**arns, parameter: arn})

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_a_queue_cannot_be_moved_into_itself(world: World) -> None:
    _, dead = failed(world)

    with pytest.raises(ClientError, match="cannot be the same") as error:
        start(world, dead, DestinationArn=world.arn(dead))

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_both_queues_must_be_of_one_type(world: World) -> None:
    _, dead = failed(world)
    fifo = world.fifo_queue()

    with pytest.raises(ClientError, match="must be of the same queue type") as error:
        start(world, dead, DestinationArn=world.arn(fifo))

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


@pytest.mark.parametrize("rate", [-1, 0, 501])
def test_the_rate_is_from_1_to_500(world: World, rate: int) -> None:
    _, dead = failed(world)

    with pytest.raises(ClientError, match="a number that's between 1 and 500") as error:
        start(world, dead, MaxNumberOfMessagesPerSecond=rate)

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_a_queue_has_one_task_at_a_time(world: World) -> None:
    _, dead = failed(world, "a")
    _, other = failed(world, "b")
    start(world, dead, MaxNumberOfMessagesPerSecond=1)

    with pytest.raises(ClientError) as error:
        start(world, dead)
    start(world, other)
    world.advance(1)
    start(world, dead)
    world.advance(SOON)

    message = "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
    assert refusal(error) == ("InvalidParameterValue", message, 400)


def test_tasks_are_listed_newest_first(world: World) -> None:
    _, dead = failed(world)
    for rate in (100, 200, 300):
        start(world, dead, MaxNumberOfMessagesPerSecond=rate)
        world.advance(SOON)

    newest = tasks(world, dead)
    every = tasks(world, dead, MaxResults=10)

    assert [task["MaxNumberOfMessagesPerSecond"] for task in newest] == [300]
    assert [task["MaxNumberOfMessagesPerSecond"] for task in every] == [300, 200, 100]


def test_no_task_is_an_empty_list(world: World) -> None:
    assert tasks(world, world.queue()) == []


@pytest.mark.parametrize("count", [0, 11])
def test_up_to_ten_tasks_are_listed(world: World, count: int) -> None:
    with pytest.raises(ClientError, match="MaxResults") as error:
        tasks(world, world.queue(), MaxResults=count)

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_tasks_are_listed_of_a_queue_that_is_there(world: World) -> None:
    with pytest.raises(ClientError) as error:
        tasks(world, "http://localhost/nowhere")

    message = "The resource that you specified for the SourceArn parameter doesn't exist."
    assert refusal(error) == ("ResourceNotFoundException", message, 404)


def test_the_order_of_each_group_is_kept(world: World) -> None:
    dead = world.fifo_queue()
    source = source_of(world, dead)
    fail(world, source, "a1", "b1", "a2", "b2", "a3")

    start(world, dead)
    world.advance(SOON)

    received = world.bodies(source)
    assert sorted(received) == ["a1", "a2", "a3", "b1", "b2"]
    assert [body for body in received if body[0] == "a"] == ["a1", "a2", "a3"]
    assert [body for body in received if body[0] == "b"] == ["b1", "b2"]


def test_deduplication_swallows_nothing_that_is_moved(world: World) -> None:
    dead, destination = world.fifo_queue(), world.fifo_queue()
    source_of(world, dead)
    for url in (dead, destination):
        world.send(url, f"to {url}", MessageGroupId="g", MessageDeduplicationId="same")

    start(world, dead, DestinationArn=world.arn(destination))
    world.advance(SOON)

    assert world.bodies(destination) == [f"to {destination}", f"to {dead}"]
