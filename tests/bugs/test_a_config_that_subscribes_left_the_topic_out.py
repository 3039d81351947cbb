"""A config that subscribes a queue left the topic out: the queue's policy did not let it in, of which we then warned.

`megaflow provision` gives such a queue a policy on AWS; the same declaration now does the same here.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from megaflow.local import Account, SnsClient, SqsClient, declare
from megaflow.provision.policies import has_statement, let_topic_send

TOPIC = "arn:aws:sns:us-east-1:000000000000:"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:"
OTHERS = {"Sid": "others", "Effect": "Allow", "Principal": "*", "Action": "sqs:ReceiveMessage", "Resource": "*"}


def shop(**orders: Any) -> dict[str, Any]:
    queue = {"subscribe": ["shop", {"topic": "news", "dead_letter_queue": "lost"}], **orders}
    return {"queues": {"orders": queue, "lost": {}, "plain": {}}, "topics": {"shop": {}, "news": {}}}


def policy_of(account: Account, name: str) -> str:
    shown = SqsClient(account).get_queue_attributes(QueueUrl=name, AttributeNames=["All"])["Attributes"]
    return str(shown.get("Policy", ""))


def test_a_topic_that_a_queue_subscribes_to_is_let_in_without_a_warning() -> None:
    declare(account := Account(), shop())
    sns = SnsClient(account)
    for name in ("shop", "news"):
        sns.publish(TopicArn=TOPIC + name, Message="hello")

    assert list(account.warnings) == []
    assert len(account.peek("orders")) == 2


@pytest.mark.parametrize(("queue", "topic"), [("orders", "shop"), ("orders", "news"), ("lost", "news")])
def test_the_policy_is_that_of_megaflow_provision(queue: str, topic: str) -> None:
    declare(account := Account(), shop())

    assert has_statement(policy_of(account, queue), let_topic_send(topic, TOPIC + topic, QUEUE + queue))


def test_nobody_else_is_let_in() -> None:
    declare(account := Account(), shop())

    assert policy_of(account, "plain") == ""
    assert len(json.loads(policy_of(account, "orders"))["Statement"]) == 2
    assert len(json.loads(policy_of(account, "lost"))["Statement"]) == 1


def test_what_a_policy_says_already_stays_and_is_not_said_twice() -> None:
    account = Account()
    SqsClient(account).create_queue(
        QueueName="orders", Attributes={"Policy": json.dumps({"Version": "2008-10-17", "Id": "p", "Statement": OTHERS})}
    )
    declare(account, shop())
    first = policy_of(account, "orders")
    declare(account, shop())

    assert policy_of(account, "orders") == first
    policy = json.loads(first)
    assert (policy["Version"], policy["Id"], policy["Statement"][0]) == ("2008-10-17", "p", OTHERS)
    assert len(policy["Statement"]) == 3


def test_a_topic_that_is_kept_out_is_let_in_once_and_kept_out_still() -> None:
    account = Account()
    deny = {**OTHERS, "Effect": "Deny", "Action": "sqs:SendMessage"}
    SqsClient(account).create_queue(QueueName="orders", Attributes={"Policy": json.dumps({"Statement": [deny]})})
    for _ in range(2):
        declare(account, shop())

    assert len(json.loads(policy_of(account, "orders"))["Statement"]) == 3
    SnsClient(account).publish(TopicArn=f"{TOPIC}shop", Message="hello")
    assert [warning.kind for warning in account.warnings] == ["queue policy"]


@pytest.mark.parametrize("given", [{"policy": {"Statement": []}}, {"attributes": {"Policy": '{"Statement":[]}'}}])
def test_a_policy_of_its_own_is_left_alone(given: dict[str, Any]) -> None:
    declare(account := Account(), shop(**given))
    SnsClient(account).publish(TopicArn=f"{TOPIC}shop", Message="hello")

    assert policy_of(account, "orders") == '{"Statement":[]}'
    assert [warning.kind for warning in account.warnings] == ["queue policy"]


def test_a_template_says_its_policies_itself() -> None:
    properties = {"Protocol": "sqs", "Endpoint": {"Fn::GetAtt": "Orders.Arn"}}
    resources = {
        "Orders": {"Type": "AWS::SQS::Queue"},
        "Shop": {"Type": "AWS::SNS::Topic", "Properties": {"Subscription": [properties]}},
    }
    declare(account := Account(), {"Resources": resources})

    assert policy_of(account, "local-Orders") == ""
