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
from megaflow.local.access import topics_allowed
from megaflow.transport.addresses import is_fifo, name_of
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
    dead_letter_queue_url: str
    topic_arn: str
    """A topic that leads to the queue."""

    publishes_to_topic: bool
    """Whether the app publishes to this topic, and not to its queue."""


def host(apps: Mapping[str, App], endpoint_url: str) -> dict[str, Hosted]:
    """Make what is not there yet: for each app a queue with its dead-letter queue, and topics that lead to all queues.

    They are named as the apps' own; where an app names none, after its target. A queue that receives a message five
    times without its being deleted gives it to the dead-letter queue.
    """
    settings = AwsSettings(**read_aws(endpoint_url, None, None))
    sqs, sns = settings.create_client("sqs", ""), settings.create_client("sns", "")
    names = _name_queues(apps)
    queues = {target: _make_queues(sqs, app, names[target]) for target, app in apps.items()}
    published_to = {target: _name_topic(app, is_alone=len(apps) == 1) for target, app in apps.items()}
    all_fifo = all(is_fifo(queue.url) for queue in queues.values())
    by_default = (names[next(iter(apps))] if len(apps) == 1 else _SHARED) + (".fifo" if all_fifo else "")
    topics = {
        name: _make_topic(sns, name, queues.values())
        for name in [*dict.fromkeys(filter(None, published_to.values()))] or [by_default]
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
    dead_letter_queue_url: str


def _make_queues(sqs: Any, app: App, name: str) -> _Queues:
    fifo = is_fifo(app.queue_url or "")
    dead_letters = parts_of(app).settings.dead_letter_queue_url
    dead_name = name_of(dead_letters) if dead_letters else f"{name}-dead"
    dead_url, dead_arn = _make_queue(sqs, dead_name.removesuffix(".fifo"), fifo, {})
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": _MAX_RECEIVES})
    url, arn = _make_queue(sqs, name, fifo, {"RedrivePolicy": policy})
    return _Queues(url, arn, dead_url)


def _make_queue(sqs: Any, name: str, fifo: bool, attributes: Mapping[str, str]) -> tuple[str, str]:
    """Return the URL and the ARN of the queue, which stays as it is where it is there."""
    if fifo:
        name, attributes = f"{name}.fifo", {**attributes, "FifoQueue": "true", "ContentBasedDeduplication": "true"}
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    except sqs.exceptions.QueueDoesNotExist:
        url = sqs.create_queue(QueueName=name, Attributes=dict(attributes))["QueueUrl"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": topics_allowed(_arn_of(sqs, url))})
    return url, _arn_of(sqs, url)


def _arn_of(sqs: Any, url: str) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def _make_topic(sns: Any, name: str, queues: Iterable[_Queues]) -> str:
    attributes = {"FifoTopic": "true", "ContentBasedDeduplication": "true"} if is_fifo(name) else {}
    arn = str(sns.create_topic(Name=name, Attributes=attributes)["TopicArn"])
    for queue in queues:
        # https://docs.aws.amazon.com/sns/latest/dg/sns-fifo-topics.html: a standard topic reaches no FIFO queue.
        if is_fifo(arn) or not is_fifo(queue.url):
            sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue.arn)
    return arn


def _name_topic(app: App, *, is_alone: bool) -> str | None:
    """Return the name of the topic that *app* publishes to; None where it publishes to its queue.

    Of several, one that names neither topic nor queue has yet to be told where its messages go.
    """
    if app.topic_arn:
        return name_of(app.topic_arn)
    return None if is_alone or app.queue_url else _SHARED


def _name_queues(apps: Mapping[str, App]) -> dict[str, str]:
    """Return the names of the apps' queues, without ``.fifo``."""
    after = Counter(name_after(target) for target, app in apps.items() if not app.queue_url)
    return {
        target: name_of(app.queue_url).removesuffix(".fifo") if app.queue_url else _name_queue(target, after)
        for target, app in apps.items()
    }


def _name_queue(target: str, after: Mapping[str, int]) -> str:
    name, variable = name_after(target), target.partition(":")[2]
    return f"{name}-{variable}" if after[name] > 1 and variable else name


def name_after(target: str) -> str:
    """Return the name of the queue for an app at *target* that names none."""
    place = target.partition(":")[0].removesuffix(".py").replace("\\", "/").rpartition("/")[2]
    return _NOT_IN_A_NAME.sub("-", place).strip("-")[:_LONGEST] or "app"
