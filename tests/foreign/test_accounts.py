"""Regions and accounts kept apart, by what each client signs with."""

from __future__ import annotations

import pytest

from tests.foreign.clients import Caller, Refused
from tests.foreign.test_sqs import attributes, bodies, queue

OTHER = "210987654321"


def test_each_region_has_queues_and_topics_of_its_own(caller: Caller) -> None:
    there = caller.in_region("eu-west-1")
    url, other = queue(caller), queue(there, DelaySeconds="1")
    caller.sqs("SendMessage", QueueUrl=url, MessageBody="here")
    caller.sns("CreateTopic", Name="news")

    assert attributes(there, other, "QueueArn")["QueueArn"] == "arn:aws:sqs:eu-west-1:000000000000:orders"
    assert bodies(there, other) == []
    assert bodies(caller, url) == ["here"]
    assert there.sns("ListTopics")["Topics"] == []


def test_each_account_has_queues_of_its_own(caller: Caller) -> None:
    other = caller.with_key(OTHER)
    mine, theirs = queue(caller), queue(other)
    other.sqs("SendMessage", QueueUrl=theirs, MessageBody="theirs")

    assert theirs == f"{caller.url}/{OTHER}/orders"
    assert caller.sqs("ListQueues")["QueueUrls"] == [mine]
    assert bodies(caller, mine) == []
    other.sqs("DeleteQueue", QueueUrl=theirs)
    with pytest.raises(Refused):
        other.sqs("GetQueueUrl", QueueName="orders")
    assert caller.sqs("GetQueueUrl", QueueName="orders")["QueueUrl"] == mine
