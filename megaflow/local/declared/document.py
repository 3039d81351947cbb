"""The document: queues and topics by name, in megaflow's words, as declarations."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from megaflow.checks import show
from megaflow.limits import LONGEST_RETENTION
from megaflow.local.declared.declarations import (
    Declarations,
    DeclaredQueue,
    DeclaredSubscription,
    DeclaredTopic,
    within,
    wrong,
)
from megaflow.local.declared.values import (
    OF_AN_ENDPOINT,
    GivenAttributes,
    attribute,
    check_keys,
    nearest,
    queue_attribute,
    read_boolean,
    read_list,
    read_table,
    read_text,
    write_json,
)
from megaflow.local.topic import POSTED

_FIFO: Final = ".fifo"
_OF_SQS: Final = "sqs"
"""Encryption with a key that is SQS's own."""

_MAX_RECEIVE_COUNT: Final = 5
ArnOf = Callable[[str, str], str]
"""Gives the ARN of a service's queue or topic of some name."""

_QUEUE: Final[Mapping[str, str]] = {
    "fifo": "FifoQueue",
    "visibility_timeout": "VisibilityTimeout",
    "retention": "MessageRetentionPeriod",
    "delay": "DelaySeconds",
    "wait_time": "ReceiveMessageWaitTimeSeconds",
    "max_message_size": "MaximumMessageSize",
    "content_based_deduplication": "ContentBasedDeduplication",
    "deduplication_scope": "DeduplicationScope",
    "fifo_throughput_limit": "FifoThroughputLimit",
    "dead_letter_queue": "RedrivePolicy",
    "redrive_allow_policy": "RedriveAllowPolicy",
    "policy": "Policy",
    "encryption": "KmsMasterKeyId",
}
_TOPIC: Final[Mapping[str, str]] = {
    "fifo": "FifoTopic",
    "content_based_deduplication": "ContentBasedDeduplication",
    "fifo_throughput_scope": "FifoThroughputScope",
    "display_name": "DisplayName",
    "max_message_size": "MaximumMessageSize",
    "signature_version": "SignatureVersion",
    "policy": "Policy",
    "encryption": "KmsMasterKeyId",
}
_SUBSCRIPTION: Final[Mapping[str, str]] = {
    "raw_delivery": "RawMessageDelivery",
    "filter_policy": "FilterPolicy",
    "filter_policy_scope": "FilterPolicyScope",
    "dead_letter_queue": "RedrivePolicy",
}
_ENDPOINT: Final = {**_SUBSCRIPTION, "delivery_policy": "DeliveryPolicy"}
QUEUE_KEYS: Final = (*_QUEUE, "subscribe", "tags", "attributes")
"""What the table of a queue takes."""

TOPIC_KEYS: Final = (*_TOPIC, "endpoints", "tags", "attributes")
"""What the table of a topic takes."""

SUBSCRIPTION_KEYS: Final = ("topic", *_SUBSCRIPTION)
"""What a table in ``subscribe`` takes."""

ENDPOINT_KEYS: Final = ("url", *_ENDPOINT)
"""What a table in ``endpoints`` takes."""

_BOOLEAN: Final = frozenset({"fifo", "content_based_deduplication", "raw_delivery"})


def read_document(document: Mapping[str, Any], arn_of: ArnOf) -> Declarations:
    """Return what *document* declares.

    Raises:
        ConfigurationError: something in it is wrong.
    """
    check_keys(document, ("queues", "topics"), "", {})
    return _Document(document, arn_of).read()


