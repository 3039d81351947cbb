"""What boto3 would say of an account: all queues, topics and subscriptions, with their attributes and tags."""

from __future__ import annotations

from typing import Any

from megaflow.local import Account, SnsClient, SqsClient

_OF_THE_MOMENT = ("CreatedTimestamp", "LastModifiedTimestamp")


def queues_of(sqs: Any) -> dict[str, dict[str, Any]]:
    """Return attributes and tags of each queue by name."""
    found = {}
    for url in sqs.list_queues().get("QueueUrls", ()):
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        tags = sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
        plain = {name: text for name, text in attributes.items() if name not in _OF_THE_MOMENT}
        found[url.rpartition("/")[2]] = {**plain, "tags": tags}
    return found


def topics_of(sns: Any) -> dict[str, dict[str, Any]]:
    """Return attributes and tags of each topic by name."""
    found = {}
    for topic in sns.list_topics()["Topics"]:
        attributes = sns.get_topic_attributes(**topic)["Attributes"]
        tags = sns.list_tags_for_resource(ResourceArn=topic["TopicArn"])["Tags"]
        found[topic["TopicArn"].rpartition(":")[2]] = {
            **attributes,
            "tags": {tag["Key"]: tag["Value"] for tag in tags},
        }
    return found


def subscriptions_of(sns: Any) -> dict[tuple[str, str], dict[str, str]]:
    """Return the attributes of each subscription by the names of its topic and queue."""
    found = {}
    for each in sns.list_subscriptions()["Subscriptions"]:
        attributes = sns.get_subscription_attributes(SubscriptionArn=each["SubscriptionArn"])["Attributes"]
        found[each["TopicArn"].rpartition(":")[2], each["Endpoint"].rpartition(":")[2]] = attributes
    return found


def facts_of(account: Account) -> tuple[Any, ...]:
    """Return all of an account that can be declared, ARNs of subscriptions left out."""
    subscriptions = subscriptions_of(sns := SnsClient(account))
    return (
        queues_of(SqsClient(account)),
        topics_of(sns),
        {key: {**each, "SubscriptionArn": ""} for key, each in subscriptions.items()},
    )
