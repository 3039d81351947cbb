from __future__ import annotations

import random

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from megaflow.local import Account, SqsClient
from megaflow.local.operations.pages import page
from megaflow.local.refused import Refused
from tests.local.conftest import Shop


def test_urls_begin_where_the_account_says() -> None:
    account = Account(region="eu-west-1", account_id="123456789012", url="http://127.0.0.1:9324")
    client = SqsClient(account)

    url = client.create_queue(QueueName="orders")["QueueUrl"]
    attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]

    assert url == "http://127.0.0.1:9324/123456789012/orders"
    assert attributes["QueueArn"] == "arn:aws:sqs:eu-west-1:123456789012:orders"
    assert client.meta.region_name == "eu-west-1"
    assert client.meta.endpoint_url == "http://127.0.0.1:9324"


def test_a_queue_is_known_under_any_host(shop: Shop) -> None:
    url = shop.queue()

    shop.send(url.replace("http://sqs.localhost", "https://sqs.us-east-1.amazonaws.com"), "a")

    assert shop.bodies(url) == ["a"]


@pytest.mark.parametrize(
    "url", ["orders", "http://sqs.localhost/queue/orders", "https://127.0.0.1:1/queue/us-east-1/000000000000/orders"]
)
def test_a_queue_goes_by_its_name(shop: Shop, url: str) -> None:
    known = shop.queue()

    shop.send(url, "a")

    assert shop.bodies(known) == ["a"]


@pytest.mark.parametrize("url", ["http://sqs.localhost/111111111111/orders", "http://sqs.localhost/", "/orders", ""])
def test_a_url_of_another_account_is_not_known(shop: Shop, url: str) -> None:
    shop.queue()

    with pytest.raises(shop.sqs.exceptions.QueueDoesNotExist):
        shop.send(url, "a")


def test_a_queue_of_another_account_is_not_found(shop: Shop) -> None:
    shop.queue()

    found = shop.sqs.get_queue_url(QueueName="orders", QueueOwnerAWSAccountId="000000000000")
    with pytest.raises(shop.sqs.exceptions.QueueDoesNotExist):
        shop.sqs.get_queue_url(QueueName="orders", QueueOwnerAWSAccountId="111111111111")

    assert found["QueueUrl"] == "http://sqs.localhost/000000000000/orders"


def test_one_seed_gives_the_same_ids() -> None:
    first, second = (Account(random=random.Random(3)) for _ in range(2))

    assert [first.new_id() for _ in range(3)] == [second.new_id() for _ in range(3)]


def test_ids_differ_without_a_seed() -> None:
    assert Account().new_id() != Account().new_id()


def test_a_purge_is_possible_again_after_a_minute(shop: Shop) -> None:
    url = shop.queue()
    shop.sqs.purge_queue(QueueUrl=url)

    shop.advance(59.9)
    with pytest.raises(shop.sqs.exceptions.PurgeQueueInProgress) as error:
        shop.sqs.purge_queue(QueueUrl=url)
    shop.advance(0.1)
    shop.sqs.purge_queue(QueueUrl=url)

    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_deleted_name_is_free_after_a_minute(shop: Shop) -> None:
    url = shop.queue()
    shop.sqs.delete_queue(QueueUrl=url)

    shop.advance(59.9)
    for _ in range(2):
        with pytest.raises(shop.sqs.exceptions.QueueDeletedRecently):
            shop.queue()
    shop.advance(0.1)

    assert shop.queue() == url


def test_deleted_names_are_forgotten(shop: Shop) -> None:
    for number in range(5):
        shop.sqs.delete_queue(QueueUrl=shop.queue(f"queue-{number}"))
        shop.advance(20)

    shop.queue()

    assert list(shop.account.deleted_at) == ["queue-3", "queue-4"]


def test_the_type_of_a_queue_cannot_be_changed(shop: Shop) -> None:
    url, fifo = shop.queue(), shop.fifo_queue()

    with pytest.raises(shop.sqs.exceptions.InvalidAttributeName):
        shop.sqs.set_queue_attributes(QueueUrl=url, Attributes={"FifoQueue": "true"})
    with pytest.raises(shop.sqs.exceptions.InvalidAttributeValue):
        shop.sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"FifoQueue": "false"})


def test_changing_attributes_is_dated(shop: Shop) -> None:
    url = shop.queue()

    shop.advance(5)
    shop.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})

    names = ["CreatedTimestamp", "LastModifiedTimestamp"]
    shown = shop.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert shown == {"CreatedTimestamp": "1000000", "LastModifiedTimestamp": "1000005"}


def test_a_queue_without_tags_shows_none(shop: Shop) -> None:
    assert "Tags" not in shop.sqs.list_queue_tags(QueueUrl=shop.queue())


@pytest.mark.parametrize("size", [0, 1001])
def test_a_page_has_1_to_1000_queues(shop: Shop, size: int) -> None:
    with pytest.raises(ClientError, match="MaxResults"):
        shop.sqs.list_queues(MaxResults=size)


def test_pages_follow_one_another() -> None:
    first, token = page(["c", "a", "b"], 2, None)
    second, end = page(["c", "a", "b"], 2, token["NextToken"])

    assert (first, second, end) == (["a", "b"], ["c"], {})


def test_a_made_up_token_is_refused() -> None:
    with pytest.raises(Refused, match="token"):
        page(["a"], 1, "made up")


def test_every_missing_and_unknown_parameter_is_named(shop: Shop) -> None:
    with pytest.raises(ParamValidationError) as error:
        shop.sqs.send_message(QueueURL="x", MessageBody=3)

    assert 'Missing required parameter in input: "QueueUrl"' in str(error.value)
    assert 'Unknown parameter in input: "QueueURL"' in str(error.value)
    assert "Invalid type for parameter MessageBody" in str(error.value)


def test_closing_a_client_does_nothing(shop: Shop) -> None:
    url = shop.queue()

    shop.sqs.close()
    shop.sns.close()

    assert shop.bodies(url) == []


def test_parameters_are_left_as_they_were(shop: Shop) -> None:
    url = shop.queue()
    attributes = {"a": {"DataType": "String", "StringValue": "x"}}

    shop.sqs.send_message(QueueUrl=url, MessageBody="a", MessageAttributes=attributes)
    attributes["a"]["StringValue"] = "changed"

    (message,) = shop.receive(url, MessageAttributeNames=["All"])
    assert message["MessageAttributes"]["a"]["StringValue"] == "x"


def test_an_error_reads_like_that_of_boto3(shop: Shop) -> None:
    with pytest.raises(ClientError) as error:
        shop.sqs.get_queue_url(QueueName="nowhere")

    assert str(error.value) == (
        "An error occurred (AWS.SimpleQueueService.NonExistentQueue) when calling the GetQueueUrl operation: "
        "The specified queue does not exist."
    )
    assert str(error.value.__cause__) == "QueueDoesNotExist: The specified queue does not exist."
