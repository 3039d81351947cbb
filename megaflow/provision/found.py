"""Found resources: the queues, topics and subscriptions that are there, as SQS and SNS show them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from megaflow.transport.addresses import name_of
from megaflow.transport.errors import is_missing_queue, read_code
from megaflow.transport.lookups import find_topic_arn
from megaflow.transport.queue import find_queue_url

Shown: TypeAlias = Mapping[str, str]
"""Attributes as AWS shows them."""


@dataclass(frozen=True, slots=True)
class FoundQueue:
    """A queue that is there."""

    url: str
    arn: str
    attributes: Shown

    @property
    def redrive(self) -> Mapping[str, Any]:
        """Its redrive policy, empty where there is none."""
        return _read_object(self.attributes.get("RedrivePolicy"))

    @property
    def policy(self) -> str:
        """Its policy as JSON, ``""`` where there is none."""
        return self.attributes.get("Policy", "")


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic that is there."""

    arn: str
    attributes: Shown


@dataclass(frozen=True, slots=True)
class FoundSubscription:
    """A subscription that is there; the ARN of one that waits to be confirmed is none."""

    arn: str
    attributes: Shown

    @property
    def filter_policy(self) -> Mapping[str, Any]:
        """Its filter policy, empty where it lets everything through."""
        return _read_object(self.attributes.get("FilterPolicy"))

    @property
    def filter_scope(self) -> str:
        """What its filter policy is for."""
        return self.attributes.get("FilterPolicyScope") or "MessageAttributes"

    @property
    def is_confirmed(self) -> bool:
        """Whether messages come by it."""
        return self.arn.startswith("arn:")


def find_queue(sqs: Any, name: str) -> FoundQueue | None:
    """Return the queue of this name with all its attributes, None where there is none."""
    try:
        return read_queue(sqs, find_queue_url(sqs, name))
    except Exception as error:
        if not is_missing_queue(error):
            raise
        return None


def read_queue(sqs: Any, url: str) -> FoundQueue:
    """Return the queue at *url* with all its attributes."""
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return FoundQueue(url, attributes["QueueArn"], attributes)


def find_topic(sns: Any, name: str) -> FoundTopic | None:
    """Return the topic of this name with its attributes, None where there is none."""
    arn = find_topic_arn(sns, name)
    try:
        return None if arn is None else read_topic(sns, arn)
    except Exception as error:
        if read_code(error) not in ("NotFound", "NotFoundException"):
            raise
        return None


def read_topic(sns: Any, arn: str) -> FoundTopic:
    """Return the topic of this ARN with its attributes."""
    return FoundTopic(arn, sns.get_topic_attributes(TopicArn=arn)["Attributes"])


def find_subscription(sns: Any, topic_arn: str, queue_arn: str) -> FoundSubscription | None:
    """Return the subscription of a queue to a topic, None where there is none."""
    for each in _list_subscriptions(sns, topic_arn):
        if each["Protocol"] == "sqs" and each["Endpoint"] == queue_arn:
            found = FoundSubscription(each["SubscriptionArn"], {})
            return read_subscription(sns, found.arn) if found.is_confirmed else found
    return None


def read_subscription(sns: Any, arn: str) -> FoundSubscription:
    """Return the subscription of this ARN with its attributes."""
    return FoundSubscription(arn, sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"])


def sibling_arn(arn: str, service: str, name: str) -> str:
    """Return the ARN of the queue or topic of this name, where *arn* is."""
    _, partition, _, region, account, _ = arn.split(":", 5)
    return f"arn:{partition}:{service}:{region}:{account}:{name}"


def describe_redrive(policy: Mapping[str, Any]) -> str | None:
    """Return a redrive policy in words, None where there is none."""
    if not policy:
        return None
    return f"{name_of(str(policy.get('deadLetterTargetArn')))} after {policy.get('maxReceiveCount')}"


def _list_subscriptions(sns: Any, topic_arn: str) -> Iterator[Mapping[str, str]]:
    asked: dict[str, str] = {}
    while True:
        answer = sns.list_subscriptions_by_topic(TopicArn=topic_arn, **asked)
        yield from answer.get("Subscriptions", ())
        if not answer.get("NextToken"):
            return
        asked = {"NextToken": answer["NextToken"]}


def _read_object(text: str | None) -> Mapping[str, Any]:
    """Return the object that *text* is; raise `ValueError` where AWS shows something else."""
    read = json.loads(text) if text else {}
    if not isinstance(read, dict):
        raise ValueError(f"AWS shows something that is no JSON object: {text}")
    return read
