"""Attributes of a subscription: AWS's names and values, and what SNS says of wrong ones.

https://docs.aws.amazon.com/sns/latest/api/API_SetSubscriptionAttributes.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from megaflow.errors import PatternError
from megaflow.local.endpoints.delivery_policy import (
    WrongPolicy,
    check_subscription_policy,
    effective_for_subscription,
)
from megaflow.local.operations.permissions import write_policy
from megaflow.local.operations.policy_places import why_no_json, with_place
from megaflow.local.refused import invalid_parameter
from megaflow.local.topic import LocalTopic, Subscription
from megaflow.match.filters import NESTED, SCOPES

_QUEUE_ARN: Final = re.compile(r"arn:aws:sqs:[^:]+:[^:]+:[^:]+")


class _WrongValue(Exception):
    """What SNS says of an attribute, without the words that all its errors begin with."""


def with_attributes(subscription: Subscription, attributes: Mapping[str, str], *, where: str = "") -> Subscription:
    """Return *subscription* with some *attributes* changed; *where* begins what is said of a wrong one.

    Raises:
        Refused: an attribute that SNS does not take, or that is not supported here.
    """
    try:
        return replace(subscription, **dict(_read(name, text, subscription) for name, text in attributes.items()))
    except PatternError as error:
        policy = attributes.get("FilterPolicy", subscription.filter_policy)
        raise invalid_parameter(f"{where}{_explain(policy, error)}") from error
    except _WrongValue as wrong:
        raise invalid_parameter(f"{where}{wrong}") from wrong


def _explain(policy: str, error: PatternError) -> str:
    """Return what SNS says of a filter *policy*."""
    if error.reason == NESTED:
        return error.reason
    said = why_no_json(policy) if error.reason == "failed to parse JSON." else with_place(policy, error.reason)
    return f"FilterPolicy: {said}"


def show_subscription(subscription: Subscription, topic: LocalTopic) -> dict[str, str]:
    """Return its attributes, as SNS shows them; a scope without a filter policy is not shown."""
    policy, redrive, delivery = subscription.filter_policy, subscription.redrive_policy, subscription.delivery_policy
    effective = effective_for_subscription(delivery, topic.attributes.get("DeliveryPolicy", ""))
    return {
        "PendingConfirmation": str(subscription.state == "pending").lower(),
        "ConfirmationWasAuthenticated": str(subscription.authenticated and subscription.state != "pending").lower(),
        **({"DeliveryPolicy": delivery} if delivery else {}),
        **({"EffectiveDeliveryPolicy": write_policy(effective)} if subscription.is_posted_to else {}),
        "RawMessageDelivery": str(subscription.raw).lower(),
        **({"FilterPolicy": policy, "FilterPolicyScope": subscription.filter_scope} if policy else {}),
        **({"RedrivePolicy": redrive} if redrive else {}),
    }


def _read(name: str, text: str, subscription: Subscription) -> tuple[str, Any]:
    """Return the field of a subscription for the attribute *name*, and its value."""
    if name not in _KNOWN:
        raise _WrongValue("AttributeName")
    if name not in _READERS or (name == "DeliveryPolicy" and not subscription.is_posted_to):
        raise _WrongValue(f"{name} is not supported by the embedded topic")
    field, read = _READERS[name]
    return field, read(text, subscription)


def _read_raw(text: str, _: Subscription) -> bool:
    if text.lower() not in {"true", "false"}:
        raise _WrongValue(f"RawMessageDelivery: Invalid value [{text}]. Must be true or false.")
    return text.lower() == "true"


def _read_delivery_policy(text: str, _: Subscription) -> str:
    if _removes(text):
        return ""
    try:
        check_subscription_policy(text)
    except WrongPolicy as wrong:
        raise _WrongValue(f"DeliveryPolicy: {wrong}") from wrong
    return text


def _read_filter_policy(text: str, _: Subscription) -> str:
    return "" if _removes(text) else text


def _read_filter_scope(text: str, _: Subscription) -> str:
    if text not in SCOPES:
        raise _WrongValue(
            f"FilterPolicyScope: Invalid value [{text}]. Please use either MessageBody or MessageAttributes"
        )
    return text


def _read_redrive_policy(text: str, subscription: Subscription) -> str:
    if _removes(text):
        return ""
    policy = _read_object(text)
    for name in policy.keys() - {"deadLetterTargetArn"}:
        raise _WrongValue(f"RedrivePolicy: invalid JSON. Attribute {name} is unknown.")
    arn = policy.get("deadLetterTargetArn")
    if not isinstance(arn, str) or not _QUEUE_ARN.fullmatch(arn):
        raise _WrongValue("RedrivePolicy: deadLetterTargetArn is an invalid arn")
    _check_type(arn, subscription)
    return text


def _read_object(text: str) -> dict[str, object]:
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _WrongValue(f"RedrivePolicy: {why_no_json(text)}") from error
    if not isinstance(policy, dict):
        raise _WrongValue("RedrivePolicy: failed to parse JSON.")
    return policy


def _check_type(dead_letter_arn: str, subscription: Subscription) -> None:
    """Refuse a queue that cannot take what this subscription gets.

    https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html
    """
    fifo = dead_letter_arn.endswith(".fifo")
    if not subscription.is_posted_to and subscription.endpoint.endswith(".fifo") and not fifo:
        raise _WrongValue("RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.")
    if fifo and not subscription.topic_arn.endswith(".fifo"):
        raise _WrongValue("RedrivePolicy: must use a standard queue as DLQ for a Subscription to a standard Topic.")


def _removes(policy: str) -> bool:
    """Tell whether *policy* takes away the one there was.

    https://docs.aws.amazon.com/sns/latest/dg/message-filtering-policy-remove.html
    """
    return "".join(policy.split()) in {"", "{}"}


_READERS: Final[Mapping[str, tuple[str, Callable[[str, Subscription], object]]]] = {
    "RawMessageDelivery": ("raw", _read_raw),
    "FilterPolicy": ("filter_policy", _read_filter_policy),
    "FilterPolicyScope": ("filter_scope", _read_filter_scope),
    "RedrivePolicy": ("redrive_policy", _read_redrive_policy),
    "DeliveryPolicy": ("delivery_policy", _read_delivery_policy),
}
"""The other attributes are for what is not here: Firehose, archives of FIFO topics."""

_KNOWN: Final = frozenset({*_READERS, "ReplayPolicy", "SubscriptionRoleArn"})
"""The names that SNS knows."""
