"""Policies of queues: the statement for a topic, beside those of others."""

from __future__ import annotations

import json

import pytest

from megaflow.provision.policies import has_statement, let_topic_send, make_policy, put_statements, sid_of

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:shop"
OURS = let_topic_send("shop", TOPIC, QUEUE)
THEIRS = {"Sid": "audit", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": QUEUE}


def test_each_topic_has_an_id_of_letters_and_digits() -> None:
    ids = {sid_of(name) for name in ("shop", "sh-op", "sh_op", "shop.fifo", "Shop")}

    assert len(ids) == 5
    assert all(sid.isalnum() for sid in ids)


def test_statements_of_others_stay() -> None:
    policy = json.dumps({"Version": "2008-10-17", "Id": "theirs", "Statement": THEIRS})

    put = json.loads(put_statements(policy, [OURS]))

    assert put == {"Version": "2008-10-17", "Id": "theirs", "Statement": [THEIRS, OURS]}


def test_a_statement_of_the_same_id_gives_way() -> None:
    broken = {**OURS, "Effect": "Deny"}

    put = json.loads(put_statements(json.dumps(make_policy([broken, THEIRS])), [OURS]))

    assert put["Statement"] == [THEIRS, OURS]


def test_the_same_under_another_name_and_in_another_form_is_enough() -> None:
    said = {
        "Sid": "by-hand",
        "Effect": "Allow",
        "Principal": {"Service": ["sns.amazonaws.com"]},
        "Action": ["SQS:SendMessage"],
        "Resource": QUEUE,
        "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}},
    }
    policy = json.dumps(make_policy([said]))

    assert has_statement(policy, OURS)
    assert json.loads(put_statements(policy, [OURS]))["Statement"] == [said]
    assert not has_statement(policy, let_topic_send("other", f"{TOPIC}2", QUEUE))


def test_no_policy_becomes_one() -> None:
    assert json.loads(put_statements("", [OURS])) == make_policy([OURS])
    assert not has_statement("", OURS)


@pytest.mark.parametrize("policy", ["[]", '{"Statement": 7}', '{"Statement": ["a"]}', "{"])
def test_what_is_no_policy_is_said(policy: str) -> None:
    with pytest.raises(ValueError, match=r"its policy is no|Expecting"):
        has_statement(policy, OURS)
