"""``AddPermission`` and ``RemovePermission`` of SNS: a statement goes into a topic's policy and out of it by its label.

https://docs.aws.amazon.com/sns/latest/api/API_AddPermission.html
https://docs.aws.amazon.com/sns/latest/api/API_RemovePermission.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from megaflow.local.account import Account
from megaflow.local.operations.operation import Answer, Ask
from megaflow.local.operations.permissions import (
    ACCOUNT_ID,
    LABEL,
    label_of,
    principal_of,
    statement_for,
    statements_of,
    write_policy,
)
from megaflow.local.operations.topic_attributes import TOPIC_ACTIONS, policy_of
from megaflow.local.refused import Refused, invalid_parameter
from megaflow.local.topic import LocalTopic

_ACTIONS: Final = frozenset({*TOPIC_ACTIONS, "Receive"})
_POLICY_SIZE: Final = 30 * 1024
"""Bytes. https://docs.aws.amazon.com/general/latest/gr/sns.html"""


def add_permission(account: Account, topic: LocalTopic, ask: Ask) -> Answer:
    """Add a statement to the policy of a topic, as boto3's ``add_permission`` asks for it.

    Raises:
        Refused: a label that is wrong or taken, an action that a topic does not have, no account, one that could not be
            one, or a policy that becomes too large.
    """
    label, account_ids, actions = ask["Label"], ask["AWSAccountId"], ask["ActionName"]
    _check(label, account_ids, actions)
    document = json.loads(policy_of(topic, account.account_id))
    statements = statements_of(document)
    if label in map(label_of, statements):
        raise invalid_parameter("Statement already exists")
    added = statement_for(
        label, list(map(principal_of, account_ids)), [f"SNS:{action}" for action in actions], topic.arn
    )
    policy = write_policy({**document, "Statement": [*statements, added]})
    if len(policy.encode()) > _POLICY_SIZE:
        raise invalid_parameter(f"Policy Reason: it can have {_POLICY_SIZE} bytes at most")
    return _keep(account, topic, policy)


def remove_permission(account: Account, topic: LocalTopic, ask: Ask) -> Answer:
    """Take the statement of this label out of the policy of a topic.

    Raises:
        Refused: there is no such statement.
    """
    label = ask["Label"]
    document = json.loads(policy_of(topic, account.account_id))
    statements = statements_of(document)
    left = [statement for statement in statements if label_of(statement) != label]
    if len(left) == len(statements):
        raise _wrong_label(f"the policy has no statement {label}")
    return _keep(account, topic, write_policy({**document, "Statement": left}))


def _check(label: str, account_ids: Sequence[str], actions: Sequence[str]) -> None:
    if not LABEL.fullmatch(label):
        raise _wrong_label("it has 1 to 80 letters, digits, hyphens and underscores")
    if not account_ids:
        raise invalid_parameter("AWSAccountId")
    if not all(map(ACCOUNT_ID.fullmatch, account_ids)):
        raise invalid_parameter("Policy Error: PrincipalNotFound")
    if not actions:
        raise invalid_parameter("ActionName")
    if not _ACTIONS.issuperset(actions):
        raise invalid_parameter("Policy statement action out of service scope!")


def _keep(account: Account, topic: LocalTopic, policy: str) -> Answer:
    topic.attributes["Policy"] = policy
    account.touch_topic(topic)
    return {}


def _wrong_label(reason: str) -> Refused:
    return invalid_parameter(f"Label Reason: {reason}")
