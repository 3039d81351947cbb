"""Attributes of a topic: AWS's names and values, what SNS says of wrong ones, and how they are shown.

https://docs.aws.amazon.com/sns/latest/api/API_SetTopicAttributes.html
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from megaflow.limits import SNS_MESSAGE_SIZE, SQS_MESSAGE_SIZE
from megaflow.local.endpoints.delivery_policy import WrongPolicy, check_topic_policy, effective_for_topic
from megaflow.local.refused import invalid_parameter
from megaflow.local.topic import LocalTopic

_FIFO_ONLY: Final = ("ContentBasedDeduplication", "FifoThroughputScope", "ArchivePolicy")
_SENDERS: Final = ("Application", "Firehose", "HTTP", "Lambda", "SQS")
"""Kinds of endpoints; of each delivery SNS can write a log, which nobody writes here."""

_ARCHIVED_DAYS: Final = 365
_DEFAULTS: Final = {
    "ContentBasedDeduplication": "false",
    "DisplayName": "",
    "FifoThroughputScope": "Topic",
    "FifoTopic": "false",
    "MaximumMessageSize": str(SNS_MESSAGE_SIZE),
    "SignatureVersion": "1",
    "TracingConfig": "PassThrough",
}
"""What a topic has that was not given it."""

TOPIC_ACTIONS: Final = (
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
)
"""What the policy of a new topic allows its owner."""


class _WrongValue(Exception):
    """What is wrong with a value, without its attribute's name."""


def read_topic_attributes(given: Mapping[str, str], *, fifo: bool) -> dict[str, str]:
    """Return the attributes that a new topic is *given*, as it keeps them.

    Raises:
        Refused: one that is unknown, has a wrong value or is not for this type of topic.
    """
    read = {name: _read(name, value, fifo=fifo, where="Attributes Reason: ") for name, value in given.items()}
    return {name: value for name, value in read.items() if (name, value) != ("FifoTopic", "false")}


def read_topic_attribute(name: str, value: str, *, fifo: bool) -> str:
    """Return the value that an attribute of a topic is changed to, as the topic keeps it.

    Raises:
        Refused: one that is unknown or never changes, has a wrong value or is not for this type of topic.
    """
    if name not in _READERS or name == "FifoTopic":
        raise invalid_parameter("AttributeName")
    return _read(name, value, fifo=fifo)


def differs(topic: LocalTopic, wanted: Mapping[str, str]) -> bool:
    """Tell whether one of the attributes that are *wanted* is another one than the topic's."""
    return any(topic.attributes.get(name, _DEFAULTS.get(name)) != value for name, value in wanted.items())


def show_topic(topic: LocalTopic, owner: str) -> dict[str, str]:
    """Return all attributes of a topic of the account *owner*, as SNS shows them."""
    states = Counter(subscription.state for subscription in topic.subscriptions.values())
    return {
        "TopicArn": topic.arn,
        "Owner": owner,
        "DisplayName": "",
        "Policy": policy_of(topic, owner),
        "EffectiveDeliveryPolicy": _write(effective_for_topic(topic.attributes.get("DeliveryPolicy", ""))),
        **{f"Subscriptions{state.capitalize()}": str(states[state]) for state in ("confirmed", "pending", "deleted")},
        **({"ContentBasedDeduplication": "false"} if topic.fifo else {}),
        **{name: value for name, value in topic.attributes.items() if value},
    }


def policy_of(topic: LocalTopic, owner: str) -> str:
    """Return the policy that a topic was given, or that of a new topic of the account *owner*."""
    return topic.attributes.get("Policy") or _write(_first_policy(topic, owner))


def _first_policy(topic: LocalTopic, owner: str) -> dict[str, object]:
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [f"SNS:{action}" for action in TOPIC_ACTIONS],
        "Resource": topic.arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": owner}},
    }
    return {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}


def _write(document: Mapping[str, object]) -> str:
    return json.dumps(document, separators=(",", ":"))


def _read(name: str, value: str, *, fifo: bool, where: str = "") -> str:
    if name not in _READERS:
        raise invalid_parameter(f"{where}Unknown attribute {name}")
    if name in _FIFO_ONLY and not fifo:
        raise invalid_parameter(f"{where}{name}: only a FIFO topic takes it")
    try:
        return _READERS[name](value)
    except _WrongValue as wrong:
        raise invalid_parameter(f"{where}{name}: Invalid value [{value}]. {wrong}") from wrong


def _read_boolean(value: str) -> str:
    if value.lower() not in {"true", "false"}:
        raise _WrongValue("Must be true or false.")
    return value.lower()


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in choices:
            raise _WrongValue(f"Must be {' or '.join(choices)}.")
        return value

    return read


def _number(low: int, high: int) -> Callable[[str], str]:
    def read(value: str) -> str:
        if not (value.isascii() and value.isdecimal() and len(value) < 10 and low <= int(value) <= high):
            raise _WrongValue(f"Must be between {low} and {high}.")
        return str(int(value))

    return read


def _read_object(value: str) -> str:
    """Take a JSON object, or nothing, which takes away what there was."""
    if value and not isinstance(_parse(value), dict):
        raise _WrongValue("Must be a JSON object.")
    return value


def _read_delivery_policy(value: str) -> str:
    try:
        if value:
            check_topic_policy(value)
    except WrongPolicy as wrong:
        raise _WrongValue(str(wrong)) from wrong
    return value


def _read_archive(value: str) -> str:
    policy = _parse(value) if value else {}
    if policy == {}:
        return ""
    days = policy.get("MessageRetentionPeriod") if isinstance(policy, dict) and len(policy) == 1 else None
    if not re.fullmatch("[0-9]{1,3}", str(days)) or not 1 <= int(str(days)) <= _ARCHIVED_DAYS:
        raise _WrongValue(f"Must have a MessageRetentionPeriod from 1 to {_ARCHIVED_DAYS} days, and nothing else.")
    return value


def _parse(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _read_role(value: str) -> str:
    if value and not value.startswith("arn:"):
        raise _WrongValue("Must be the ARN of a role.")
    return value


_READERS: Final[Mapping[str, Callable[[str], str]]] = {
    "ArchivePolicy": _read_archive,
    "ContentBasedDeduplication": _read_boolean,
    "DeliveryPolicy": _read_delivery_policy,
    "DisplayName": str,
    "FifoThroughputScope": _one_of("Topic", "MessageGroup"),
    "FifoTopic": _read_boolean,
    "KmsMasterKeyId": str,
    "MaximumMessageSize": _number(1024, SQS_MESSAGE_SIZE),
    "Policy": _read_object,
    "SignatureVersion": _one_of("1", "2"),
    "TracingConfig": _one_of("PassThrough", "Active"),
    **{f"{sender}{result}FeedbackRoleArn": _read_role for sender in _SENDERS for result in ("Success", "Failure")},
    **{f"{sender}SuccessFeedbackSampleRate": _number(0, 100) for sender in _SENDERS},
}
"""What a topic can be given. Most of it is kept and shown, and nothing more."""
