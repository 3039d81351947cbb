"""Access policies: whom they let in, as far as this machine can tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from megaflow.local.access import account_as_caller, allows, topic_as_caller
from megaflow.provision.policies import let_all_topics_send

QUEUE = "arn:aws:sqs:eu-west-1:424566909325:orders"
TOPIC = "arn:aws:sns:eu-west-1:424566909325:news"
SNS = {"Service": "sns.amazonaws.com"}
ALLOW = {"Effect": "Allow", "Principal": SNS, "Action": "sqs:SendMessage", "Resource": QUEUE}
DENY = {**ALLOW, "Effect": "Deny", "Principal": "*"}


def written(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def lets_topic_in(policy: str, topic: str = TOPIC) -> bool:
    return allows(policy, topic_as_caller(topic), "sqs:SendMessage", QUEUE)


def when(operator: str, key: str, value: Any) -> dict[str, Any]:
    return {"Condition": {operator: {key: value}}}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"Principal": "*"},
        {"Principal": ["*"]},
        {"Principal": {"AWS": "*"}},
        {"Principal": {"AWS": ["*"]}},
        {"Principal": {"Service": "*"}},
        {"Principal": {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]}},
        {"Principal": {"Service": "sns.eu-south-1.amazonaws.com"}},
        {"Action": "SQS:SendMessage"},
        {"Action": "sqs:*"},
        {"Action": "sqs:Send*"},
        {"Action": "*"},
        {"Action": ["sqs:ReceiveMessage", "sqs:SendMessage"]},
        {"Resource": "*"},
        {"Resource": ["arn:aws:sqs:*:*:orders"]},
        {"Resource": "arn:aws:sqs:eu-west-1:424566909325:order?"},
        when("ArnEquals", "aws:SourceArn", TOPIC),
        when("ArnLike", "AWS:SourceArn", "arn:aws:sns:*:424566909325:*"),
        when("ArnEquals", "aws:SourceArn", ["arn:aws:sns:eu-west-1:424566909325:others", TOPIC]),
        when("StringEquals", "aws:SourceArn", TOPIC),
        when("StringLike", "aws:sourcearn", "*:news"),
        when("ArnEqualsIfExists", "aws:SourceArn", TOPIC),
        when("ForAnyValue:StringEquals", "aws:SourceArn", [TOPIC]),
        when("ArnNotLike", "aws:SourceArn", "*:others"),
        when("StringEquals", "aws:SourceAccount", "424566909325"),
        when("Bool", "aws:SecureTransport", "true"),
        when("Bool", "aws:SecureTransport", True),
        when("IpAddress", "aws:SourceIp", "10.0.0.0/8"),
        when("StringEquals", "aws:PrincipalOrgID", "o-1234"),
        {"Condition": {}},
        {"Condition": "odd"},
    ],
)
def test_a_topic_is_let_in_by_what_allows_it_or_may_do_so(change: dict[str, Any]) -> None:
    assert lets_topic_in(written({**ALLOW, **change}))


@pytest.mark.parametrize(
    "change",
    [
        {"Effect": "allow"},
        {"Principal": {"AWS": "424566909325"}},
        {"Principal": {"AWS": "arn:aws:iam::424566909325:root"}},
        {"Principal": {"Service": "events.amazonaws.com"}},
        {"Principal": {"Service": "snsx.amazonaws.com"}},
        {"Principal": None},
        {"Action": "sqs:ReceiveMessage"},
        {"Action": "sns:*"},
        {"Action": []},
        {"Action": "sqs:SendMessag"},
        {"Resource": "arn:aws:sqs:eu-west-1:424566909325:others"},
        {"Resource": "arn:aws:sqs:us-east-1:424566909325:orders"},
        {"Resource": "arn.aws:sqs:eu-west-1:424566909325:orders"},
        when("ArnEquals", "aws:SourceArn", "arn:aws:sns:eu-west-1:424566909325:others"),
        when("StringEquals", "aws:SourceArn", "arn:aws:sns:*:*:news"),
        when("ArnLike", "aws:SourceArn", []),
        when("ArnNotEquals", "aws:SourceArn", TOPIC),
        when("StringEquals", "aws:SourceAccount", "000000000000"),
        when("Bool", "aws:SecureTransport", "false"),
        {"Condition": {"ArnLike": {"aws:SourceArn": "*:others"}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
    ],
)
def test_a_topic_is_not_let_in_by_what_is_for_something_else(change: dict[str, Any]) -> None:
    assert not lets_topic_in(written({**ALLOW, **change}))


@pytest.mark.parametrize(
    "policy", ["", "{}", "no JSON", "[]", "7", "[" * 100_000, '{"Statement": 7}', '{"Statement": [7]}']
)
def test_what_is_no_policy_lets_nobody_in(policy: str) -> None:
    assert not lets_topic_in(policy)


def test_a_single_statement_needs_no_list() -> None:
    assert lets_topic_in(json.dumps({"Statement": ALLOW}))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"Principal": SNS},
        {"Action": "*"},
        when("ArnNotEquals", "aws:SourceArn", "arn:aws:sns:eu-west-1:424566909325:others"),
    ],
)
def test_what_refuses_wins(change: dict[str, Any]) -> None:
    assert not lets_topic_in(written(ALLOW, {**DENY, **change}))
    assert not lets_topic_in(written({**DENY, **change}, ALLOW))


@pytest.mark.parametrize(
    "change",
    [
        when("Bool", "aws:SecureTransport", "false"),
        when("ArnNotEquals", "aws:SourceArn", TOPIC),
        when("NotIpAddress", "aws:SourceIp", "10.0.0.0/8"),
        {"Action": "sqs:ReceiveMessage"},
        {"Principal": {"AWS": "000000000000"}},
    ],
)
def test_what_refuses_others_or_may_not_refuse_leaves_the_topic_in(change: dict[str, Any]) -> None:
    assert lets_topic_in(written(ALLOW, {**DENY, **change}))


def test_the_opposite_of_a_name_is_all_others() -> None:
    others: dict[str, Any] = {"Effect": "Allow", "NotAction": "sqs:DeleteQueue", "NotResource": f"{QUEUE}x"}

    assert lets_topic_in(written({**others, "NotPrincipal": {"AWS": "000000000000"}}))
    assert not lets_topic_in(written({**others, "NotPrincipal": SNS}))
    assert not lets_topic_in(written({**others, "Principal": "*", "NotAction": "sqs:*"}))
    assert not lets_topic_in(
        written(ALLOW, {"Effect": "Deny", "Not" + "Principal": {"AWS": "1"}, "Action": "*", "Resource": "*"})
    )


def test_all_topics_are_let_in_by_the_policy_for_that() -> None:
    assert lets_topic_in(let_all_topics_send(QUEUE))
    assert not allows(let_all_topics_send(QUEUE), topic_as_caller(TOPIC), "sqs:ReceiveMessage", QUEUE)


@pytest.mark.parametrize(
    ("principal", "number", "is_let_in"),
    [
        ({"AWS": "210987654321"}, "210987654321", True),
        ({"AWS": "arn:aws:iam::210987654321:root"}, "210987654321", True),
        ({"AWS": ["arn:aws:iam::210987654321:user/jane"]}, "210987654321", True),
        ({"AWS": "arn:aws:iam::210987654321:root"}, "210987654322", False),
        ("*", "210987654321", True),
        ("*", "", True),
        ({"AWS": "*"}, "", True),
        ({"AWS": "210987654321"}, "", False),
        ({"AWS": "arn:aws:iam::210987654321:root"}, "", False),
        ({"Service": "sns.amazonaws.com"}, "210987654321", False),
    ],
)
def test_accounts_are_let_in_by_number(principal: Any, number: str, is_let_in: bool) -> None:
    policy = written({**ALLOW, "Principal": principal})

    assert allows(policy, account_as_caller(number), "sqs:SendMessage", QUEUE) is is_let_in


def test_who_calls_for_nobody_else_is_not_let_in_for_a_topic() -> None:
    for_topics = {**ALLOW, "Principal": "*", **when("ArnEquals", "aws:SourceArn", TOPIC)}
    if_topics = {**ALLOW, "Principal": "*", **when("ArnEqualsIfExists", "aws:SourceArn", TOPIC)}
    caller = account_as_caller("210987654321")

    assert not allows(written(for_topics), caller, "sqs:SendMessage", QUEUE)
    assert allows(written(if_topics), caller, "sqs:SendMessage", QUEUE)
