"""Destinations: which queue and topic an app is connected to, and publishes to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from megaflow.checks import check_flag
from megaflow.errors import ConfigurationError
from megaflow.messages.payloads import Payloads
from megaflow.publishing.scheduling import Scheduling
from megaflow.publishing.sns import SnsPublisher
from megaflow.publishing.sqs import SqsPublisher
from megaflow.settings import QUEUE_URL_VARIABLE, TOPIC_ARN_VARIABLE, check_address
from megaflow.telemetry.outlets import Outlets
from megaflow.telemetry.propagation import Propagation
from megaflow.telemetry.tracing import Telemetry, Tracing
from megaflow.transport.addresses import is_same_queue, queue_url_of, read_address, topic_arn_of
from megaflow.transport.protocols import SnsClient, SqsClient, check_client
from megaflow.transport.queue import OpenQueue
from megaflow.transport.session import AwsOptions, Clients, refuse_beside_client
from megaflow.transport.times import BOTO3S, CONSUMING


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where an app's messages come from and go to, and how to get there."""

    queue_url: str | None
    topic_arn: str | None
    client: SqsClient | None
    sns_client: SnsClient | None
    aws: AwsOptions = field(repr=False)
    queue: str | None = None
    """The name of the queue, where that is what is known of it."""

    topic: str | None = None
    """The same for the topic."""

    def __post_init__(self) -> None:
        """Refuse what is no address, and no client."""
        check_address("queue_url", self.queue_url, queue_url_of)
        check_address("topic_arn", self.topic_arn, topic_arn_of)
        check_client("client", self.client, "sqs")
        check_client("sns_client", self.sns_client, "sns")

    def changed(self, to: Endpoints) -> Endpoints:
        """Return the same with what *to* says in place of what this one does."""
        keeps_clients = not to.aws
        return Endpoints(
            to.queue_url or self.queue_url,
            to.topic_arn or self.topic_arn,
            self.client if to.client is None and keeps_clients else to.client,
            self.sns_client if to.sns_client is None and keeps_clients else to.sns_client,
            self.aws | to.aws,
            None if to.queue_url else self.queue,
            None if to.topic_arn else self.topic,
        )

    @property
    def server(self) -> object:
        """What says which server is called, where it is not AWS: an endpoint, or the account of an embedded one."""
        if self.client is None:
            return self.aws.get("endpoint_url")
        endpoint = getattr(getattr(self.client, "meta", None), "endpoint_url", self.client)
        return getattr(self.client, "account", endpoint)

    def refuse_idle(self, given: AwsOptions) -> None:
        """Raise `ConfigurationError` for options that were *given*, where no client is made with them."""
        is_topics = self.sns_client is None and (self.topic_arn or self.topic or os.environ.get(TOPIC_ARN_VARIABLE))
        if self.client is not None and not is_topics:
            refuse_beside_client(given)


