"""Declarations: what the queue and the topic of an app are to be, as ``App(queue=…, topic=…)`` takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from megaflow import limits
from megaflow.checks import check_whole, refused
from megaflow.errors import ConfigurationError
from megaflow.settings import refuse_both
from megaflow.transport.addresses import is_fifo, with_kind

SQS_ENCRYPTION: Final = "sqs"
"""The encryption of a queue with a key that is SQS's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterQueue:
    """The dead-letter queue of a queue. Raises `ConfigurationError` naming what is out of range."""

    max_receive_count: int = 5
    """How often SQS gives out a message of the queue before it moves it here, 1 to 1,000."""

    name: str = ""
    """Its name; by default that of ``dead_letter_queue_url``, else that of the queue with ``-dead`` after it. Beside a
    FIFO queue it is FIFO, too, and its name ends with ``.fifo``.
    """

    retention: int = limits.LONGEST_RETENTION
    """For how many seconds it keeps a message, 60 to 1,209,600; 14 days by default."""

    def __post_init__(self) -> None:
        """Check what is given."""
        check_whole("max_receive_count", self.max_receive_count, 1, limits.RECEIVES)
        _check_retention(self.retention)
        if self.name:
            _check_name("DeadLetterQueue(name)", self.name, limits.QUEUE_NAME_LENGTH, "dead_letter_queue_url=")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic, by name: ``App(topic=Topic("orders"))``. Raises `ConfigurationError` naming what is out of range.

    What you leave out stays as AWS has it.
    """

    name: str
    """Its name, which of a FIFO topic ends with ``.fifo``."""

    fifo: bool = False
    """Whether it is FIFO, which its name says, too: ``Topic("orders.fifo")``."""

    content_based_deduplication: bool = True
    """Whether a FIFO topic takes equal bodies within five minutes for one message, where they have no ids for that."""

    encryption: str | None = None
    """The key of KMS that encrypts its messages, by id, ARN or alias."""

    json_only: bool = False
    """Your word that nobody publishes text, bytes or BSON to it. Only then can the handlers' patterns for bodies become
    the filter policy of a subscription, as that would cut those off.
    """

    def __post_init__(self) -> None:
        """Check what is given, and write the whole name."""
        _check_name("Topic(name)", self.name, limits.TOPIC_NAME_LENGTH, "topic_arn=")
        _set_whole_name(self, limits.TOPIC_NAME_LENGTH)
        _check_encryption(self.encryption)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, by name: ``App(queue=Queue("orders"))``. Raises `ConfigurationError` naming what is out of range.

    What you leave out is as the app needs it, or else stays as AWS has it.
    """

    name: str
    """Its name, which of a FIFO queue ends with ``.fifo``."""

    fifo: bool = False
    """Whether it is FIFO, which its name says, too: ``Queue("orders.fifo")``."""

    visibility_timeout: int | None = None
    """For how many seconds a message that was received is hidden, 0 to 43,200, where the receiver does not say. By
    default that of the app, or as long as the slowest handler may take, if that is longer.
    """

    retention: int | None = None
    """For how many seconds it keeps a message, 60 to 1,209,600."""

    dead_letter_queue: DeadLetterQueue | None = field(default_factory=DeadLetterQueue)
    """Its dead-letter queue, None for none."""

    encryption: str | None = None
    """What encrypts its messages, and those of its dead-letter queue: ``"sqs"`` for a key of SQS's own, or the key of
    KMS by id, ARN or alias.
    """

    content_based_deduplication: bool = True
    """Whether a FIFO queue takes equal bodies within five minutes for one message, where they have no ids for that."""

    subscribe: Iterable[Topic | str] = ()
    """The topics whose messages it gets: raw, and filtered by what the handlers match, where that loses nothing."""

    def __post_init__(self) -> None:
        """Check what is given, and write the whole name."""
        _check_name("Queue(name)", self.name, limits.QUEUE_NAME_LENGTH, "queue_url=")
        _set_whole_name(self, limits.QUEUE_NAME_LENGTH)
        if self.visibility_timeout is not None:
            check_whole("visibility_timeout", self.visibility_timeout, 0, limits.VISIBILITY_TIMEOUT)
        if self.retention is not None:
            _check_retention(self.retention)
        _check_encryption(self.encryption)
        self._check_dead_letters()
        object.__setattr__(self, "subscribe", _read_topics(self.subscribe))
        self._check_topics()

    @property
    def topics(self) -> tuple[Topic, ...]:
        """The topics that it subscribes to."""
        return _read_topics(self.subscribe)

    def _check_dead_letters(self) -> None:
        dead = self.dead_letter_queue
        if dead is None:
            return
        if not isinstance(dead, DeadLetterQueue):
            raise refused("dead_letter_queue", dead, "a DeadLetterQueue, or None: DeadLetterQueue(max_receive_count=5)")
        if is_fifo(dead.name) and not self.fifo:
            raise ConfigurationError(
                f"the dead-letter queue {dead.name} is FIFO, and {self.name} is not: both have to be of one kind"
            )
        if self.retention is not None and dead.retention < self.retention:
            raise ConfigurationError(
                f"the dead-letter queue of {self.name} keeps messages for {dead.retention:,} seconds, and the queue "
                f"for {self.retention:,}: SQS counts from when they were sent, so let the former keep them longer"
            )
        if dead.name and with_kind(dead.name, fifo=self.fifo) == self.name:
            raise ConfigurationError(f"{self.name} cannot be its own dead-letter queue: give another name")

    def _check_topics(self) -> None:
        for topic in self.topics:
            # https://docs.aws.amazon.com/sns/latest/dg/sns-fifo-topics.html
            if self.fifo and not topic.fifo:
                raise ConfigurationError(
                    f"{self.name} is FIFO, and a standard topic reaches no FIFO queue: "
                    f"say subscribe=[Topic({topic.name!r}, fifo=True)]"
                )


