"""Needs: the queues, topics, subscriptions and permissions that an app needs of AWS, derived from what it declares.

Nothing is asked of AWS here, so names stand for what has an ARN only in some account.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias

from megaflow import limits
from megaflow.dispatch.sns_policy import SnsFilterPolicy
from megaflow.errors import ConfigurationError
from megaflow.handlers.handler import Handler
from megaflow.match.filters import Scope
from megaflow.provision.declarations import SQS_ENCRYPTION, DeadLetterQueue, Queue, Topic
from megaflow.publishing.destination import Destination
from megaflow.settings import ConsumerSettings
from megaflow.transport.addresses import name_dead_letters, name_of, with_kind

Attributes: TypeAlias = Mapping[str, str]
"""Attributes of a queue or a topic, by AWS's names, as AWS shows them."""

_UNMATCHED: Final = "unmatched={!r}: the app wants the messages, too, that no handler matches"


class Declares(Protocol):
    """A `megaflow.App`, as far as it is asked what it needs."""

    _destination: Destination
    _settings: ConsumerSettings

    @property
    def queue(self) -> Queue | None: ...
    @property
    def topic(self) -> Topic | None: ...
    @property
    def handlers(self) -> Sequence[Handler]: ...
    def sns_filter_policy(self, *, json_only: bool = False) -> SnsFilterPolicy: ...


@dataclass(frozen=True, slots=True)
class NeededRedrive:
    """Where SQS moves what was received so often."""

    dead_letter_queue: str
    """Its name."""

    max_receive_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededQueue:
    """A queue. What *attributes* does not have may be anything."""

    name: str
    fifo: bool
    attributes: Attributes
    """Without ``RedrivePolicy`` and ``Policy``, which have ARNs in them: see *redrive* and *topics*."""

    redrive: NeededRedrive | None = None
    topics: tuple[str, ...] = ()
    """The names of the topics that may send to it."""

    is_consumed: bool = True
    """Whether an app consumes it; of a dead-letter queue one may, too."""

    sources: tuple[str, ...] = ()
    """The names of the queues whose dead-letter queue it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededTopic:
    """A topic. What *attributes* does not have may be anything."""

    name: str
    fifo: bool
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededSubscription:
    """A subscription of a queue to a topic, both by name, with raw message delivery."""

    topic: str
    queue: str
    filter_policy: Mapping[str, Any] | None
    """The policy as a dict; None where all messages are to come through, for this *reason*:"""

    filter_scope: Scope
    reason: str = ""

    @property
    def name(self) -> str:
        """What it is called here; AWS has no name for it."""
        return f"{self.queue} to {self.topic}"

    @property
    def attributes(self) -> Attributes:
        """The attributes of the subscription, as SNS shows them."""
        raw = {"RawMessageDelivery": "true"}
        if self.filter_policy is None:
            return raw
        return {**raw, "FilterPolicy": json.dumps(self.filter_policy), "FilterPolicyScope": self.filter_scope}


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one app needs, or several together. Dead-letter queues stand before the queues that need them."""

    queues: tuple[NeededQueue, ...] = ()
    topics: tuple[NeededTopic, ...] = ()
    subscriptions: tuple[NeededSubscription, ...] = ()

    @property
    def consumed(self) -> tuple[NeededQueue, ...]:
        """The queues that apps consume, in order of the apps."""
        return tuple(queue for queue in self.queues if queue.is_consumed)

    def queue(self, name: str) -> NeededQueue:
        """Return the queue of this name; raise `KeyError` where none is needed."""
        return {queue.name: queue for queue in self.queues}[name]