class Destination:
    """The publishers for the queue and the topic of a *connection*."""

    def __init__(
        self,
        connection: Endpoints,
        *,
        wire: bool,
        max_message_size: int,
        outlets: Outlets,
        telemetry: bool | Telemetry = False,
        large_payloads: Payloads | None = None,
    ) -> None:
        check_flag("wire", wire)
        self._large_payloads = large_payloads
        self._wire = wire
        self._telemetry = telemetry
        self.tracing = Tracing(telemetry)
        """Whether there are spans: for whoever consumes from here."""

        self._max_message_size = max_message_size
        self._outlets = outlets
        connection.refuse_idle(connection.aws)
        self.propagation = Propagation()
        """What goes along with what is published here, from the message in hand."""

        self.scheduling = Scheduling(lambda: self.publisher)
        """How what is published here is sent later."""

        self._connect(connection)

    @property
    def queue_address(self) -> str | None:
        """The queue's URL, ARN or name, as it was given or the environment has it. Nothing is looked up."""
        given = self._connection
        return given.queue or given.queue_url or os.environ.get(QUEUE_URL_VARIABLE) or None

    @property
    def topic_address(self) -> str | None:
        """The topic's ARN or name, as it was given or the environment has it. Nothing is looked up."""
        given = self._connection
        return given.topic or given.topic_arn or os.environ.get(TOPIC_ARN_VARIABLE) or None

    @property
    def queue_url(self) -> str | None:
        """The queue's URL or ARN, as it was given or the environment has it; that of a name is looked up."""
        return self.queue.queue_url if self._connection.queue else self.queue_address

    @property
    def topic_arn(self) -> str | None:
        """The topic's ARN, as it was given or the environment has it; that of a name is looked up."""
        return self.topic.topic_arn if self._connection.topic else self.topic_address

    @property
    def publisher(self) -> SqsPublisher | SnsPublisher:
        """The topic's publisher where a topic is set, else the queue's; `ConfigurationError` where neither is."""
        if self.topic_address:
            return self.topic
        if self.queue_address:
            return self.queue
        raise ConfigurationError(
            "there is nowhere to publish to: give topic_arn= or queue_url=, topic= or queue=, or set "
            f"{TOPIC_ARN_VARIABLE} or {QUEUE_URL_VARIABLE}"
        )

    @contextmanager
    def changed(self, to: Endpoints) -> Iterator[None]:
        """Be connected to what *to* says within a ``with``; what it does not say stays."""
        before = self._connection
        after = before.changed(to)
        after.refuse_idle(to.aws)
        self._connect(after)
        try:
            yield
        finally:
            self._connect(before)

    @contextmanager
    def putting_large_payloads(self, elsewhere: Payloads | None) -> Iterator[None]:
        """Put payloads that are too large *elsewhere* within a ``with``; None changes nothing."""
        before = self._large_payloads
        self._put_large_payloads(before if elsewhere is None else elsewhere)
        try:
            yield
        finally:
            self._put_large_payloads(before)

    def _put_large_payloads(self, payloads: Payloads | None) -> None:
        self._large_payloads = self.queue.large_payloads = self.topic.large_payloads = payloads

    def client_for(self, address: str) -> SqsClient:
        """Return a client for another queue, as `SqsPublisher.client_for` does."""
        return self.queue.client_for(address)

    def check(self, address: str) -> None:
        """Raise `ConfigurationError` where the region that was given, or that of the client, is not for *address*."""
        self.queue.check(address)

    def check_for_running(self, dead_letter_queue_url: str | None) -> None:
        """Raise `ConfigurationError` unless queue and dead-letter queue are two, and can be reached as it was said."""
        for url in filter(None, (self.queue.queue_url, dead_letter_queue_url)):
            self.check(url)
        if dead_letter_queue_url and is_same_queue(dead_letter_queue_url, self.queue.queue_url):
            raise ConfigurationError(
                f"dead_letter_queue_url={dead_letter_queue_url!r} is the queue itself: give another one"
            )

    def shares_queue_with(self, other: Destination) -> bool:
        """Tell whether both consume one queue, as far as addresses and clients say."""
        ours, theirs = self.queue.queue_url, other.queue.queue_url
        if not is_same_queue(ours, theirs):
            return False
        # Anybody's server may have a queue of that name.
        return read_address(ours).is_awss or self._connection.server == other._connection.server

    def open_queue(self, dead_letter_queue_url: str | None) -> OpenQueue:
        """Return the queue to consume; raise `ConfigurationError` where there is no way to it, or its dead letters."""
        connect = self._consuming.client_for
        if dead_letter_queue_url:
            connect(dead_letter_queue_url)
        url = self.queue.queue_url
        return OpenQueue(connect(url), url, connect=connect, tracing=self.tracing)

    @property
    def region_name(self) -> str | None:
        """The region that was given; None where addresses, or boto3, say it."""
        return self._connection.aws.get("region_name")

    @property
    def account(self) -> tuple[object, ...]:
        """What tells apart the accounts and regions that apps are in, as far as options and clients say."""
        to = self._connection
        return to.server, *(to.aws.get(name) for name in ("profile_name", "aws_access_key_id", "region_name"))

    def clients_of(self, service: Literal["sqs", "sns", "cloudwatch", "kms", "lambda"]) -> Clients:
        """Return clients for calls that no message waits for, such as those that make queues."""
        to = self._connection
        given: Any = {"sqs": to.client, "sns": to.sns_client}.get(service)
        return Clients(service, to.aws if given is None else AwsOptions(), given, wire=False, times=BOTO3S)

    def _connect(self, to: Endpoints) -> None:
        self._connection = to
        # The options may be meant for the other one, or be those of an app that is connected elsewhere for a while.
        of_queue = to.aws if to.client is None else AwsOptions()
        of_topic = to.aws if to.sns_client is None else AwsOptions()
        self.queue = SqsPublisher(
            queue_url=to.queue_url,
            queue=to.queue,
            client=to.client,
            wire=self._wire,
            telemetry=self._telemetry,
            **of_queue,
        )
        self._consuming = Clients("sqs", of_queue, to.client, wire=self._wire, tracing=self.tracing, times=CONSUMING)
        """Clients with the times of polls, so not those that publish."""

        self.topic = SnsPublisher(
            topic_arn=to.topic_arn,
            topic=to.topic,
            client=to.sns_client,
            max_message_size=self._max_message_size,
            telemetry=self._telemetry,
            **of_topic,
        )
        self.queue.propagation = self.topic.propagation = self.propagation
        self.queue.outlets = self.topic.outlets = self._outlets
        self.queue.large_payloads = self.topic.large_payloads = self._large_payloads


def read_dead_letter_queue(address: str | None) -> str | None:
    """Return the URL of the dead-letter queue at *address*, where one is given: its URL, or its ARN."""
    return None if address is None else queue_url_of("dead_letter_queue_url", address)
