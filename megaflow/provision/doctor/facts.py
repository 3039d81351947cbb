"""Facts: what is known of an app and of its place in AWS. The checks read these and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from megaflow.dispatch.check import Finding as Odd
from megaflow.handlers.handler import Handler
from megaflow.provision.declarations import Queue
from megaflow.provision.found import FoundQueue, FoundSubscription, FoundTopic
from megaflow.settings import ConsumerSettings
from megaflow.transport.addresses import name_of
from megaflow.transport.numbers import read_whole

_PLATFORMS: Final = (
    ("KUBERNETES_SERVICE_HOST", "Kubernetes", 30.0),
    ("ECS_CONTAINER_METADATA_URI_V4", "Amazon ECS", 30.0),
    ("ECS_CONTAINER_METADATA_URI", "Amazon ECS", 30.0),
)
"""Environment variables that say where a process runs, and the seconds from SIGTERM to SIGKILL by default there.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
"""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that could not be looked at. What *is_in_the_way* is in that of the app, too."""

    what: str
    said: str
    is_in_the_way: bool = False


@dataclass(frozen=True, slots=True)
class GracePeriod:
    """The seconds from SIGTERM to SIGKILL. *source* says who gives them, ``""`` is the user."""

    seconds: float
    source: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """A dead-letter queue: None where it is not there, or could not be looked at."""

    name: str
    queue: FoundQueue | None
    is_missing: bool = False
    is_of_redrive: bool = True
    """Whether the redrive policy names it; otherwise ``dead_letter_queue_url=`` alone does."""

    oldest: float | None = None
    """How many seconds ago its oldest message was sent, by CloudWatch; None where that is not known."""

    @property
    def waiting(self) -> int:
        """How many messages it holds."""
        names = ("", "NotVisible", "Delayed")
        return sum(number_of(self.queue, f"ApproximateNumberOfMessages{name}") for name in names)


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription of the queue, with its topic, None where that could not be looked at."""

    topic_arn: str
    found: FoundSubscription
    topic: FoundTopic | None = None
    is_declared: bool = False
    json_only: bool = True
    """Whether nobody publishes anything but JSON, as the app says; of one that it does not declare, that is assumed."""

    @property
    def name(self) -> str:
        """The name of the topic."""
        return name_of(self.topic_arn)

    @property
    def is_shown(self) -> bool:
        """Whether its attributes are known."""
        return bool(self.found.attributes)


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function that gets the messages of the queue, as its event source mapping says."""

    name: str
    timeout: float
    batching_window: float = 0.0
    reports_failures: bool = True
    is_enabled: bool = True


@dataclass(frozen=True, slots=True)
class Key:
    """A key of KMS, as KMS shows it."""

    id: str
    state: str
    policy: str = ""
    """Its policy as JSON; ``""`` where it has none that anybody could change, or it could not be looked at."""

    refusal: str = ""
    """What KMS says to whoever asks whether they may encrypt with it; ``""`` where they may."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another app that consumes the same queue, and the handlers that only one of both has."""

    target: str
    differing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one app. What could not be looked at is left out, and is one of the *troubles*."""

    target: str
    settings: ConsumerSettings
    handlers: tuple[Handler, ...] = ()
    odd: tuple[Odd, ...] = ()
    longest_handling: float | None = None
    """Seconds that the slowest handler may take; None where no handler has a limit."""

    declared: Queue | None = None
    queue_name: str = ""
    """The queue, ``""`` where the app has none."""

    queue: FoundQueue | None = None
    missing: tuple[str, ...] = ()
    """What is not there, each in words: ``"the queue orders"``."""

    dead_letters: tuple[DeadLetters, ...] = ()
    subscriptions: tuple[Subscribed, ...] = ()
    unsubscribed: tuple[str, ...] = ()
    """The names of topics that the queue should be subscribed to, and is not."""

    topic: FoundTopic | None = None
    """The topic that the app publishes to."""

    keys: Mapping[str, Key] | None = None
    """The keys of KMS that are used, by id as the queues and topics say it; None where KMS was not asked."""

    functions: tuple[Function, ...] = ()
    ahead: float | None = None
    """How many seconds the clock of this machine is ahead of AWS's; None where AWS does not say."""

    lambda_timeout: float | None = None
    grace_period: GracePeriod | None = None
    neighbours: tuple[Neighbour, ...] = ()
    troubles: tuple[Trouble, ...] = ()

    @property
    def queues(self) -> Iterator[FoundQueue]:
        """The queue and its dead-letter queues, as far as they are there."""
        if self.queue:
            yield self.queue
        yield from (each.queue for each in self.dead_letters if each.queue)

    @property
    def topics(self) -> Iterator[FoundTopic]:
        """The topics that were looked at, each once."""
        several = [*(each.topic for each in self.subscriptions), self.topic]
        yield from {topic.arn: topic for topic in several if topic}.values()

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The keys of KMS that encrypt messages, by id, ARN or alias, each once."""
        used = (*map(key_of, self.queues), *map(key_of, self.topics))
        return tuple(filter(None, dict.fromkeys(used)))


def number_of(queue: FoundQueue | None, attribute: str) -> int:
    """Return the number that a queue shows; 0 where it does not."""
    return read_whole(queue.attributes.get(attribute), 0) if queue else 0


def key_of(found: FoundQueue | FoundTopic) -> str:
    """Return the id of the key of KMS that encrypts messages there, ``""`` where there is none."""
    return found.attributes.get("KmsMasterKeyId", "")


def find_platform(environment: Mapping[str, str]) -> GracePeriod | None:
    """Return the grace period of where this process runs, None where its environment does not tell."""
    return next((GracePeriod(seconds, name) for each, name, seconds in _PLATFORMS if each in environment), None)
