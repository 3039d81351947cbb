"""``AddPermission`` and ``RemovePermission`` of SQS: a statement goes into a queue's policy and out of it by its label.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_AddPermission.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_RemovePermission.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from megaflow.local.refused import Refused, invalid_value, missing

_ACTIONS: Final = 7
"""In one statement. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html"""

_STATEMENTS: Final = 20
"""In one policy, from the same page."""

LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
ACCOUNT_ID: Final = re.compile(r"[0-9]{12}")
_FOR_OTHERS: Final = frozenset(
    {
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    }
)
"""What is allowed for one message is allowed for a batch, which has no name of its own here."""

FOR_THE_OWNER: Final = frozenset(
    {
        "AddPermission",
        "CancelMessageMoveTask",
        "CreateQueue",
        "DeleteQueue",
        "ListMessageMoveTasks",
        "ListQueueTags",
        "ListQueues",
        "RemovePermission",
        "SetQueueAttributes",
        "StartMessageMoveTask",
        "TagQueue",
        "UntagQueue",
    }
)
"""No other account may ever do these.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-limitations-of-custom-policies.html
"""


def with_permission(
    policy: str | None, *, queue_arn: str, label: str, account_ids: Sequence[str], actions: Sequence[str]
) -> str:
    """Return *policy*, or a new one, with a statement called *label* that allows these accounts these actions.

    Raises:
        Refused: a label that is wrong or taken, actions that are missing, wrong or too many, no account that could
            be one, or too many statements.
    """
    _check_label(label)
    _check_actions(actions)
    document = json.loads(policy) if policy else {"Version": "2008-10-17", "Id": f"{queue_arn}/SQSDefaultPolicy"}
    statements = statements_of(document)
    if label in map(label_of, statements):
        raise invalid_value(label, "Label", "Already exists.")
    _check_count("Statements", len(statements) + 1, _STATEMENTS)
    added = statement_for(label, _principals(account_ids), [f"SQS:{action}" for action in actions], queue_arn)
    return write_policy({**document, "Statement": [*statements, added]})


def without_permission(policy: str | None, label: str) -> str | None:
    """Return *policy* without the statement called *label*, or None where that was all of it.

    Raises:
        Refused: there is no such statement.
    """
    if not label:
        raise missing("Label")
    if not policy:
        raise invalid_value(label, "Label", "can't find label.")
    document = json.loads(policy)
    statements = statements_of(document)
    left = [statement for statement in statements if label_of(statement) != label]
    if len(left) == len(statements):
        raise invalid_value(label, "Label", "can't find label on existing policy.")
    return write_policy({**document, "Statement": left}) if left else None


def statement_for(label: str, principals: Sequence[str], actions: Sequence[str], arn: str) -> dict[str, Any]:
    """Return a statement that allows these *principals* these *actions* on a queue or topic."""
    return {
        "Sid": label,
        "Effect": "Allow",
        "Principal": {"AWS": _one_or_all(principals)},
        "Action": _one_or_all(actions),
        "Resource": arn,
    }


def principal_of(account_id: str) -> str:
    """Return what stands for all of an account in a policy."""
    return f"arn:aws:iam::{account_id}:root"


def statements_of(document: Mapping[str, Any]) -> list[Any]:
    """Return the statements of a policy: a list in JSON, or a single one."""
    statements = document.get("Statement", [])
    return statements if isinstance(statements, list) else [statements]


def label_of(statement: object) -> object:
    """Return what a statement is called, or None where it has no name."""
    return statement.get("Sid") if isinstance(statement, dict) else None


def write_policy(document: Mapping[str, Any]) -> str:
    """Return a policy as AWS writes it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _check_label(label: str) -> None:
    if not label:
        raise missing("Label")
    if not LABEL.fullmatch(label):
        raise invalid_value(
            label, "Label", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length."
        )


def _check_actions(actions: Sequence[str]) -> None:
    if not actions:
        raise missing("Actions")
    _check_count("Actions", len(actions), _ACTIONS)
    for action in actions:
        if action in FOR_THE_OWNER:
            raise _wrong_action(action, "Only the queue owner is allowed to invoke this action.")
        if action not in _FOR_OTHERS:
            raise _wrong_action(action, "Please refer to the appropriate WSDL for a list of valid actions.")


def _wrong_action(action: str, reason: str) -> Refused:
    return invalid_value(f"SQS:{action}", "ActionName", reason)


def _check_count(what: str, count: int, most: int) -> None:
    if count > most:
        raise Refused("OverLimit", f"{count} {what} were found, maximum allowed is {most}.", status=403)


def _principals(account_ids: Sequence[str]) -> list[str]:
    # AWS leaves out the accounts it does not know, and minds only where it knows none.
    known = [account_id for account_id in account_ids if ACCOUNT_ID.fullmatch(account_id)]
    if not known:
        raise invalid_value(f"[{', '.join(account_ids)}]", "PrincipalId", "Unable to verify.")
    return list(map(principal_of, known))


def _one_or_all(texts: Sequence[str]) -> str | Sequence[str]:
    return texts[0] if len(texts) == 1 else texts
