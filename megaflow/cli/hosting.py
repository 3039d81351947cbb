"""Queues and a topic for an app, made on an embedded server: what ``megaflow dev`` runs an app on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from megaflow.app import App, parts_of
from megaflow.cli.options import read_aws
from megaflow.transport.addresses import is_fifo, name_of
from megaflow.transport.session import AwsSettings

_MAX_RECEIVES: Final = "5"
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class Hosted:
    """Where an app's messages are."""

    endpoint_url: str
    queue_url: str
    dead_letter_queue_url: str
    topic_arn: str


def make_queues(app: App, endpoint_url: str, target: str) -> Hosted:
    """Make what is not there yet: a queue, its dead-letter queue, and a topic that it is subscribed to.

    They are named as the app's own; where it names none, after its *target*. A queue that receives a message five times
    without its being deleted gives it to the dead-letter queue.
    """
    settings = AwsSettings(**read_aws(endpoint_url, None, None))
    sqs, sns = settings.create_client("sqs", ""), settings.create_client("sns", "")
    fifo = is_fifo(app.queue_url or "")
    name = (name_of(app.queue_url) if app.queue_url else name_after(target)).removesuffix(".fifo")
    dead_letters = parts_of(app).settings.dead_letter_queue_url
    dead_name = name_of(dead_letters) if dead_letters else f"{name}-dead"
    dead_url, dead_arn = _make_queue(sqs, dead_name.removesuffix(".fifo"), fifo, {})
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": _MAX_RECEIVES})
    url, arn = _make_queue(sqs, name, fifo, {"RedrivePolicy": policy})
    topic_name = name_of(app.topic_arn).removesuffix(".fifo") if app.topic_arn else name
    return Hosted(endpoint_url, url, dead_url, _make_topic(sns, topic_name, fifo, arn))


def _make_queue(sqs: Any, name: str, fifo: bool, attributes: Mapping[str, str]) -> tuple[str, str]:
    """Return the URL and the ARN of the queue, which stays as it is where it is there."""
    if fifo:
        name, attributes = f"{name}.fifo", {**attributes, "FifoQueue": "true", "ContentBasedDeduplication": "true"}
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    except sqs.exceptions.QueueDoesNotExist:
        url = sqs.create_queue(QueueName=name, Attributes=dict(attributes))["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, answer["Attributes"]["QueueArn"]


def _make_topic(sns: Any, name: str, fifo: bool, queue_arn: str) -> str:
    attributes = {"FifoTopic": "true", "ContentBasedDeduplication": "true"} if fifo else {}
    arn = sns.create_topic(Name=f"{name}.fifo" if fifo else name, Attributes=attributes)["TopicArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
    return str(arn)


def name_after(target: str) -> str:
    """Return the name of the queue for an app at *target* that names none."""
    place = target.partition(":")[0].removesuffix(".py").replace("\\", "/").rpartition("/")[2]
    return _NOT_IN_A_NAME.sub("-", place).strip("-")[:_LONGEST] or "app"
