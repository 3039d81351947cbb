from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.local.operations.permissions import with_permission, without_permission
from megaflow.local.refused import Refused

ARN = "arn:aws:sqs:us-east-1:000000000000:orders"
ALICE = "111111111111"
BOB = "222222222222"


def allow(
    policy: str | None = None,
    *,
    label: str = "alice",
    account_ids: Sequence[str] = (ALICE,),
    actions: Sequence[str] = ("SendMessage",),
) -> str:
    return with_permission(policy, queue_arn=ARN, label=label, account_ids=account_ids, actions=actions)


def refusal(function: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        function()
    return caught.value


def labels(policy: str | None) -> list[str]:
    return [statement["Sid"] for statement in json.loads(policy or '{"Statement": []}')["Statement"]]


def test_the_first_permission_makes_the_policy_that_aws_makes() -> None:
    policy = allow(actions=["ReceiveMessage"])

    # As recorded from AWS by LocalStack, tests/aws/services/sqs/test_sqs.snapshot.json, test_sqs_permission_lifecycle.
    assert policy == (
        f'{{"Version":"2008-10-17","Id":"{ARN}/SQSDefaultPolicy","Statement":[{{"Sid":"alice","Effect":"Allow",'
        f'"Principal":{{"AWS":"arn:aws:iam::{ALICE}:root"}},"Action":"SQS:ReceiveMessage","Resource":"{ARN}"}}]}}'
    )


def test_several_accounts_and_actions_are_lists() -> None:
    policy = allow(account_ids=[ALICE, BOB], actions=["SendMessage", "*"])

    [statement] = json.loads(policy)["Statement"]
    assert statement["Principal"] == {"AWS": [f"arn:aws:iam::{ALICE}:root", f"arn:aws:iam::{BOB}:root"]}
    assert statement["Action"] == ["SQS:SendMessage", "SQS:*"]


def test_a_permission_is_added_to_those_that_are_there() -> None:
    policy = allow(allow(), label="bob", account_ids=[BOB])

    assert labels(policy) == ["alice", "bob"]


@pytest.mark.parametrize("statement", [{"Effect": "Deny", "Action": "sqs:*"}, {"Sid": "own", "Effect": "Deny"}])
@pytest.mark.parametrize("shape", [lambda one: one, lambda one: [one]])
def test_a_policy_of_the_users_own_is_kept(statement: dict[str, str], shape: Callable[[object], object]) -> None:
    own = json.dumps({"Statement": shape(statement), "Version": "2012-10-17", "Id": "café"}, ensure_ascii=False)

    policy = allow(own)

    read = json.loads(policy)
    assert (read["Version"], read["Id"], read["Statement"][0]) == ("2012-10-17", "café", statement)
    assert read["Statement"][1]["Sid"] == "alice"
    assert "café" in policy


@pytest.mark.parametrize("policy", ["{}", '{"Statement": "?"}', '{"Statement": ["?"]}'])
def test_a_policy_that_is_no_policy_is_no_obstacle(policy: str) -> None:
    added = allow(policy)

    assert json.loads(added)["Statement"][-1]["Sid"] == "alice"


def test_a_label_is_taken_once() -> None:
    refused = refusal(lambda: allow(allow(), account_ids=[BOB]))

    assert refused.name == "InvalidParameterValue"
    assert refused.message == "Value alice for parameter Label is invalid. Reason: Already exists."


@pytest.mark.parametrize("label", ["with space", "dotted.name", "é", "x" * 81, "new\n"])
def test_a_label_is_made_of_80_plain_characters(label: str) -> None:
    refused = refusal(lambda: allow(label=label))

    assert refused.name == "InvalidParameterValue"
    assert refused.message.startswith(f"Value {label} for parameter Label is invalid. Reason: Can only include")


@pytest.mark.parametrize("label", ["x", "A-b_9", "x" * 80])
def test_a_plain_label_is_taken(label: str) -> None:
    assert labels(allow(label=label)) == [label]


@pytest.mark.parametrize("ask", [lambda: allow(label=""), lambda: without_permission(allow(), "")])
def test_a_label_has_to_be_given(ask: Callable[[], object]) -> None:
    refused = refusal(ask)

    assert refused.name == "MissingParameter"
    assert refused.message == "The request must contain the parameter Label."


def test_an_action_has_to_be_given() -> None:
    refused = refusal(lambda: allow(actions=[]))

    assert refused.name == "MissingParameter"
    assert refused.message == "The request must contain the parameter Actions."


def test_seven_actions_are_allowed_and_no_more() -> None:
    refused = refusal(lambda: allow(actions=["SendMessage"] * 8))

    assert allow(actions=["SendMessage"] * 7)
    assert (refused.name, refused.status) == ("OverLimit", 403)
    assert refused.message == "8 Actions were found, maximum allowed is 7."


@pytest.mark.parametrize("action", ["AddPermission", "SetQueueAttributes", "StartMessageMoveTask"])
def test_what_only_the_owner_may_do_is_not_allowed_to_others(action: str) -> None:
    refused = refusal(lambda: allow(actions=["SendMessage", action]))

    assert refused.name == "InvalidParameterValue"
    assert refused.message == (
        f"Value SQS:{action} for parameter ActionName is invalid. "
        "Reason: Only the queue owner is allowed to invoke this action."
    )


@pytest.mark.parametrize("action", ["SendMessageBatch", "sendmessage", "SQS:SendMessage", ""])
def test_an_action_needs_the_name_aws_gave_it(action: str) -> None:
    refused = refusal(lambda: allow(actions=[action]))

    assert refused.message == (
        f"Value SQS:{action} for parameter ActionName is invalid. "
        "Reason: Please refer to the appropriate WSDL for a list of valid actions."
    )


@pytest.mark.parametrize(("account_ids", "shown"), [([], "[]"), (["alice", "1" * 13], "[alice, 1111111111111]")])
def test_an_account_has_to_be_given(account_ids: list[str], shown: str) -> None:
    refused = refusal(lambda: allow(account_ids=account_ids))

    assert refused.name == "InvalidParameterValue"
    assert refused.message == f"Value {shown} for parameter PrincipalId is invalid. Reason: Unable to verify."


def test_an_account_that_cannot_be_one_is_left_out_where_another_can() -> None:
    policy = allow(account_ids=["alice", BOB])

    assert json.loads(policy)["Statement"][0]["Principal"] == {"AWS": f"arn:aws:iam::{BOB}:root"}


def test_twenty_statements_are_allowed_and_no_more() -> None:
    policy: str | None = None
    for number in range(20):
        policy = allow(policy, label=f"label-{number}")

    refused = refusal(lambda: allow(policy, label="one-more"))

    assert len(labels(policy)) == 20
    assert (refused.name, refused.status) == ("OverLimit", 403)
    assert refused.message == "21 Statements were found, maximum allowed is 20."


def test_a_permission_is_removed_by_its_label() -> None:
    policy = allow(allow(allow(), label="bob"), label="carol")

    left = without_permission(policy, "bob")

    assert labels(left) == ["alice", "carol"]


def test_with_the_last_permission_the_policy_is_gone() -> None:
    assert without_permission(allow(), "alice") is None


@pytest.mark.parametrize("statement", [{"Sid": "own"}, [{"Sid": "own"}, {"Sid": "own", "Effect": "Deny"}]])
def test_all_statements_of_the_users_own_with_the_label_are_removed(statement: Any) -> None:
    assert without_permission(json.dumps({"Statement": statement}), "own") is None


@pytest.mark.parametrize(("policy", "reason"), [(None, ""), ("", ""), (allow(), " on existing policy")])
def test_a_label_that_is_not_there_cannot_be_removed(policy: str | None, reason: str) -> None:
    refused = refusal(lambda: without_permission(policy, "bob"))

    assert refused.name == "InvalidParameterValue"
    assert refused.message == f"Value bob for parameter Label is invalid. Reason: can't find label{reason}."


@given(st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,80}", fullmatch=True), min_size=1, max_size=20, unique=True), st.data())
def test_removing_undoes_adding(names: list[str], data: st.DataObject) -> None:
    policy: str | None = None
    for name in names:
        policy = allow(policy, label=name)

    for name in data.draw(st.permutations(names)):
        before = labels(policy)
        policy = without_permission(policy, name)
        assert labels(policy) == [one for one in before if one != name]

    assert policy is None
