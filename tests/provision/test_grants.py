"""Grants: what a policy lets a topic do, in all the forms that people write; what is not certain counts as allowed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from megaflow.provision.doctor.grants import lets_everybody, may
from megaflow.provision.policies import let_topic_send, make_policy

TOPIC = "arn:aws:sns:eu-west-1:123456789012:shop"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"
OURS = let_topic_send("shop", TOPIC, QUEUE)


def lets(*statements: Any) -> bool:
    policy = json.dumps(make_policy(statements)) if statements else ""
    return may(policy, "sns.amazonaws.com", "sqs:SendMessage", resource=QUEUE, source_arn=TOPIC)


def when(**conditions: Any) -> dict[str, Any]:
    return OURS | {"Condition": conditions}


@pytest.mark.parametrize(
    "statement",
    [
        OURS,
        OURS | {"Principal": "*"},
        OURS | {"Principal": {"AWS": "*"}},
        OURS | {"Principal": {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]}},
        OURS | {"Action": ["SQS:SendMessage"]},
        OURS | {"Action": "sqs:*"},
        OURS | {"Action": "*"},
        OURS | {"Resource": "*"},
        OURS | {"Resource": ["arn:aws:sqs:*:123456789012:orders"]},
        when(ArnLike={"aws:SourceArn": "arn:aws:sns:*:123456789012:*"}),
        when(StringEquals={"AWS:SourceArn": [TOPIC, "another"]}),
        when(StringLike={"aws:SourceArn": "*:shop"}),
        when(StringEquals={"aws:SourceAccount": "123456789012"}),
        when(ArnEquals={"aws:SourceArn": TOPIC}, StringEquals={"aws:SourceAccount": "123456789012"}),
        when(Bool={"aws:SecureTransport": "true"}),
        when(StringEquals={"aws:PrincipalOrgID": "o-1"}),
        when(**{"ForAnyValue:ArnLike": {"aws:SourceArn": TOPIC}}),
        when(StringEqualsIfExists={"aws:SourceArn": TOPIC}),
        {key: value for key, value in OURS.items() if key != "Principal"} | {"NotPrincipal": {"AWS": "somebody"}},
        {key: value for key, value in OURS.items() if key != "Action"} | {"NotAction": "sqs:DeleteQueue"},
        {key: value for key, value in OURS.items() if key != "Resource"} | {"NotResource": "arn:of-another"},
    ],
)
def test_what_lets_a_topic_send(statement: Any) -> None:
    assert lets(statement)


@pytest.mark.parametrize(
    "statement",
    [
        OURS | {"Effect": "Deny"},
        OURS | {"Principal": {"Service": "events.amazonaws.com"}},
        OURS | {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}},
        OURS | {"Action": "sqs:ReceiveMessage"},
        OURS | {"Resource": "arn:aws:sqs:eu-west-1:123456789012:others"},
        when(ArnEquals={"aws:SourceArn": f"{TOPIC}s"}),
        when(ArnLike={"aws:SourceArn": "arn:aws:sns:*:999999999999:*"}),
        when(StringEquals={"aws:SourceArn": "*"}),
        when(StringEquals={"aws:SourceAccount": "999999999999"}),
        when(ArnEquals={"aws:SourceArn": TOPIC}, StringEquals={"aws:SourceAccount": "999999999999"}),
        when(ArnLike={"aws:SourceArn": "arn:aws:sns:eu-west-1:123456789012:[s]hop"}),
    ],
)
def test_what_does_not(statement: Any) -> None:
    assert not lets(statement)


def test_nothing_lets_nobody() -> None:
    assert not lets()


def test_what_is_denied_to_everybody_is_not_allowed() -> None:
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": QUEUE}

    assert not lets(OURS, deny)
    # Over an insecure connection, or to others: no topic is concerned, as far as anybody knows.
    assert lets(OURS, deny | {"Condition": {"Bool": {"aws:SecureTransport": "false"}}})
    assert lets(OURS, deny | {"Principal": {"AWS": "arn:aws:iam::999999999999:root"}})


@pytest.mark.parametrize(
    ("statement", "is_open"),
    [
        ({"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": QUEUE}, True),
        ({"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": "SQS:*", "Resource": QUEUE}, True),
        ({"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": QUEUE}, False),
        ({"Effect": "Allow", "Principal": "*", "Action": "sqs:GetQueueUrl", "Resource": QUEUE}, False),
        (when(ArnEquals={"aws:SourceArn": TOPIC}) | {"Principal": "*"}, False),
        (OURS, False),
    ],
)
def test_whether_everybody_may_send(statement: Any, is_open: bool) -> None:
    assert lets_everybody(json.dumps({"Statement": statement}), "sqs:SendMessage") is is_open


def test_what_is_no_policy_is_an_error() -> None:
    with pytest.raises(ValueError, match="no object with a list of statements"):
        may("[]", "sns.amazonaws.com", "sqs:SendMessage")
