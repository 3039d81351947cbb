from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import ATTRIBUTES, CREATE, ENCRYPTION, moto_differs


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def test_a_new_queue_has_the_defaults_of_aws(world: World) -> None:
    url = world.queue()

    attributes = world.attributes(url)

    assert attributes.pop("CreatedTimestamp").partition(".")[0].isdecimal()
    assert attributes.pop("LastModifiedTimestamp").partition(".")[0].isdecimal()
    assert attributes == {
        "QueueArn": world.arn(url),
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "DelaySeconds": "0",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": "30",
    }


def test_a_new_fifo_queue_has_four_more(world: World) -> None:
    attributes = world.attributes(world.fifo_queue())

    assert attributes["FifoQueue"] == "true"
    assert attributes["ContentBasedDeduplication"] == "false"
    assert attributes["DeduplicationScope"] == "queue"
    assert attributes["FifoThroughputLimit"] == "perQueue"


def test_only_attributes_asked_for_are_shown(world: World) -> None:
    url = world.queue()

    some = world.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"])
    none = world.sqs.get_queue_attributes(QueueUrl=url)

    assert some["Attributes"] == {"VisibilityTimeout": "30"}
    assert "Attributes" not in none


def test_an_unknown_attribute_cannot_be_asked_for(world: World) -> None:
    url = world.queue()

    with pytest.raises(world.sqs.exceptions.InvalidAttributeName, match="Unknown Attribute Colour"):
        world.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Colour"])


def test_a_queue_is_found_by_its_name(world: World) -> None:
    url = world.queue()

    assert world.sqs.get_queue_url(QueueName=name_of(url))["QueueUrl"] == url


def test_a_queue_that_is_not_there_is_not_found(world: World) -> None:
    with pytest.raises(world.sqs.exceptions.QueueDoesNotExist) as error:
        world.sqs.get_queue_url(QueueName="nobody-made-this")

    assert error.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"


def test_creating_a_queue_twice_gives_the_same_queue(world: World) -> None:
    url = world.queue(VisibilityTimeout="7")

    again = world.sqs.create_queue(QueueName=name_of(url), Attributes={"VisibilityTimeout": "7"})

    assert again["QueueUrl"] == url


def test_a_queue_of_that_name_with_other_attributes_is_an_error(world: World) -> None:
    url = world.queue(VisibilityTimeout="7")

    with pytest.raises(world.sqs.exceptions.QueueNameExists) as error:
        world.sqs.create_queue(QueueName=name_of(url), Attributes={"VisibilityTimeout": "8"})

    assert error.value.response["Error"]["Code"] == "QueueAlreadyExists"


@pytest.mark.parametrize("name", ["with space", "n" * 81, "a.b"])
def test_a_name_has_few_characters(world: World, name: str) -> None:
    with pytest.raises(ClientError, match="1 to 80 in length") as error:
        world.sqs.create_queue(QueueName=name)

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


@moto_differs("moto makes a FIFO queue by its name alone", CREATE)
def test_a_standard_queue_cannot_have_the_name_of_a_fifo_queue(world: World) -> None:
    with pytest.raises(ClientError, match="1 to 80 in length"):
        world.sqs.create_queue(QueueName="in-order.fifo")


def test_the_name_of_a_fifo_queue_says_so(world: World) -> None:
    with pytest.raises(ClientError) as error:
        world.sqs.create_queue(QueueName="in-order", Attributes={"FifoQueue": "true"})

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


@moto_differs("moto checks few attributes", ATTRIBUTES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VisibilityTimeout", "43201"),
        ("VisibilityTimeout", "soon"),
        ("DelaySeconds", "901"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
        ("MessageRetentionPeriod", "59"),
        ("Policy", "[]"),
    ],
)
def test_an_attribute_out_of_range_is_refused(world: World, name: str, value: str) -> None:
    with pytest.raises(world.sqs.exceptions.InvalidAttributeValue, match=f"Invalid value for the parameter {name}"):
        world.queue(**{name: value})


@pytest.mark.parametrize("size", ["1023", "1048577"])
def test_a_message_size_out_of_range_is_refused(world: World, size: str) -> None:
    with pytest.raises(world.sqs.exceptions.InvalidAttributeValue, match="MaximumMessageSize"):
        world.queue(MaximumMessageSize=size)


def test_a_message_may_have_a_mebibyte(world: World) -> None:
    url = world.queue(MaximumMessageSize="1048576")

    world.send(url, "x" * 1_048_576)

    assert len(world.bodies(url)[0]) == 1_048_576


@moto_differs("moto does not look at the key", ENCRYPTION)
def test_a_key_takes_the_place_of_the_encryption_by_sqs(world: World) -> None:
    created = world.queue(KmsMasterKeyId="alias/aws/sqs")
    changed = world.queue()

    world.sqs.set_queue_attributes(
        QueueUrl=changed, Attributes={"KmsMasterKeyId": "alias/aws/sqs", "KmsDataKeyReusePeriodSeconds": "600"}
    )

    names = ("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled")
    assert [world.attributes(created)[name] for name in names] == ["alias/aws/sqs", "300", "false"]
    assert [world.attributes(changed)[name] for name in names] == ["alias/aws/sqs", "600", "false"]


