"""A receive whose turn could not be written down was an error, and its poll still took the next message."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from megaflow.local import Account, SqsClient
from megaflow.local.journal import Touched
from megaflow.local.refused import Refused


class Full:
    """A journal with no room left."""

    def write(self, account: Account, touched: Touched) -> None:
        raise Refused("InternalFailure", "The disk is full", status=500)


def test_nobody_waits_for_a_receive_that_failed() -> None:
    account = Account()
    sqs = SqsClient(account)
    url = sqs.create_queue(QueueName="orders")["QueueUrl"]
    account.journal = Full()

    with pytest.raises(ClientError, match="The disk is full"):
        sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)
    account.journal = None
    sqs.send_message(QueueUrl=url, MessageBody="a")

    assert len(account.polls) == 0
    assert [message["Body"] for message in sqs.receive_message(QueueUrl=url)["Messages"]] == ["a"]
