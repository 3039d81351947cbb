from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import ADD_TOPIC_PERMISSION, REMOVE_TOPIC_PERMISSION, moto_differs

ALICE = "111111111111"
BOB = "222222222222"
OWN = "__default_statement_ID"


def allow(world: World, topic: str, label: str = "alice", **parameters: Any) -> None:
    given = {"AWSAccountId": [ALICE], "ActionName": ["Publish"], **parameters}
    world.sns.add_permission(TopicArn=topic, Label=label, **given)


def statements(world: World, topic: str) -> list[dict[str, Any]]:
    attributes = world.sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    found: list[dict[str, Any]] = json.loads(attributes["Policy"])["Statement"]
    return found


def labels(world: World, topic: str) -> list[str]:
    return [statement["Sid"] for statement in statements(world, topic)]


def refusal(world: World, topic: str, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        allow(world, topic, **parameters)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def test_a_permission_is_a_statement_beside_the_owners_own(world: World) -> None:
    topic = world.topic()

    allow(world, topic)

    own, added = statements(world, topic)
    assert own["Sid"] == OWN
    assert added == {
        "Sid": "alice",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ALICE}:root"},
        "Action": "SNS:Publish",
        "Resource": topic,
    }


def test_a_permission_is_for_several_accounts_and_actions(world: World) -> None:
    topic = world.topic()

    allow(world, topic, AWSAccountId=[ALICE, BOB], ActionName=["Publish", "Subscribe"])

    added = statements(world, topic)[1]
    assert added["Principal"] == {"AWS": [f"arn:aws:iam::{ALICE}:root", f"arn:aws:iam::{BOB}:root"]}
    assert added["Action"] == ["SNS:Publish", "SNS:Subscribe"]


def test_a_permission_is_added_to_a_policy_that_was_set(world: World) -> None:
    topic = world.topic()
    own = {"Sid": "own", "Effect": "Deny", "Principal": "*", "Action": "SNS:Publish", "Resource": topic}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [own]})
    world.sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)

    allow(world, topic)

    assert labels(world, topic) == ["own", "alice"]


def test_a_permission_is_removed_by_its_label(world: World) -> None:
    topic = world.topic()
    allow(world, topic)
    allow(world, topic, "bob")

    world.sns.remove_permission(TopicArn=topic, Label="alice")

    assert labels(world, topic) == [OWN, "bob"]


def test_a_label_is_taken_once(world: World) -> None:
    topic = world.topic()
    allow(world, topic)

    code, said = refusal(world, topic)

    assert code == "InvalidParameter"
    assert "Statement already exists" in said


@moto_differs("moto removes nothing and says nothing", REMOVE_TOPIC_PERMISSION)
def test_a_label_that_is_not_there_cannot_be_removed(world: World) -> None:
    topic = world.topic()

    with pytest.raises(world.sns.exceptions.InvalidParameterException, match="Label"):
        world.sns.remove_permission(TopicArn=topic, Label="bob")


@moto_differs("moto takes any label", ADD_TOPIC_PERMISSION)
@pytest.mark.parametrize("label", ["", "a label", "x" * 81, "größer"])
def test_a_label_is_a_word(world: World, label: str) -> None:
    code, said = refusal(world, world.topic(), label=label)

    assert code == "InvalidParameter"
    assert "Label" in said


@pytest.mark.parametrize("action", ["SendMessage", "CreateTopic", "publish", "*"])
def test_what_a_topic_cannot_do_is_not_allowed_to_others(world: World, action: str) -> None:
    code, said = refusal(world, world.topic(), ActionName=["Publish", action])

    assert code == "InvalidParameter"
    assert "Policy statement action out of service scope!" in said


@moto_differs("moto takes any text as an account", ADD_TOPIC_PERMISSION)
def test_permissions_are_given_to_accounts(world: World) -> None:
    assert refusal(world, world.topic(), AWSAccountId=["alice"])[0] == "InvalidParameter"


@moto_differs("moto has no limit", ADD_TOPIC_PERMISSION)
def test_a_policy_has_a_size(world: World) -> None:
    code, said = refusal(world, world.topic(), AWSAccountId=[ALICE] * 1000)

    assert code == "InvalidParameter"
    assert "Policy" in said


@pytest.mark.parametrize("operation", ["add_permission", "remove_permission"])
def test_permissions_are_for_a_topic_that_is_there(world: World, operation: str) -> None:
    given = {"AWSAccountId": [ALICE], "ActionName": ["Publish"]} if operation == "add_permission" else {}

    with pytest.raises(world.sns.exceptions.NotFoundException):
        getattr(world.sns, operation)(TopicArn=f"{world.topic()}-not", Label="alice", **given)