@moto_differs("moto does not look at the key", ENCRYPTION)
def test_the_encryption_by_sqs_takes_the_place_of_a_key(world: World) -> None:
    url = world.queue(KmsMasterKeyId="alias/aws/sqs", KmsDataKeyReusePeriodSeconds="600")

    world.sqs.set_queue_attributes(QueueUrl=url, Attributes={"SqsManagedSseEnabled": "true"})

    attributes = world.attributes(url)
    assert attributes["SqsManagedSseEnabled"] == "true"
    assert not {"KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds"} & attributes.keys()


def test_a_reuse_period_is_not_kept_without_a_key(world: World) -> None:
    url = world.queue(KmsDataKeyReusePeriodSeconds="600")

    again = world.sqs.create_queue(QueueName=name_of(url), Attributes={"KmsDataKeyReusePeriodSeconds": "600"})

    assert again["QueueUrl"] == url
    assert "KmsDataKeyReusePeriodSeconds" not in world.attributes(url)


@moto_differs("moto takes both", ENCRYPTION)
def test_a_queue_is_encrypted_in_one_way(world: World) -> None:
    with pytest.raises(ClientError, match="one type of server-side encryption") as error:
        world.queue(KmsMasterKeyId="alias/aws/sqs", SqsManagedSseEnabled="true")

    assert error.value.response["Error"]["Code"] == "InvalidAttributeName"


@moto_differs("moto takes FIFO attributes for any queue", CREATE)
@pytest.mark.parametrize("name", ["ContentBasedDeduplication", "FifoQueue"])
def test_a_standard_queue_knows_no_fifo_attributes(world: World, name: str) -> None:
    with pytest.raises(world.sqs.exceptions.InvalidAttributeName):
        world.queue(**{name: "false"})


def test_attributes_can_be_changed(world: World) -> None:
    url = world.queue()

    world.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "69", "DelaySeconds": "420"})

    attributes = world.attributes(url)
    assert (attributes["VisibilityTimeout"], attributes["DelaySeconds"]) == ("69", "420")


def test_a_policy_can_be_set_and_removed(world: World) -> None:
    url = world.queue()
    policy = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Sid": "a", "Effect": "Deny", "Principal": "*", "Action": "sqs:*"}]}
    )

    world.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    with_policy = world.attributes(url)
    world.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})

    assert json.loads(with_policy["Policy"]) == json.loads(policy)
    assert "Policy" not in world.attributes(url)


def test_queues_are_listed_by_prefix(world: World) -> None:
    made = {world.sqs.create_queue(QueueName=f"listed-{n}")["QueueUrl"] for n in range(3)}
    world.queue()

    listed = world.sqs.list_queues(QueueNamePrefix="listed-")
    none = world.sqs.list_queues(QueueNamePrefix="not-listed-")

    assert set(listed["QueueUrls"]) == made
    assert "QueueUrls" not in none


def test_queues_are_listed_in_pages(world: World) -> None:
    made = {world.sqs.create_queue(QueueName=f"paged-{n}")["QueueUrl"] for n in range(3)}

    first = world.sqs.list_queues(QueueNamePrefix="paged-", MaxResults=2)
    second = world.sqs.list_queues(QueueNamePrefix="paged-", MaxResults=2, NextToken=first["NextToken"])

    assert (len(first["QueueUrls"]), len(second["QueueUrls"])) == (2, 1)
    assert {*first["QueueUrls"], *second["QueueUrls"]} == made
    assert "NextToken" not in second


def test_a_deleted_queue_is_gone(world: World) -> None:
    url = world.queue()

    world.sqs.delete_queue(QueueUrl=url)

    with pytest.raises(world.sqs.exceptions.QueueDoesNotExist):
        world.receive(url)


def test_deleting_a_queue_twice_is_an_error(world: World) -> None:
    url = world.queue()
    world.sqs.delete_queue(QueueUrl=url)

    with pytest.raises(world.sqs.exceptions.QueueDoesNotExist):
        world.sqs.delete_queue(QueueUrl=url)


@moto_differs("moto creates it at once", CREATE)
def test_a_deleted_queue_cannot_be_created_again_for_a_minute(world: World) -> None:
    url = world.queue()
    world.sqs.delete_queue(QueueUrl=url)

    with pytest.raises(world.sqs.exceptions.QueueDeletedRecently) as error:
        world.sqs.create_queue(QueueName=name_of(url))
    world.advance(60)
    world.sqs.create_queue(QueueName=name_of(url))

    assert error.value.response["Error"]["Code"] == "AWS.SimpleQueueService.QueueDeletedRecently"
    assert world.receive(url) == []


def test_tags_are_kept(world: World) -> None:
    url = world.sqs.create_queue(QueueName="tagged", tags={"team": "carts", "stage": "test"})["QueueUrl"]

    world.sqs.tag_queue(QueueUrl=url, Tags={"stage": "live", "cost": "7"})
    world.sqs.untag_queue(QueueUrl=url, TagKeys=["team", "absent"])

    assert world.sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"stage": "live", "cost": "7"}


def test_too_many_tags_are_refused(world: World) -> None:
    url = world.queue()

    with pytest.raises(ClientError, match="Too many tags") as error:
        world.sqs.tag_queue(QueueUrl=url, Tags={f"tag-{n}": "x" for n in range(51)})

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"
