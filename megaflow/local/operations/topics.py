"""Operations of SNS on topics and subscriptions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from megaflow.local.account import Account
from megaflow.local.operations.arns import ELEMENTS, check_arn
from megaflow.local.operations.aws_checks import check_dead_letters
from megaflow.local.operations.batches import each
from megaflow.local.operations.operation import Answer, Ask, Operation
from megaflow.local.operations.pages import page
from megaflow.local.operations.publishing import check_published_batch, publish_to
from megaflow.local.operations.subscriptions import show_subscription, with_attributes
from megaflow.local.operations.topic_attributes import (
    differs,
    read_topic_attribute,
    read_topic_attributes,
    show_topic,
)
from megaflow.local.operations.topic_tags import TAG_OPERATIONS, check_same_tags, read_tags
from megaflow.local.refused import Refused, invalid_parameter
from megaflow.local.topic import Subscription, Topic

_PAGE: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_FIFO_NAME: Final = re.compile(r"(?=.{1,256}$)[A-Za-z0-9_-]+\.fifo")
_PROTOCOLS: Final = (
    "application",
    "email",
    "email-json",
    "firehose",
    "http",
    "https",
    "lambda",
    "sms",
    "sqs",
)


def _create_topic(account: Account, ask: Ask) -> Answer:
    name, given = ask["Name"], ask.get("Attributes", {})
    fifo = given.get("FifoTopic", "").lower() == "true"
    if not (_FIFO_NAME if fifo else _NAME).fullmatch(name):
        raise invalid_parameter("Topic Name")
    attributes, tags = read_topic_attributes(given, fifo=fifo), read_tags(ask.get("Tags", ()))
    arn = account.arn("sns", name)
    if arn in account.topics:
        _check_same_topic(account.topics[arn], attributes, tags)
    else:
        topic = account.host_topic(arn, attributes)
        topic.tags = tags
        account.touch_topic(topic)
    return {"TopicArn": arn}


def _check_same_topic(topic: Topic, attributes: Mapping[str, str], tags: Mapping[str, str]) -> None:
    if differs(topic, attributes):
        raise invalid_parameter("Attributes Reason: Topic already exists with different attributes")
    check_same_tags(topic, tags)


def _delete_topic(account: Account, ask: Ask) -> Answer:
    # Deleting a topic that is not there succeeds. https://docs.aws.amazon.com/sns/latest/api/API_DeleteTopic.html
    account.delete_topic(check_arn("TopicArn", ask["TopicArn"]))
    return {}


def _list_topics(account: Account, ask: Ask) -> Answer:
    arns, token = page(account.topics, _PAGE, ask.get("NextToken"))
    return {"Topics": [{"TopicArn": arn} for arn in arns], **token}


def _get_topic_attributes(account: Account, ask: Ask) -> Answer:
    return {"Attributes": show_topic(_topic(account, ask["TopicArn"]), account.account_id)}


def _set_topic_attributes(account: Account, ask: Ask) -> Answer:
    topic, name = _topic(account, ask["TopicArn"]), ask["AttributeName"]
    topic.attributes[name] = read_topic_attribute(name, ask.get("AttributeValue", ""), fifo=topic.fifo)
    account.touch_topic(topic)
    return {}


def _subscribe(account: Account, ask: Ask) -> Answer:
    topic, endpoint, attributes = _topic(account, ask["TopicArn"]), ask.get("Endpoint", ""), ask.get("Attributes", {})
    _check_protocol(ask["Protocol"])
    _check_endpoint(topic, endpoint)
    plain = Subscription(f"{topic.arn}:{account.new_id()}", topic.arn, endpoint)
    wanted = with_attributes(plain, attributes, where="Attributes Reason: ")
    check_dead_letters(account, wanted)
    account.touch_topic(topic)
    return {"SubscriptionArn": _add_subscription(topic, wanted, attributes)}


def _check_protocol(protocol: str) -> None:
    if protocol not in _PROTOCOLS:
        raise invalid_parameter(f"Amazon SNS does not support this protocol string: {protocol}")
    if protocol != "sqs":
        raise invalid_parameter(f"Protocol Reason: {protocol} is not supported by the embedded topic; sqs is")


def _check_endpoint(topic: Topic, endpoint: str) -> None:
    """Refuse what is no queue, or none for this topic. One that is not there yet may come later."""
    if not endpoint.startswith("arn:aws:sqs:"):
        raise invalid_parameter("SQS endpoint ARN")
    if endpoint.endswith(".fifo") and not topic.fifo:
        raise invalid_parameter(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"
        )


def _add_subscription(topic: Topic, wanted: Subscription, attributes: Mapping[str, str]) -> str:
    for known in topic.subscriptions.values():
        if known.endpoint == wanted.endpoint:
            if with_attributes(known, attributes, where="Attributes Reason: ") != known:
                raise invalid_parameter("Attributes Reason: Subscription already exists with different attributes")
            return known.arn
    topic.subscriptions[wanted.arn] = wanted
    return wanted.arn


def _unsubscribe(account: Account, ask: Ask) -> Answer:
    arn = check_arn("SubscriptionArn", ask["SubscriptionArn"])
    topic = account.topics.get(arn.rpartition(":")[0])
    if topic is None and arn.count(":") < ELEMENTS:
        raise invalid_parameter("SubscriptionId")
    if topic is not None:
        topic.subscriptions.pop(arn, None)
        account.touch_topic(topic)
    return {}


def _list_subscriptions(account: Account, ask: Ask) -> Answer:
    every = (subscription for topic in account.topics.values() for subscription in topic.subscriptions.values())
    return _show_subscriptions(account, every, ask)


def _list_subscriptions_by_topic(account: Account, ask: Ask) -> Answer:
    return _show_subscriptions(account, _topic(account, ask["TopicArn"]).subscriptions.values(), ask)


def _show_subscriptions(account: Account, subscriptions: Iterable[Subscription], ask: Ask) -> Answer:
    by_arn = {subscription.arn: subscription for subscription in subscriptions}
    arns, token = page(by_arn, _PAGE, ask.get("NextToken"))
    return {"Subscriptions": [_show_subscription(account, by_arn[arn]) for arn in arns], **token}


def _show_subscription(account: Account, subscription: Subscription) -> dict[str, str]:
    return {
        "SubscriptionArn": subscription.arn,
        "Owner": account.account_id,
        "Protocol": "sqs",
        "Endpoint": subscription.endpoint,
        "TopicArn": subscription.topic_arn,
    }


def _get_subscription_attributes(account: Account, ask: Ask) -> Answer:
    _, subscription = _subscription(account, ask["SubscriptionArn"])
    return {
        "Attributes": {
            **_show_subscription(account, subscription),
            **show_subscription(subscription),
            "SubscriptionPrincipal": f"arn:aws:iam::{account.account_id}:user/local",
            "ConfirmationWasAuthenticated": "true",
            "PendingConfirmation": "false",
        }
    }


def _set_subscription_attributes(account: Account, ask: Ask) -> Answer:
    topic, subscription = _subscription(account, ask["SubscriptionArn"])
    attribute = {ask["AttributeName"]: ask.get("AttributeValue", "")}
    changed = topic.subscriptions[subscription.arn] = with_attributes(subscription, attribute)
    check_dead_letters(account, changed)
    account.touch_topic(topic)
    return {}


def _publish(account: Account, ask: Ask) -> Answer:
    if "PhoneNumber" in ask:
        raise invalid_parameter("PhoneNumber Reason: not supported by the embedded topic")
    if "TopicArn" in ask:
        return publish_to(account, _topic(account, ask["TopicArn"]), ask)
    if "TargetArn" not in ask:
        raise invalid_parameter("TopicArn or TargetArn Reason: no value for required parameter")
    if ":endpoint/" in ask["TargetArn"]:
        raise invalid_parameter("TargetArn Reason: No endpoint found for the target arn specified")
    return publish_to(account, _topic(account, ask["TargetArn"], "TargetArn"), ask)


def _publish_batch(account: Account, ask: Ask) -> Answer:
    topic, entries = _topic(account, ask["TopicArn"]), ask["PublishBatchRequestEntries"]
    check_published_batch(entries, topic)
    return {"Successful": [], "Failed": [], **each(entries, partial(publish_to, account, topic), str)}


def _topic(account: Account, arn: str, parameter: str = "TopicArn") -> Topic:
    check_arn(parameter, arn)
    if arn not in account.topics:
        raise Refused("NotFound", "Topic does not exist", status=404)
    return account.topics[arn]


def _subscription(account: Account, arn: str) -> tuple[Topic, Subscription]:
    topic = account.topics.get(check_arn("SubscriptionArn", arn).rpartition(":")[0])
    if topic is None or arn not in topic.subscriptions:
        raise Refused("NotFound", "Subscription does not exist", status=404)
    return topic, topic.subscriptions[arn]


TOPIC_OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateTopic": _create_topic,
    "DeleteTopic": _delete_topic,
    "ListTopics": _list_topics,
    "GetTopicAttributes": _get_topic_attributes,
    "SetTopicAttributes": _set_topic_attributes,
    **TAG_OPERATIONS,
    "Subscribe": _subscribe,
    "Unsubscribe": _unsubscribe,
    "ListSubscriptions": _list_subscriptions,
    "ListSubscriptionsByTopic": _list_subscriptions_by_topic,
    "GetSubscriptionAttributes": _get_subscription_attributes,
    "SetSubscriptionAttributes": _set_subscription_attributes,
    "Publish": _publish,
    "PublishBatch": _publish_batch,
}
