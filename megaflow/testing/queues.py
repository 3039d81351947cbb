"""Queues of a test: those that an app declares, or else such as it has, and its topic, on the embedded account."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from megaflow.app import App, parts_of
from megaflow.local import SnsClient, SqsClient
from megaflow.provision.making import Provisioner, make_sure
from megaflow.provision.needs import NeededQueue, needs_of
from megaflow.provision.policies import let_all_topics_send
from megaflow.transport.addresses import is_fifo, name_dead_letters, name_of, with_kind
from megaflow.transport.lookups import find_topic_arn

_QUEUE: Final = "test"
_MAX_RECEIVES: Final = "1000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Where the messages of a test are."""

    queue_url: str
    dead_letter_queue_url: str
    """``""`` where the app declares that there is none."""

    given_dead_letter_queue_url: str | None
    """The same where the app names one itself, and not its queue alone."""

    topic_arn: str | None


def addresses_of(app: App) -> list[str]:
    """Return the addresses, or names, of the app's queue and topic."""
    destination = parts_of(app).destination
    return [each for each in (destination.queue_address, destination.topic_address) if each]


def open_queues(app: App, sqs: SqsClient, sns: SnsClient, *, fifo: bool | None) -> Opened:
    """Make the queues and the topic of *app*.

    What it declares is as it is declared, unless *fifo* asks for queues of the other kind. Otherwise *fifo* is whether
    they are FIFO; by default they are where the app's own are.
    """
    return _Opening(app, sqs, sns, fifo).open()


class _Opening:
    def __init__(self, app: App, sqs: SqsClient, sns: SnsClient, fifo: bool | None) -> None:
        parts = parts_of(app)
        self._app = app
        self._sqs = sqs
        self._sns = sns
        self._destination = parts.destination
        self._dead_letters = name_of(parts.settings.dead_letter_queue_url or "")
        self._fifo = any(map(is_fifo, addresses_of(app))) if fifo is None else fifo
        self._is_as_declared = app.queue is None or fifo in (None, app.queue.fifo)

    def open(self) -> Opened:
        """Make them all."""
        needs = needs_of(self._app) if self._is_as_declared else None
        if needs is not None:
            make_sure(Provisioner(self._sqs, self._sns, apply=True), needs)
        queue_url, dead_url = self._open_declared(*needs.consumed) if needs and needs.consumed else self._open_others()
        return Opened(
            queue_url=queue_url,
            dead_letter_queue_url=dead_url,
            given_dead_letter_queue_url=dead_url if self._dead_letters else None,
            topic_arn=self._open_topic(queue_url),
        )

    def _open_declared(self, queue: NeededQueue) -> tuple[str, str]:
        dead = self._dead_letters or (queue.redrive.dead_letter_queue if queue.redrive else "")
        return self._find_or_make(queue.name), self._find_or_make(dead) if dead else ""

    def _open_others(self) -> tuple[str, str]:
        name = name_of(self._destination.queue_address or _QUEUE)
        dead_url = self._find_or_make(self._whole(self._dead_letters or name_dead_letters(name)))
        policy = {"deadLetterTargetArn": self._arn_of(dead_url), "maxReceiveCount": _MAX_RECEIVES}
        return self._find_or_make(self._whole(name), RedrivePolicy=json.dumps(policy)), dead_url

    def _find_or_make(self, name: str, **attributes: str) -> str:
        """Return the URL of the queue, which stays as it is where it is there."""
        account = self._sqs.account
        if name in account.queues:
            return account.queue_url(name)
        if is_fifo(name):
            attributes |= {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        return str(self._sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def _open_topic(self, queue_url: str) -> str | None:
        """Return the topic that the app publishes to; it leads to the queue, unless that says which topics do."""
        address = self._destination.topic_address
        if not address:
            return None
        queue, topic = (self._app.queue, self._app.topic) if self._is_as_declared else (None, None)
        name = topic.name if topic else self._whole(name_of(address))
        arn = find_topic_arn(self._sns, name)
        if arn is None:
            fifo = {"FifoTopic": "true", "ContentBasedDeduplication": "true"} if is_fifo(name) else {}
            arn = str(self._sns.create_topic(Name=name, Attributes=fifo)["TopicArn"])
        if queue is None or not queue.topics:
            queue_arn = self._arn_of(queue_url)
            self._sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": let_all_topics_send(queue_arn)})
            self._sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
        return arn

    def _whole(self, name: str) -> str:
        return with_kind(name, fifo=self._fifo)

    def _arn_of(self, url: str) -> str:
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])
