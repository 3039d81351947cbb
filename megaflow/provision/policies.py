"""Policies of queues: the statements that let topics send, found and put among those of others.

https://docs.aws.amazon.com/sns/latest/dg/subscribe-sqs-queue-to-sns-topic.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from megaflow.hashes import hash_parts

Statement: TypeAlias = Mapping[str, Any]

_VERSION: Final = "2012-10-17"
_IDS: Final = 8


def sid_of(topic: str) -> str:
    """Return the id of the statement for the topic of this name: letters and digits, another one for each topic."""
    words = re.findall("[A-Za-z0-9]+", topic)
    return f"Megaflow{''.join(word[:1].upper() + word[1:] for word in words)}{hash_parts(topic)[:_IDS]}"


def let_topic_send(topic: str, topic_arn: Any, queue_arn: Any) -> dict[str, Any]:
    """Return the statement that lets the topic of this name send to a queue.

    The ARNs stand in it as they are given, so they may be what a template has for them.
    """
    return {"Sid": sid_of(topic), **_let_sns_send(queue_arn), "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}}}


def let_all_topics_send(queue_arn: str) -> str:
    """Return a policy that lets every topic, of whomever, send to a queue: for one on this machine."""
    return json.dumps(make_policy([_let_sns_send(queue_arn)]))


def make_policy(statements: Sequence[Statement]) -> dict[str, Any]:
    """Return a policy of these statements alone."""
    return {"Version": _VERSION, "Statement": list(statements)}


def read_statements(policy: str) -> list[Statement]:
    """Return the statements of a *policy*, JSON or ``""``; raise `ValueError` for what is no policy."""
    read = json.loads(policy) if policy else {}
    said = read.get("Statement", []) if isinstance(read, dict) else None
    statements = [said] if isinstance(said, dict) else said
    if not (isinstance(statements, list) and all(isinstance(each, dict) for each in statements)):
        raise ValueError("its policy is no object with a list of statements")
    return statements


def has_statement(policy: str, wanted: Statement) -> bool:
    """Tell whether a *policy* says what *wanted* says, whatever it calls that."""
    return any(_meaning(each) == _meaning(wanted) for each in read_statements(policy))


def put_statements(policy: str, wanted: Sequence[Statement]) -> str:
    """Return *policy* with the statements that it lacks: one of the same id gives way, all others stay."""
    missing = [each for each in wanted if not has_statement(policy, each)]
    ids = {each["Sid"] for each in missing}
    kept = [each for each in read_statements(policy) if each.get("Sid") not in ids]
    whole = {**make_policy(()), **(json.loads(policy) if policy else {})}
    return json.dumps({**whole, "Statement": [*kept, *missing]})


def _let_sns_send(queue_arn: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
    }


def _meaning(statement: Statement) -> object:
    """Return what *statement* says, without its id, and without the forms that AWS lets it have."""
    return {name: _plain(value, name) for name, value in statement.items() if name != "Sid"}


def _plain(value: object, name: str) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(each, name) for key, each in value.items()}
    several = value if isinstance(value, list) else [value]
    # Actions may be in any case: AWS shows some that were given as sqs:SendMessage as SQS:SendMessage.
    return frozenset(str(each).lower() if name == "Action" else str(each) for each in several)
