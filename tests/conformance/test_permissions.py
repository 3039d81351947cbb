from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.conftest import World
from tests.conformance.pages import ADD_PERMISSION, moto_differs

ALICE = "111111111111"
BOB = "222222222222"


def allow(world: World, url: str, label: str = "alice", **parameters: Any) -> None:
    given = {"AWSAccountIds": [ALICE], "Actions": ["ReceiveMessage"], **parameters}
    world.sqs.add_permission(QueueUrl=url, Label=label, **given)


def policy(world: World, url: str) -> Any:
    return json.loads(world.attributes(url)["Policy"])


def labels(world: World, url: str) -> list[str]:
    return [statement["Sid"] for statement in policy(world, url)["Statement"]]


def test_a_permission_is_a_statement_of_the_policy(world: World) -> None:
    url = world.queue()

    allow(world, url)

    assert policy(world, url)["Statement"] == [
        {
            "Sid": "alice",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ALICE}:root"},
            "Action": "SQS:ReceiveMessage",
            "Resource": world.arn(url),
        }
    ]


def test_permissions_are_added_to_one_another(world: World) -> None:
    url = world.queue()

    allow(world, url)
    allow(world, url, "bob", AWSAccountIds=[BOB])

    assert labels(world, url) == ["alice", "bob"]


def test_a_permission_is_added_to_a_policy_that_was_set(world: World) -> None:
    own = {"Sid": "own", "Effect": "Deny", "Principal": "*", "Action": "sqs:*"}
    url = world.queue(Policy=json.dumps({"Version": "2012-10-17", "Statement": [own]}))

    allow(world, url)

    assert labels(world, url) == ["own", "alice"]


def test_a_permission_is_removed_by_its_label(world: World) -> None:
    url = world.queue()
    allow(world, url)
    allow(world, url, "bob")

    world.sqs.remove_permission(QueueUrl=url, Label="alice")

    assert labels(world, url) == ["bob"]


def test_with_the_last_permission_the_policy_is_gone(world: World) -> None:
    url = world.queue()
    allow(world, url)

    world.sqs.remove_permission(QueueUrl=url, Label="alice")

    assert "Policy" not in world.attributes(url)


def test_a_label_is_taken_once(world: World) -> None:
    url = world.queue()
    allow(world, url)

    with pytest.raises(ClientError, match="Already exists") as error:
        allow(world, url)

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_a_label_that_is_not_there_cannot_be_removed(world: World) -> None:
    url = world.queue()
    allow(world, url)

    with pytest.raises(ClientError, match="can't find label on existing policy") as error:
        world.sqs.remove_permission(QueueUrl=url, Label="bob")

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_more_than_seven_actions_are_refused(world: World) -> None:
    url = world.queue()

    with pytest.raises(ClientError, match="8 Actions were found, maximum allowed is 7") as error:
        allow(world, url, Actions=["SendMessage"] * 8)

    assert error.value.response["Error"]["Code"] == "OverLimit"


def test_what_only_the_owner_may_do_is_not_allowed_to_others(world: World) -> None:
    url = world.queue()

    with pytest.raises(ClientError, match="Only the queue owner is allowed to invoke this action") as error:
        allow(world, url, Actions=["DeleteQueue"])

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


@moto_differs("moto takes any text as an account", ADD_PERMISSION)
def test_permissions_are_given_to_accounts(world: World) -> None:
    url = world.queue()

    with pytest.raises(ClientError, match="PrincipalId is invalid") as error:
        allow(world, url, AWSAccountIds=["alice"])

    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


@pytest.mark.parametrize("operation", ["add_permission", "remove_permission"])
def test_permissions_are_for_a_queue_that_is_there(world: World, operation: str) -> None:
    given = {"AWSAccountIds": [ALICE], "Actions": ["*"]} if operation == "add_permission" else {}

    with pytest.raises(world.sqs.exceptions.QueueDoesNotExist):
        getattr(world.sqs, operation)(QueueUrl=f"{world.queue()}-not", Label="alice", **given)
