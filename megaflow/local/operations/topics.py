"""Operations of SNS on topics and subscriptions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from megaflow.limits import SNS_MESSAGE_SIZE
from megaflow.local.account import Account
from megaflow.local.content import size_of_entry
from megaflow.local.operations.batches import check_batch, check_batch_size, each
from megaflow.local.operations.operation import Answer, Ask, Operation
from megaflow.local.operations.pages import page
from megaflow.local.operations.publishing import publish_to, read_attributes_of
from megaflow.local.operations.subscriptions import show_subscription, with_attributes
from megaflow.local.refused import Refused, invalid_parameter
from megaflow.local.topic import Subscription, Topic, check_group

_PAGE: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_FIFO_NAME: Final = re.compile(r"(?=.{1,256}$)[A-Za-z0-9_-]+\.fifo")
_BOOLEANS: Final = ("true", "false")
_TOPIC_ATTRIBUTES: Final = {
    "DisplayName": None,
    "Policy": None,
    "KmsMasterKeyId": None,
    "SignatureVersion": ("1",),
    "FifoTopic": _BOOLEANS,
    "ContentBasedDeduplication": _BOOLEANS,
}
"""What a topic here can be given. The first three are kept and shown, and nothing more."""


def _create_topic(account: Account, ask: Ask) -> Answer:
    name, attributes = ask["Name"], ask.get("Attributes", {})
    fifo = attributes.get("FifoTopic") == "true"
    if not (_FIFO_NAME if fifo else _NAME).fullmatch(name):
        raise invalid_parameter("Topic Name")
    for attribute, value in attributes.items():
        _check_topic_attribute(attribute, value, fifo=fifo)
    arn = account.arn("sns", name)
    if arn in account.topics:
        _check_same_topic(account.topics[arn], attributes)
    else:
        topic = account.host_topic(arn, attributes)
        topic.tags = _read_tags(ask.get("Tags", ()))
        account.touch_topic(topic)
    return {"TopicArn": arn}


def _check_topic_attribute(name: str, value: str, *, fifo: bool) -> None:
    if name not in _TOPIC_ATTRIBUTES or (name == "ContentBasedDeduplication" and not fifo):
        raise invalid_parameter(f"Attributes Reason: {name} is not supported by the embedded topic")
    allowed = _TOPIC_ATTRIBUTES[name]
    if allowed is not None and value not in allowed:
        raise invalid_parameter(f"Attributes Reason: {name} must be one of {', '.join(allowed)}")


def _check_same_topic(topic: Topic, attributes: Mapping[str, str]) -> None:
    if any(topic.attributes.get(name) != value for name, value in attributes.items()):
        raise invalid_parameter("Attributes Reason: Topic already exists with different attributes")


def _delete_topic(account: Account, ask: Ask) -> Answer:
    # Deleting a topic that is not there succeeds. https://docs.aws.amazon.com/sns/latest/api/API_DeleteTopic.html
    account.delete_topic(ask["TopicArn"])
    return {}


def _list_topics(account: Account, ask: Ask) -> Answer:
    arns, token = page(account.topics, _PAGE, ask.get("NextToken"))
    return {"Topics": [{"TopicArn": arn} for arn in arns], **token}


def _get_topic_attributes(account: Account, ask: Ask) -> Answer:
    topic = _topic(account, ask["TopicArn"])
    defaults = {"ContentBasedDeduplication": "false"} if topic.fifo else {}
    counts = {"SubscriptionsConfirmed": len(topic.subscriptions), "SubscriptionsPending": 0, "SubscriptionsDeleted": 0}
    return {
        "Attributes": {
            "TopicArn": topic.arn,
            "Owner": account.account_id,
            "DisplayName": "",
            **{name: str(count) for name, count in counts.items()},
            **defaults,
            **topic.attributes,
        }
    }


def _set_topic_attributes(account: Account, ask: Ask) -> Answer:
    topic, name, value = _topic(account, ask["TopicArn"]), ask["AttributeName"], ask.get("AttributeValue", "")
    if name == "FifoTopic":
        raise invalid_parameter("AttributeName")
    _check_topic_attribute(name, value, fifo=topic.fifo)
    topic.attributes[name] = value
    account.touch_topic(topic)
    return {}


def _tag_resource(account: Account, ask: Ask) -> Answer:
    topic = _tagged(account, ask)
    topic.tags.update(_read_tags(ask["Tags"]))
    account.touch_topic(topic)
    return {}


def _untag_resource(account: Account, ask: Ask) -> Answer:
    topic = _tagged(account, ask)
    topic.tags = {key: value for key, value in topic.tags.items() if key not in ask["TagKeys"]}
    account.touch_topic(topic)
    return {}


def _list_tags_for_resource(account: Account, ask: Ask) -> Answer:
    return {"Tags": [{"Key": key, "Value": value} for key, value in _tagged(account, ask).tags.items()]}


def _tagged(account: Account, ask: Ask) -> Topic:
    if ask["ResourceArn"] not in account.topics:
        raise Refused("ResourceNotFound", "Resource does not exist", status=404)
    return account.topics[ask["ResourceArn"]]


def _read_tags(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _subscribe(account: Account, ask: Ask) -> Answer:
    topic, endpoint, attributes = _topic(account, ask["TopicArn"]), ask.get("Endpoint", ""), ask.get("Attributes", {})
    if ask["Protocol"] != "sqs":
        raise invalid_parameter(f"Protocol Reason: {ask['Protocol']} is not supported by the embedded topic; sqs is")
    _check_endpoint(account, topic, endpoint)
    plain = Subscription(f"{topic.arn}:{account.new_id()}", topic.arn, endpoint)
    wanted = with_attributes(plain, attributes, where="Attributes Reason: ")
    account.touch_topic(topic)
    return {"SubscriptionArn": _add_subscription(topic, wanted, attributes)}


def _check_endpoint(account: Account, topic: Topic, endpoint: str) -> None:
    if not endpoint.startswith("arn:aws:sqs:"):
        raise invalid_parameter("SQS endpoint ARN")
    if endpoint.endswith(".fifo") and not topic.fifo:
        raise invalid_parameter(
            "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"
        )
    if account.queue_by_arn(endpoint) is None:
        raise invalid_parameter(f"Endpoint Reason: no queue {endpoint} in this account")


def _add_subscription(topic: Topic, wanted: Subscription, attributes: Mapping[str, str]) -> str:
    for known in topic.subscriptions.values():
        if known.endpoint == wanted.endpoint:
            if with_attributes(known, attributes, where="Attributes Reason: ") != known:
                raise invalid_parameter("Attributes Reason: Subscription already exists with different attributes")
            return known.arn
    topic.subscriptions[wanted.arn] = wanted
    return wanted.arn


def _unsubscribe(account: Account, ask: Ask) -> Answer:
    arn = ask["SubscriptionArn"]
    topic = account.topics.get(arn.rpartition(":")[0])
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
            "ConfirmationWasAuthenticated": "true",
            "PendingConfirmation": "false",
        }
    }


def _set_subscription_attributes(account: Account, ask: Ask) -> Answer:
    topic, subscription = _subscription(account, ask["SubscriptionArn"])
    attribute = {ask["AttributeName"]: ask.get("AttributeValue", "")}
    topic.subscriptions[subscription.arn] = with_attributes(subscription, attribute)
    account.touch_topic(topic)
    return {}


def _publish(account: Account, ask: Ask) -> Answer:
    if "PhoneNumber" in ask:
        raise invalid_parameter("PhoneNumber Reason: not supported by the embedded topic")
    arn = ask.get("TopicArn", ask.get("TargetArn"))
    if arn is None:
        raise invalid_parameter("TopicArn or TargetArn Reason: no value for required parameter")
    return publish_to(account, _topic(account, arn), ask)


def _publish_batch(account: Account, ask: Ask) -> Answer:
    topic, entries = _topic(account, ask["TopicArn"]), ask["PublishBatchRequestEntries"]
    check_batch(entries, "PublishBatchRequestEntry")
    sizes = [size_of_entry(entry["Message"], entry.get("MessageAttributes", {})) for entry in entries]
    check_batch_size(sizes, SNS_MESSAGE_SIZE)
    for entry in entries:
        # These two fail the batch and not the entry.
        read_attributes_of(entry)
        if topic.fifo:
            check_group(entry.get("MessageGroupId"))
    return {"Successful": [], "Failed": [], **each(entries, partial(publish_to, account, topic), str)}


def _topic(account: Account, arn: str) -> Topic:
    if arn not in account.topics:
        raise Refused("NotFound", "Topic does not exist", status=404)
    return account.topics[arn]


def _subscription(account: Account, arn: str) -> tuple[Topic, Subscription]:
    topic = account.topics.get(arn.rpartition(":")[0])
    if topic is None or arn not in topic.subscriptions:
        raise Refused("NotFound", "Subscription does not exist", status=404)
    return topic, topic.subscriptions[arn]


TOPIC_OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateTopic": _create_topic,
    "DeleteTopic": _delete_topic,
    "ListTopics": _list_topics,
    "GetTopicAttributes": _get_topic_attributes,
    "SetTopicAttributes": _set_topic_attributes,
    "TagResource": _tag_resource,
    "UntagResource": _untag_resource,
    "ListTagsForResource": _list_tags_for_resource,
    "Subscribe": _subscribe,
    "Unsubscribe": _unsubscribe,
    "ListSubscriptions": _list_subscriptions,
    "ListSubscriptionsByTopic": _list_subscriptions_by_topic,
    "GetSubscriptionAttributes": _get_subscription_attributes,
    "SetSubscriptionAttributes": _set_subscription_attributes,
    "Publish": _publish,
    "PublishBatch": _publish_batch,
}