class _Document:
    """Queues and topics, which refer to each other by name."""

    def __init__(self, document: Mapping[str, Any], arn_of: ArnOf) -> None:
        self._queues = _read_tables(document, "queues")
        self._topics = _read_tables(document, "topics")
        self._arn_of = arn_of
        self._dead_letter_queues = self._read_dead_letter_queues()

    def read(self) -> Declarations:
        queues = [self._read_queue(name, given) for name, given in self._queues.items()]
        topics = tuple(_read_topic(name, given) for name, given in self._topics.items())
        subscriptions = (
            *(each for name in self._queues for each in self._read_subscriptions(name)),
            *(each for name in self._topics for each in self._read_endpoints(name)),
        )
        let_in = _senders(subscriptions)
        declared = (
            each if "Policy" in each.attributes else replace(each, topics=tuple(let_in[self._arn_of("sqs", each.name)]))
            for each in (*queues, *self._dead_letter_queues.values())
        )
        return Declarations(tuple(declared), topics, subscriptions)

    def _read_queue(self, name: str, given: Mapping[str, Any]) -> DeclaredQueue:
        path = within("queues", name)
        check_keys(given, QUEUE_KEYS, path, _QUEUE_HINTS)
        attributes = GivenAttributes(path)
        for word in (word for word in given if word in _QUEUE):
            of_aws, here = _QUEUE[word], within(path, word)
            if word == "encryption" and (given[word] is False or given[word] == _OF_SQS):
                attributes.add("SqsManagedSseEnabled", str(given[word] == _OF_SQS).lower(), here)
            else:
                attributes.add(of_aws, self._read_queue_word(name, word, given[word], here), here)
        attributes.add_all(given.get("attributes"), queue_attribute)
        attributes.settle_type("FifoQueue", "queue", name)
        return DeclaredQueue(name, attributes.texts, _read_tags(given, path), attributes.place())

    def _read_queue_word(self, name: str, word: str, value: object, path: str) -> str:
        if word == "dead_letter_queue":
            return self._redrive_policy(name, value, path)
        return _read_word(word, value, path) or queue_attribute(_QUEUE[word], value, path)

    def _redrive_policy(self, name: str, value: object, path: str) -> str:
        if value is False or value is None:
            return ""
        if isinstance(value, str):
            target, count = self._find("queue", value, path), _MAX_RECEIVE_COUNT
        else:
            given = _read_dead_letter_queue(value, path)
            dead = _dead_name(name, given, path)
            target = dead if dead.startswith("arn:") else self._arn_of("sqs", dead)
            count = given.get("max_receive_count", _MAX_RECEIVE_COUNT)
        if isinstance(count, bool) or not isinstance(count, int):
            raise wrong(within(path, "max_receive_count"), f"{show(count)} is not allowed: give a whole number")
        return write_json({"deadLetterTargetArn": target, "maxReceiveCount": count}, path)

    def _read_dead_letter_queues(self) -> dict[str, DeclaredQueue]:
        """Return the dead-letter queues that are declared where they are used, and nowhere else, by name."""
        found: dict[str, DeclaredQueue] = {}
        for name, given in self._queues.items():
            used, path = given.get("dead_letter_queue"), within(within("queues", name), "dead_letter_queue")
            if used is None or used is False or isinstance(used, str):
                continue
            table = _read_dead_letter_queue(used, path)
            dead = _dead_name(name, table, path)
            if dead not in self._queues and not dead.startswith("arn:"):
                declared = _declare_dead_letter_queue(dead, table, path)
                if found.setdefault(dead, declared).attributes != declared.attributes:
                    raise wrong(path, f"{found[dead].place.path} declares {dead} otherwise: declare it below queues")
            elif "retention" in table:
                raise wrong(within(path, "retention"), f"{dead} is declared elsewhere: say it there")
        return found

    def _read_subscriptions(self, name: str) -> Iterator[DeclaredSubscription]:
        path = within(within("queues", name), "subscribe")
        for number, value in enumerate(read_list(self._queues[name].get("subscribe", ()), path)):
            yield self._read_subscription(name, value, f"{path}[{number}]")

    def _read_subscription(self, name: str, value: object, path: str) -> DeclaredSubscription:
        given = {"topic": value} if isinstance(value, str) else read_table(value, path)
        check_keys(given, SUBSCRIPTION_KEYS, path, _hints_within(_SUBSCRIPTION))
        if "topic" not in given:
            raise wrong(path, "it names no topic: give topic")
        topic_arn = self._find("topic", given["topic"], path if isinstance(value, str) else within(path, "topic"))
        attributes = self._subscription_attributes(given, path)
        return DeclaredSubscription(topic_arn, self._arn_of("sqs", name), attributes.texts, attributes.place())

    def _read_endpoints(self, name: str) -> Iterator[DeclaredSubscription]:
        path = within(within("topics", name), "endpoints")
        for number, value in enumerate(read_list(self._topics[name].get("endpoints", ()), path)):
            yield self._read_endpoint(name, value, f"{path}[{number}]")

    def _read_endpoint(self, name: str, value: object, path: str) -> DeclaredSubscription:
        given = {"url": value} if isinstance(value, str) else read_table(value, path)
        check_keys(given, ENDPOINT_KEYS, path, _hints_within(_ENDPOINT))
        if "url" not in given:
            raise wrong(path, "it names nobody to post to: give url")
        here = path if isinstance(value, str) else within(path, "url")
        url = read_text(given["url"], here)
        protocol = url.partition(":")[0].lower()
        if protocol not in POSTED:
            raise wrong(here, "it is no URL to post to: let it begin with http:// or https://")
        attributes = self._subscription_attributes(given, path)
        for words in OF_AN_ENDPOINT:
            attributes.mark(words, here)
        return DeclaredSubscription(
            self._arn_of("sns", name), url, attributes.texts, attributes.place(), protocol=protocol
        )

    def _subscription_attributes(self, given: Mapping[str, Any], path: str) -> GivenAttributes:
        attributes = GivenAttributes(path)
        for word in (word for word in given if word in _ENDPOINT):
            here = within(path, word)
            attributes.add(_ENDPOINT[word], self._read_subscription_word(word, given[word], here), here)
        return attributes

    def _read_subscription_word(self, word: str, value: object, path: str) -> str:
        if word == "dead_letter_queue":
            return write_json({"deadLetterTargetArn": self._find("queue", value, path)}, path)
        return _read_word(word, value, path) or attribute(word, value, path)

    def _find(self, kind: Literal["queue", "topic"], value: object, path: str) -> str:
        """Return the ARN of a queue or topic that is declared; one that is not goes by its ARN."""
        name = read_text(value, path)
        declared = [*self._queues, *self._dead_letter_queues] if kind == "queue" else self._topics
        if name.startswith("arn:"):
            return name
        if name not in declared:
            hint = nearest(name, declared) or f": add [{within(f'{kind}s', name)}], or give an ARN"
            raise wrong(path, f"no {kind} {name} is declared{hint}")
        return self._arn_of("sqs" if kind == "queue" else "sns", name)