_Declared = TypeVar("_Declared", Queue, Topic)


def read_queue(given: Queue | str | None, queue_url: str | None) -> Queue | None:
    """Return the declaration of an app's queue, a name for short; raise `ConfigurationError` for what is none."""
    refuse_both("queue_url", queue_url, "queue", _name(given))
    return _read("queue", given, Queue, 'a name, or a Queue: queue=Queue("orders", retention=86_400)')


def read_topic(given: Topic | str | None, topic_arn: str | None) -> Topic | None:
    """Return the declaration of an app's topic, a name for short; raise `ConfigurationError` for what is none."""
    refuse_both("topic_arn", topic_arn, "topic", _name(given))
    return _read("topic", given, Topic, 'a name, or a Topic: topic=Topic("orders", fifo=True)')


def _name(given: object) -> object:
    return getattr(given, "name", given)


def _read(parameter: str, given: object, kind: type[_Declared], wanted: str) -> _Declared | None:
    if given is None or isinstance(given, kind):
        return given
    if not isinstance(given, str):
        raise refused(parameter, given, wanted)
    return kind(given)


def _read_topics(given: object) -> tuple[Topic, ...]:
    several = (given,) if isinstance(given, str | Topic) else given
    if not isinstance(several, Iterable):
        raise ConfigurationError(f'subscribe={given!r} must hold topics: subscribe=[Topic("orders")]')
    topics = tuple(Topic(each) if isinstance(each, str) else each for each in several)
    for topic in topics:
        if not isinstance(topic, Topic):
            raise ConfigurationError(f'subscribe={given!r} must hold topics, and {topic!r} is none: Topic("orders")')
        if sum(other.name == topic.name for other in topics) > 1:
            raise ConfigurationError(f"subscribe= has the topic {topic.name} twice: name it once")
    return topics


def _set_whole_name(declared: Queue | Topic, longest: int) -> None:
    """Let the name of what is FIFO end with ``.fifo``, and what has such a name be FIFO."""
    fifo = declared.fifo or is_fifo(declared.name)
    whole = with_kind(declared.name, fifo=fifo)
    if len(whole) > longest:
        raise ConfigurationError(f"name={whole!r} has {len(whole)} characters, and AWS takes {longest}: shorten it")
    object.__setattr__(declared, "name", whole)
    object.__setattr__(declared, "fifo", fifo)


def _check_name(what: str, name: object, longest: int, by_address: str) -> None:
    if isinstance(name, str) and (name.startswith("arn:") or "://" in name):
        raise ConfigurationError(f"{what}: {name!r} is an address, and no name: give it as {by_address}")
    if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]+(\.fifo)?", name) and len(name) <= longest):
        raise ConfigurationError(
            f"{what}: {name!r} must be letters, digits, - and _, at most {longest} characters, with .fifo included"
        )


def _check_retention(value: object) -> None:
    check_whole("retention", value, limits.SHORTEST_RETENTION, limits.LONGEST_RETENTION)


def _check_encryption(value: object) -> None:
    if not (value is None or (isinstance(value, str) and value)):
        wanted = '"sqs", for a queue, or a key of KMS by id, ARN or alias: "alias/orders"'
        raise refused("encryption", value, wanted)