def needs_of(app: Declares, *, by_address: bool = False) -> Needs:
    """Return what *app* declares, and what its handlers and settings say of it; nothing where it declares nothing.

    With *by_address*, a queue or topic that it has by URL or ARN is described as if its name had been declared, with
    every default: what it should be, as far as the app says.
    """
    queue, topic = app.queue, app.topic
    if by_address:
        queue = queue or _read_address(Queue, app._destination.queue_url)  # noqa: SLF001 - it is asked for that
        topic = topic or _read_address(Topic, app._destination.topic_arn)  # noqa: SLF001 - it is asked for that
    topics = [*([topic] if topic else []), *(queue.topics if queue else ())]
    return Needs(
        queues=_need_queues(queue, app) if queue else (),
        topics=_join_topics([_need_topic(each) for each in topics]),
        subscriptions=tuple(_subscribe(queue, each, app) for each in queue.topics) if queue else (),
    )


def join_needs(needs: Mapping[str, Needs]) -> Needs:
    """Return what several apps need together, by what they are called.

    A dead-letter queue may be that of several queues, and consumed by an app itself. Raises `ConfigurationError` where
    two apps consume one queue, or a queue or a topic would have to be two things at once.
    """
    consumers: dict[str, str] = {}
    for target, each in needs.items():
        for queue in each.consumed:
            other = consumers.setdefault(queue.name, target)
            if other != target:
                raise ConfigurationError(
                    f"{other} and {target} both consume the queue {queue.name}, and each would delete what only the "
                    "other one handles: put their handlers into one app, or give each app a queue of its own"
                )
    return Needs(
        queues=_join_queues([queue for each in needs.values() for queue in each.queues]),
        topics=_join_topics([topic for each in needs.values() for topic in each.topics]),
        subscriptions=tuple(one for each in needs.values() for one in each.subscriptions),
    )


def longest_handling(app: Declares) -> float | None:
    """Return how many seconds the slowest handler may have a message, by its ``timeout``; None where none has one."""
    options = [handler.options for handler in app.handlers]
    times = [
        each.timeout + (each.batch_seconds if each.takes_batches else 0.0)
        for each in options
        if each.timeout is not None
    ]
    return max(times, default=None)


def visibility_of(app: Declares) -> int:
    """Return the visibility timeout that the app's queue should have by default, in seconds.

    `App.run` does not go by it: each receive says the app's own, and a lease that is longer in hand is extended. It is
    for those who say nothing and extend nothing: a Lambda function, a script, the console. They have a message for as
    long as a handler may take, and `longest_handling` is all that the app knows of that.
    """
    longest = max(app._settings.visibility_timeout, longest_handling(app) or 0.0)  # noqa: SLF001 - it is asked for that
    return min(math.ceil(longest), limits.VISIBILITY_TIMEOUT)


def _need_queues(queue: Queue, app: Declares) -> tuple[NeededQueue, ...]:
    visibility = visibility_of(app) if queue.visibility_timeout is None else queue.visibility_timeout
    attributes = {"VisibilityTimeout": str(visibility), **_encryption_of(queue.encryption), **_fifo_of(queue)}
    if queue.retention is not None:
        attributes["MessageRetentionPeriod"] = str(queue.retention)
    dead = _dead_letter_queue_of(queue, app)
    needed = NeededQueue(
        name=queue.name,
        fifo=queue.fifo,
        attributes=MappingProxyType(attributes),
        redrive=NeededRedrive(dead.name, dead.max_receive_count) if dead else None,
        topics=tuple(topic.name for topic in queue.topics),
    )
    return (_need_dead_letter_queue(queue, dead), needed) if dead else (needed,)


def _dead_letter_queue_of(queue: Queue, app: Declares) -> DeadLetterQueue | None:
    """Return the dead-letter queue with its whole name: the one that megaflow sends to, where nothing else is said."""
    dead = queue.dead_letter_queue
    if dead is None:
        return None
    own = app._settings.dead_letter_queue_url  # noqa: SLF001 - it is asked for that
    name = with_kind(dead.name or (own and name_of(own)) or name_dead_letters(queue.name), fifo=queue.fifo)
    if name == queue.name:
        raise ConfigurationError(f"dead_letter_queue_url={own!r} is the queue itself: give another one")
    return replace(dead, name=name)