def _senders(subscriptions: Iterable[DeclaredSubscription]) -> Mapping[str, list[str]]:
    """Return the topics that send to each queue, by ARNs: as its subscriptions, or their dead letters."""
    found: dict[str, list[str]] = defaultdict(list)
    for each in subscriptions:
        redrive = json.loads(each.attributes.get("RedrivePolicy", "{}"))
        for queue_arn in (each.endpoint, redrive.get("deadLetterTargetArn")):
            found[queue_arn].append(each.topic_arn)
    return found


def _read_topic(name: str, given: Mapping[str, Any]) -> DeclaredTopic:
    path = within("topics", name)
    check_keys(given, TOPIC_KEYS, path, _hints_for(_TOPIC))
    attributes = GivenAttributes(path)
    for word in (word for word in given if word in _TOPIC):
        here = within(path, word)
        attributes.add(_TOPIC[word], _read_word(word, given[word], here) or attribute(word, given[word], here), here)
    attributes.add_all(given.get("attributes"), attribute)
    attributes.settle_type("FifoTopic", "topic", name)
    return DeclaredTopic(name, attributes.texts, _read_tags(given, path), attributes.place())


def _read_word(word: str, value: object, path: str) -> str:
    """Return the value of a word that is true or false, and nothing for all others."""
    if word == "encryption" and not isinstance(value, str):
        others = ', or "sqs", or false' if path.startswith("queues") else ""
        raise wrong(path, f"{show(value)} is not allowed: give the id of a key{others}")
    if word == "fifo" and isinstance(value, Mapping):
        kind, _, name = path.removesuffix(".fifo").partition(".")
        raise wrong(path, f"a table is not allowed: what is called {name}.fifo is [{within(kind, f'{name}.fifo')}]")
    return str(read_boolean(value, path)).lower() if word in _BOOLEAN else ""


def _read_dead_letter_queue(value: object, path: str) -> Mapping[str, Any]:
    """Return the table of a dead-letter queue; true is short for an empty one."""
    given = {} if value is True else read_table(value, path)
    check_keys(given, ("name", "max_receive_count", "retention"), path, {})
    return given


def _dead_name(name: str, given: Mapping[str, Any], path: str) -> str:
    """Return the name of a dead-letter queue: one that is given, or that of its queue and ``-dead``."""
    if "name" in given:
        return read_text(given["name"], within(path, "name"))
    return f"{name.removesuffix(_FIFO)}-dead{_FIFO if name.endswith(_FIFO) else ''}"


def _declare_dead_letter_queue(name: str, given: Mapping[str, Any], path: str) -> DeclaredQueue:
    attributes, here = GivenAttributes(path), within(path, "retention")
    retention = given.get("retention", LONGEST_RETENTION)
    attributes.add("MessageRetentionPeriod", queue_attribute("MessageRetentionPeriod", retention, here), here)
    attributes.settle_type("FifoQueue", "queue", name)
    return DeclaredQueue(name, attributes.texts, {}, attributes.place())


def _read_tables(document: Mapping[str, Any], kind: str) -> dict[str, Mapping[str, Any]]:
    tables = read_table(document.get(kind), kind)
    return {name: read_table(given, within(kind, name)) for name, given in tables.items()}


def _read_tags(given: Mapping[str, Any], path: str) -> dict[str, str]:
    path = within(path, "tags")
    tags = read_table(given.get("tags"), path)
    return {key: "" if value == "" else read_text(value, within(path, key)) for key, value in tags.items()}


def _hints_within(words: Mapping[str, str]) -> dict[str, str]:
    return {of_aws: f"write {word}" for word, of_aws in words.items()}


def _hints_for(words: Mapping[str, str]) -> dict[str, str]:
    return {of_aws: f"write {word}, or put it below attributes" for word, of_aws in words.items()}


_QUEUE_HINTS: Final = {
    **dict.fromkeys(_SUBSCRIPTION, "it goes into a table of subscribe"),
    "max_receive_count": "it goes into dead_letter_queue",
    **_hints_for(_QUEUE),
}
"""What is said of words that stand in the wrong place."""
