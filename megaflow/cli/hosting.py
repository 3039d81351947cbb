"""Queues and topics for apps, made on an embedded server: what ``megaflow dev`` runs apps on."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from megaflow.app import App, parts_of
from megaflow.cli.options import read_aws
from megaflow.local.access import with_topic_allowed
from megaflow.provision.making import Provisioner, make_sure
from megaflow.provision.needs import Needs, join_needs, needs_of
from megaflow.provision.policies import let_all_topics_send
from megaflow.transport.addresses import is_fifo, name_dead_letters, name_of, with_kind
from megaflow.transport.lookups import find_topic_arn
from megaflow.transport.session import AwsSettings

_MAX_RECEIVES: Final = "5"
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST: Final = 60
_SHARED: Final = "shared"
"""The name of the topic of several apps of which none names one."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """Where an app's messages are."""

    endpoint_url: str
    queue_url: str
    dead_letter_queue_url: str | None
    topic_arn: str
    """A topic that leads to the queue."""

    publishes_to_topic: bool
    """Whether the app publishes to this topic, and not to its queue."""


def host(apps: Mapping[str, App], endpoint_url: str) -> dict[str, Hosted]:
    """Make what is not there yet: for each app a queue with its dead-letter queue, and topics that lead to all queues.

    They are named as the apps' own; where an app names none, after its target. What an app declares is made as it is
    declared, also where it is there. Another queue that receives a message five times without its being deleted gives
    it to the dead-letter queue.
    """
    settings = AwsSettings(**read_aws(endpoint_url, None, None))
    sqs, sns = settings.create_client("sqs", ""), settings.create_client("sns", "")
    needs = {target: needs_of(app) for target, app in apps.items()}
    make_sure(Provisioner(sqs, sns, apply=True, narrow=True), join_needs(needs))
    names = _name_queues(apps)
    queues = {target: _make_queues(sqs, app, names[target], needs[target]) for target, app in apps.items()}
    published_to = {target: _name_topic(app, is_alone=len(apps) == 1) for target, app in apps.items()}
    topics = {
        name: _make_topic(sqs, sns, name, [queue for queue in queues.values() if queue.takes_all])
        for name in _name_topics(needs, published_to.values()) or [_name_default_topic(names, queues)]
    }
    first = next(iter(topics.values()))
    return {
        target: Hosted(
            endpoint_url, queue.url, queue.dead_letter_queue_url, topics.get(name or "", first), name is not None
        )
        for (target, queue), name in zip(queues.items(), published_to.values(), strict=True)
    }


@dataclass(frozen=True, slots=True)
class _Queues:
    url: str
    arn: str
    dead_letter_queue_url: str | None
    takes_all: bool
    """Whether it gets what is published to any topic, as it does not say to which topics it subscribes."""


def _make_queues(sqs: Any, app: App, name: str, needs: Needs) -> _Queues:
    """Return the queues of *app*, which are there where it declares them."""
    dead_letters = parts_of(app).settings.dead_letter_queue_url
    given = name_of(dead_letters) if dead_letters else ""
    fifo = is_fifo(parts_of(app).destination.queue_address or "")
    if needs.consumed:
        (queue,) = needs.consumed
        own = queue.redrive.dead_letter_queue if queue.redrive else ""
        dead = given or own
        dead_url = _make_queue(sqs, dead, fifo, {})[0] if dead else None
        return _Queues(*_make_queue(sqs, name, fifo, {}), dead_url, takes_all=not queue.topics)
    dead_url, dead_arn = _make_queue(sqs, given or name_dead_letters(name), fifo, {})
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": _MAX_RECEIVES})
    return _Queues(*_make_queue(sqs, name, fifo, {"RedrivePolicy": policy}), dead_url, takes_all=True)


def _make_queue(sqs: Any, name: str, fifo: bool, attributes: Mapping[str, str]) -> tuple[str, str]:
    """Return the URL and the ARN of the queue, which stays as it is where it is there."""
    if fifo:
        attributes = {**attributes, "FifoQueue": "true", "ContentBasedDeduplication": "true"}
    name = with_kind(name, fifo=fifo)
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    except sqs.exceptions.QueueDoesNotExist:
        url = sqs.create_queue(QueueName=name, Attributes=dict(attributes))["QueueUrl"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": let_all_topics_send(_arn_of(sqs, url))})
    return url, _arn_of(sqs, url)


def _arn_of(sqs: Any, url: str) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def _make_topic(sqs: Any, sns: Any, name: str, queues: Iterable[_Queues]) -> str:
    """Return the ARN of the topic, which stays as it is where it is there, but for leading to *queues*."""
    attributes = {"FifoTopic": "true", "ContentBasedDeduplication": "true"} if is_fifo(name) else {}
    arn = find_topic_arn(sns, name) or str(sns.create_topic(Name=name, Attributes=attributes)["TopicArn"])
    for queue in queues:
        # https://docs.aws.amazon.com/sns/latest/dg/sns-fifo-topics.html: a standard topic reaches no FIFO queue.
        if is_fifo(arn) or not is_fifo(queue.url):
            sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue.arn)
            _let_in(sqs, queue, arn)
    return arn


def _let_in(sqs: Any, queue: _Queues, topic_arn: str) -> None:
    """Have the policy of a queue let a topic in, as it may have been there before it was subscribed."""
    answer = sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["Policy"])
    policy = answer.get("Attributes", {}).get("Policy", "")
    wanted = with_topic_allowed(policy, queue.arn, topic_arn)
    if wanted != policy:
        sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": wanted})


def _name_topic(app: App, *, is_alone: bool) -> str | None:
    """Return the name of the topic that *app* publishes to; None where it publishes to its queue.

    Of several, one that names neither topic nor queue has yet to be told where its messages go.
    """
    destination = parts_of(app).destination
    if destination.topic_address:
        return name_of(destination.topic_address)
    return None if is_alone or destination.queue_address else _SHARED


def _name_topics(needs: Mapping[str, Needs], published_to: Iterable[str | None]) -> list[str]:
    """Return the names of the topics that apps publish to, or subscribe to."""
    subscribed = (each.topic for one in needs.values() for each in one.subscriptions)
    return [*dict.fromkeys([*filter(None, published_to), *subscribed])]


def _name_default_topic(names: Mapping[str, str], queues: Mapping[str, _Queues]) -> str:
    """Return the name of the topic of apps of which none has one."""
    name = next(iter(names.values())) if len(names) == 1 else _SHARED
    return with_kind(name, fifo=all(is_fifo(queue.url) for queue in queues.values()))


def _name_queues(apps: Mapping[str, App]) -> dict[str, str]:
    """Return the names of the apps' queues."""
    addresses = {target: parts_of(app).destination.queue_address for target, app in apps.items()}
    after = Counter(name_after(target) for target, address in addresses.items() if not address)
    return {
        target: name_of(address) if address else _name_queue(target, after) for target, address in addresses.items()
    }


def _name_queue(target: str, after: Mapping[str, int]) -> str:
    name, variable = name_after(target), target.partition(":")[2]
    return f"{name}-{variable}" if after[name] > 1 and variable else name


def name_after(target: str) -> str:
    """Return the name of the queue for an app at *target* that names none."""
    place = target.partition(":")[0].removesuffix(".py").replace("\\", "/").rpartition("/")[2]
    return _NOT_IN_A_NAME.sub("-", place).strip("-")[:_LONGEST] or "app"
