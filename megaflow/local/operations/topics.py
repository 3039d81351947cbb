"""Operations of SNS on topics and subscriptions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from megaflow.limits import TOPIC_NAME_LENGTH
from megaflow.local.account import Account
from megaflow.local.endpoints.destinations import without_password
from megaflow.local.operations.arns import check_arn
from megaflow.local.operations.aws_checks import check_dead_letters
from megaflow.local.operations.batches import each
from megaflow.local.operations.known import known_subscription, known_topic, up_to_date
from megaflow.local.operations.operation import Answer, Ask, Operation
from megaflow.local.operations.pages import page
from megaflow.local.operations.publishing import check_published_batch, publish_to
from megaflow.local.operations.subscribing import confirm_subscription, subscribe, unsubscribe
from megaflow.local.operations.subscriptions import show_subscription, with_attributes
from megaflow.local.operations.topic_attributes import (
    differs,
    read_topic_attribute,
    read_topic_attributes,
    show_topic,
)
from megaflow.local.operations.topic_permissions import add_permission, remove_permission
from megaflow.local.operations.topic_tags import TAG_OPERATIONS, check_same_tags, read_tags
from megaflow.local.refused import invalid_parameter
from megaflow.local.topic import LocalTopic, Subscription

_PAGE: Final = 100
_NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{TOPIC_NAME_LENGTH}}}")
_FIFO_NAME: Final = re.compile(rf"(?=.{{1,{TOPIC_NAME_LENGTH}}}$)[A-Za-z0-9_-]+\.fifo")
_LISTED: Final = {"pending": "PendingConfirmation", "deleted": "Deleted"}
"""What stands in a list for the ARN of a subscription that is not confirmed."""


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


def _check_same_topic(topic: LocalTopic, attributes: Mapping[str, str], tags: Mapping[str, str]) -> None:
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
    return {"Attributes": show_topic(known_topic(account, ask["TopicArn"]), account.account_id)}


def _set_topic_attributes(account: Account, ask: Ask) -> Answer:
    topic, name = known_topic(account, ask["TopicArn"]), ask["AttributeName"]
    topic.attributes[name] = read_topic_attribute(name, ask.get("AttributeValue", ""), fifo=topic.fifo)
    account.touch_topic(topic)
    return {}


def _add_permission(account: Account, ask: Ask) -> Answer:
    return add_permission(account, known_topic(account, ask["TopicArn"]), ask)


def _remove_permission(account: Account, ask: Ask) -> Answer:
    return remove_permission(account, known_topic(account, ask["TopicArn"]), ask)


def _list_subscriptions(account: Account, ask: Ask) -> Answer:
    topics = (up_to_date(account, topic) for topic in list(account.topics.values()))
    every = (subscription for topic in topics for subscription in topic.subscriptions.values())
    return _show_subscriptions(account, every, ask)


def _list_subscriptions_by_topic(account: Account, ask: Ask) -> Answer:
    return _show_subscriptions(account, known_topic(account, ask["TopicArn"]).subscriptions.values(), ask)


def _show_subscriptions(account: Account, subscriptions: Iterable[Subscription], ask: Ask) -> Answer:
    by_arn = {subscription.arn: subscription for subscription in subscriptions}
    arns, token = page(by_arn, _PAGE, ask.get("NextToken"))
    return {"Subscriptions": [_list_subscription(account, by_arn[arn]) for arn in arns], **token}


def _show_subscription(account: Account, subscription: Subscription) -> dict[str, str]:
    return {
        "SubscriptionArn": subscription.arn,
        "Owner": account.account_id,
        "Protocol": subscription.protocol,
        "Endpoint": without_password(subscription.endpoint),
        "TopicArn": subscription.topic_arn,
    }


def _list_subscription(account: Account, subscription: Subscription) -> dict[str, str]:
    shown = _show_subscription(account, subscription)
    return {**shown, "SubscriptionArn": _LISTED.get(subscription.state, subscription.arn)}


def _get_subscription_attributes(account: Account, ask: Ask) -> Answer:
    topic, subscription = known_subscription(account, ask["SubscriptionArn"])
    return {
        "Attributes": {
            **_show_subscription(account, subscription),
            **show_subscription(subscription, topic),
            "SubscriptionPrincipal": f"arn:aws:iam::{account.account_id}:user/local",
        }
    }


def _set_subscription_attributes(account: Account, ask: Ask) -> Answer:
    topic, subscription = known_subscription(account, ask["SubscriptionArn"])
    attribute = {ask["AttributeName"]: ask.get("AttributeValue", "")}
    changed = topic.subscriptions[subscription.arn] = with_attributes(subscription, attribute)
    check_dead_letters(account, changed)
    account.touch_topic(topic)
    return {}


def _publish(account: Account, ask: Ask) -> Answer:
    if "PhoneNumber" in ask:
        raise invalid_parameter("PhoneNumber Reason: not supported by the embedded topic")
    if "TopicArn" in ask:
        return publish_to(account, known_topic(account, ask["TopicArn"]), ask)
    if "TargetArn" not in ask:
        raise invalid_parameter("TopicArn or TargetArn Reason: no value for required parameter")
    if ":endpoint/" in ask["TargetArn"]:
        raise invalid_parameter("TargetArn Reason: No endpoint found for the target arn specified")
    return publish_to(account, known_topic(account, ask["TargetArn"], "TargetArn"), ask)


def _publish_batch(account: Account, ask: Ask) -> Answer:
    topic, entries = known_topic(account, ask["TopicArn"]), ask["PublishBatchRequestEntries"]
    check_published_batch(entries, topic)
    return {"Successful": [], "Failed": [], **each(entries, partial(publish_to, account, topic), str)}


TOPIC_OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateTopic": _create_topic,
    "DeleteTopic": _delete_topic,
    "ListTopics": _list_topics,
    "GetTopicAttributes": _get_topic_attributes,
    "SetTopicAttributes": _set_topic_attributes,
    "AddPermission": _add_permission,
    "RemovePermission": _remove_permission,
    **TAG_OPERATIONS,
    "Subscribe": subscribe,
    "ConfirmSubscription": confirm_subscription,
    "Unsubscribe": unsubscribe,
    "ListSubscriptions": _list_subscriptions,
    "ListSubscriptionsByTopic": _list_subscriptions_by_topic,
    "GetSubscriptionAttributes": _get_subscription_attributes,
    "SetSubscriptionAttributes": _set_subscription_attributes,
    "Publish": _publish,
    "PublishBatch": _publish_batch,
}
