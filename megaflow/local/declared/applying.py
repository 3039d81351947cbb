"""Declarations carried out: what is missing is made, what differs is changed, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from megaflow.local.access import with_topic_allowed
from megaflow.local.account import Account
from megaflow.local.calls import SERVICES
from megaflow.local.content import check_texts
from megaflow.local.declared.declarations import (
    Declarations,
    DeclaredQueue,
    DeclaredSubscription,
    DeclaredTopic,
    Place,
    wrong,
)
from megaflow.local.operations.known import up_to_date
from megaflow.local.operations.operation import Answer
from megaflow.local.operations.topic_attributes import differs
from megaflow.local.refused import Refused
from megaflow.local.topic import Subscription

_REDRIVE: Final = "RedrivePolicy"
_FILTER: Final = ("FilterPolicy", "FilterPolicyScope")
_PLAIN: Final = {
    "RawMessageDelivery": "false",
    "FilterPolicy": "",
    "FilterPolicyScope": "MessageAttributes",
    "RedrivePolicy": "",
    "DeliveryPolicy": "",
}
"""The attributes of a subscription that nothing is said of."""


def carry_out(account: Account, declarations: Declarations) -> None:
    """Make what is declared so, in one turn.

    Raises:
        ConfigurationError: AWS would refuse something; what came before it is done.
    """
    with account.turn():
        # Whatever names a queue or topic comes after all of them: dead-letter queues may go round in a circle.
        for queue in declarations.queues:
            _make_queue(account, queue)
        for queue in declarations.queues:
            _change_queue(account, queue)
        for queue in declarations.queues:
            _change_redrive(account, queue)
        for topic in declarations.topics:
            _make_topic(account, topic)
        for subscription in declarations.subscriptions:
            _subscribe(account, subscription)


def _make_queue(account: Account, queue: DeclaredQueue) -> None:
    if queue.name not in account.queues:
        attributes = {name: text for name, text in queue.attributes.items() if name != _REDRIVE}
        _call(account, queue.place, "CreateQueue", QueueName=queue.name, Attributes=attributes, tags=dict(queue.tags))


def _change_queue(account: Account, queue: DeclaredQueue) -> None:
    hosted = account.queues[queue.name]
    _set_attributes(account, queue, {name: text for name, text in queue.attributes.items() if name != _REDRIVE})
    _let_topics_in(account, queue)
    if not queue.tags.items() <= hosted.tags.items():
        _call(account, queue.place, "TagQueue", QueueUrl=queue.name, Tags=dict(queue.tags))


def _let_topics_in(account: Account, queue: DeclaredQueue) -> None:
    hosted = account.queues[queue.name].queue
    policy = hosted.settings.shown.get("Policy", "")
    for topic_arn in queue.topics:
        policy = with_topic_allowed(policy, hosted.arn, topic_arn)
    _set_attributes(account, queue, {"Policy": policy})


def _change_redrive(account: Account, queue: DeclaredQueue) -> None:
    _set_attributes(account, queue, {name: text for name, text in queue.attributes.items() if name == _REDRIVE})


def _set_attributes(account: Account, queue: DeclaredQueue, attributes: Mapping[str, str]) -> None:
    settings = account.queues[queue.name].queue.settings
    with _said_of(queue.place):
        is_same = settings.with_attributes(attributes).shown == settings.shown
    if not is_same:
        _call(account, queue.place, "SetQueueAttributes", QueueUrl=queue.name, Attributes=attributes)


def _make_topic(account: Account, topic: DeclaredTopic) -> None:
    arn = account.arn("sns", topic.name)
    if arn not in account.topics:
        tags = [{"Key": key, "Value": value} for key, value in topic.tags.items()]
        _call(account, topic.place, "CreateTopic", Name=topic.name, Attributes=topic.attributes, Tags=tags)
        return
    for name, text in topic.attributes.items():
        if name != "FifoTopic" and differs(account.topics[arn], {name: text}):
            _call(account, topic.place, "SetTopicAttributes", TopicArn=arn, AttributeName=name, AttributeValue=text)
    if not topic.tags.items() <= account.topics[arn].tags.items():
        tags = [{"Key": key, "Value": value} for key, value in topic.tags.items()]
        _call(account, topic.place, "TagResource", ResourceArn=arn, Tags=tags)


def _subscribe(account: Account, declared: DeclaredSubscription) -> None:
    known = _find(account, declared)
    if known is not None:
        _change_subscription(account, known, declared)
    if known is not None and known.state == "confirmed":
        return
    # Whoever has not confirmed is asked once more: perhaps nobody was there before.
    _call(
        account,
        declared.place,
        "Subscribe",
        TopicArn=declared.topic_arn,
        Protocol=declared.protocol,
        Endpoint=declared.endpoint,
        Attributes=declared.attributes,
    )


def _find(account: Account, declared: DeclaredSubscription) -> Subscription | None:
    """Return the subscription that is there, unless it was ended."""
    topic = account.topics.get(declared.topic_arn)
    there = up_to_date(account, topic).subscriptions.values() if topic else ()
    wanted = declared.protocol, declared.endpoint
    return next((each for each in there if (each.protocol, each.endpoint) == wanted and each.state != "deleted"), None)


def _change_subscription(account: Account, known: Subscription, declared: DeclaredSubscription) -> None:
    shown = _call(account, declared.place, "GetSubscriptionAttributes", SubscriptionArn=known.arn)["Attributes"]
    there, wanted = {**_PLAIN, **shown}, {**_PLAIN, **declared.attributes}
    wanted = {name: "" if text == "{}" else text for name, text in wanted.items()}
    changes = [(name, wanted[name]) for name in wanted if name not in _FILTER and wanted[name] != there[name]]
    if any(wanted[name] != there[name] for name in _FILTER):
        # A policy need not be one for the other's scope.
        changes += [("FilterPolicy", ""), *((name, wanted[name]) for name in reversed(_FILTER))]
    for name, text in changes:
        _call(
            account,
            declared.place,
            "SetSubscriptionAttributes",
            SubscriptionArn=known.arn,
            AttributeName=name,
            AttributeValue=text,
        )


def _call(account: Account, place: Place, operation: str, **ask: Any) -> Answer:
    """Do what boto3's call of this name does."""
    service = next(service for service, operations in SERVICES.items() if operation in operations)
    with _said_of(place):
        check_texts(ask)
        return SERVICES[service][operation](account, ask)


@contextmanager
def _said_of(place: Place) -> Iterator[None]:
    """Say where what AWS refuses was declared."""
    try:
        yield
    except Refused as refused:
        raise wrong(place.of(refused.message), refused.message) from refused