def _need_dead_letter_queue(queue: Queue, dead: DeadLetterQueue) -> NeededQueue:
    attributes = {
        "MessageRetentionPeriod": str(dead.retention),
        **_encryption_of(queue.encryption),
        **({"FifoQueue": "true"} if queue.fifo else {}),
    }
    return NeededQueue(
        name=dead.name,
        fifo=queue.fifo,
        attributes=MappingProxyType(attributes),
        is_consumed=False,
        sources=(queue.name,),
    )


def _need_topic(topic: Topic) -> NeededTopic:
    key = {"KmsMasterKeyId": topic.encryption} if topic.encryption else {}
    fifo = _fifo_of(topic)
    return NeededTopic(name=topic.name, fifo=topic.fifo, attributes=MappingProxyType({**key, **fifo}))


def _fifo_of(declared: Queue | Topic) -> Attributes:
    if not declared.fifo:
        return {}
    kind = "FifoQueue" if isinstance(declared, Queue) else "FifoTopic"
    return {kind: "true", "ContentBasedDeduplication": str(declared.content_based_deduplication).lower()}


def _encryption_of(encryption: str | None) -> Attributes:
    if encryption is None:
        return {}
    return {"SqsManagedSseEnabled": "true"} if encryption == SQS_ENCRYPTION else {"KmsMasterKeyId": encryption}


def _subscribe(queue: Queue, topic: Topic, app: Declares) -> NeededSubscription:
    unmatched = app._settings.unmatched  # noqa: SLF001 - it is asked for that
    if unmatched != "delete":
        derived = SnsFilterPolicy(None, _UNMATCHED.format(unmatched))
    else:
        derived = app.sns_filter_policy(json_only=topic.json_only)
    return NeededSubscription(
        topic=topic.name,
        queue=queue.name,
        filter_policy=derived.policy,
        filter_scope=derived.scope,
        reason=derived.reason,
    )


def _join_queues(queues: Sequence[NeededQueue]) -> tuple[NeededQueue, ...]:
    """Return each queue once, and the dead-letter queue of each before it."""
    joined: dict[str, NeededQueue] = {}
    for queue in queues:
        before = joined.get(queue.name, queue)
        joined[queue.name] = replace(
            queue,
            attributes=_join_attributes(f"the queue {queue.name}", before.attributes, queue.attributes),
            redrive=queue.redrive or before.redrive,
            topics=queue.topics or before.topics,
            is_consumed=before.is_consumed or queue.is_consumed,
            sources=tuple(dict.fromkeys((*before.sources, *queue.sources))),
        )
    ordered: dict[str, NeededQueue] = {}

    def add(queue: NeededQueue, above: tuple[str, ...] = ()) -> None:
        if queue.name in above:
            raise ConfigurationError(f"{' and '.join(above)} are dead-letter queues of each other: end that somewhere")
        if queue.redrive:
            add(joined[queue.redrive.dead_letter_queue], (*above, queue.name))
        ordered.setdefault(queue.name, queue)

    for queue in joined.values():
        add(queue)
    return tuple(ordered.values())


def _join_topics(topics: Sequence[NeededTopic]) -> tuple[NeededTopic, ...]:
    joined: dict[str, NeededTopic] = {}
    for topic in topics:
        before = joined.get(topic.name, topic)
        attributes = _join_attributes(f"the topic {topic.name}", before.attributes, topic.attributes)
        joined[topic.name] = replace(topic, attributes=attributes)
    return tuple(joined.values())


def _join_attributes(what: str, one: Attributes, other: Attributes) -> Attributes:
    for name in one.keys() & other.keys():
        if one[name] != other[name]:
            raise ConfigurationError(
                f"{what} is declared twice, with {name} {one[name]} and {other[name]}: say the same everywhere"
            )
    return MappingProxyType({**one, **other})


def _read_address(kind: Any, address: str | None) -> Any:
    return kind(name_of(address)) if address else None
