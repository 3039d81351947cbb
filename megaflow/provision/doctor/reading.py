"""Reading: the facts of apps, asked of AWS by calls that change nothing. What cannot be asked is one of the facts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args

from megaflow.dispatch.check import Finding as Odd
from megaflow.handlers.handler import Handler
from megaflow.provision.declarations import Topic
from megaflow.provision.doctor.facts import (
    DeadLetters,
    Facts,
    GracePeriod,
    Key,
    Neighbour,
    Subscribed,
)
from megaflow.provision.doctor.looking import InTheWay, Looking
from megaflow.provision.doctor.others import find_oldest, read_functions, read_key
from megaflow.provision.found import (
    FoundQueue,
    FoundSubscription,
    FoundTopic,
    find_topic,
    read_queue,
    read_subscription,
    read_topic,
)
from megaflow.provision.needs import Declares, longest_handling
from megaflow.provision.policies import read_statements
from megaflow.publishing.destination import Destination
from megaflow.transport.addresses import identify_queue, name_of, queue_url_of, read_address, topic_arn_of
from megaflow.transport.queue import find_queue_url
from megaflow.transport.session import Clients

Other: TypeAlias = Literal["cloudwatch", "kms", "lambda"]
OTHERS: Final[tuple[Other, ...]] = get_args(Other)
"""The services that are asked beside SQS and SNS where that is wanted."""


class Examined(Declares, Protocol):
    """A `megaflow.App`, as far as the doctor asks it."""

    def check(self) -> tuple[Odd, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the user says: of where the apps run, and which services may be asked beside SQS and SNS."""

    lambda_timeout: float | None = None
    grace_period: GracePeriod | None = None
    asks: frozenset[Other] = frozenset()
    others: Mapping[Other, Any] = field(default_factory=dict)
    """Clients of those services, in place of those that are made as the app makes its own."""

    clock: Callable[[], float] = time.time


def read_apps(apps: Mapping[str, Examined], told: Told) -> list[Facts]:
    """Return the facts of each of several apps, by target, and of which others consume the same queue."""
    several: list[Facts] = []
    places: list[object] = []
    for target, app in apps.items():
        facts = _Examination(target, app, told).read()
        place = _destination_of(app).account, facts.queue.arn if facts.queue else facts.queue_name
        before = [each for other, each in zip(places, several, strict=True) if other == place]
        several.append(replace(facts, neighbours=tuple(_find_neighbours(facts, before))))
        places.append(place)
    return several


def _find_neighbours(facts: Facts, others: Sequence[Facts]) -> Iterator[Neighbour]:
    for other in others if facts.queue_name else ():
        differing = _sign(facts.handlers) ^ _sign(other.handlers)
        if differing:
            yield Neighbour(other.target, tuple(sorted({name for name, *_ in differing})))


def _sign(handlers: Sequence[Handler]) -> set[tuple[str, str, str]]:
    return {(each.name, each.kind.value, repr(each.pattern)) for each in handlers}


def _destination_of(app: Examined) -> Destination:
    return app._destination  # noqa: SLF001 - it is asked for that


class _Examination:
    """One app as it is looked at, step by step."""

    def __init__(self, target: str, app: Examined, told: Told) -> None:
        self._target = target
        self._app = app
        self._destination = _destination_of(app)
        self._told = told
        self._looking = Looking(told.clock)
        self._look = self._looking.look
        self._missing: list[str] = []
        self._clients: dict[str, Clients] = {}

    def read(self) -> Facts:
        """Return what there is to know."""
        address = self._destination.queue_address or ""
        facts = Facts(
            target=self._target,
            settings=self._app._settings,  # noqa: SLF001 - it is asked for that
            handlers=tuple(self._app.handlers),
            longest_handling=longest_handling(self._app),
            declared=self._app.queue,
            queue_name=name_of(address) or address,
            lambda_timeout=self._told.lambda_timeout,
            grace_period=self._told.grace_period,
        )
        with suppress(InTheWay):
            facts = replace(facts, odd=self._look("the handlers", self._app.check) or ())
            for step in (self._read_queue, self._read_dead_letters, self._read_subscriptions, self._read_topic):
                facts = step(facts)
        facts = self._ask_others(facts)
        troubles, missing = tuple(dict.fromkeys(self._looking.troubles)), tuple(dict.fromkeys(self._missing))
        return replace(facts, ahead=self._looking.ahead, missing=missing, troubles=troubles)

    def _read_queue(self, facts: Facts) -> Facts:
        address, what = self._destination.queue_address, f"the queue {facts.queue_name}"
        if not address:
            return facts
        if self._app.queue is None:
            self._look(what, lambda: queue_url_of("queue_url", address))
        queue = self._look(what, lambda: self._find_queue(address), on_missing=lambda: self._missing.append(what))
        return replace(facts, queue=queue)

    def _find_queue(self, address: str) -> FoundQueue:
        """Return the queue at *address*: a URL, an ARN, or a name."""
        sqs, read = self._client("sqs", address), read_address(address)
        url = address if read.is_url else find_queue_url(sqs, read.name, read.account)
        if self._looking.ahead is None:
            # Once more, for its headers alone.
            self._looking.note_time(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]))
        return _readable_queue(read_queue(sqs, url))

    def _read_dead_letters(self, facts: Facts) -> Facts:
        arn = str(facts.queue.redrive.get("deadLetterTargetArn") or "") if facts.queue else ""
        own = facts.settings.dead_letter_queue_url or ""
        is_another = own and not (arn and identify_queue(own)[1:] == identify_queue(arn)[1:])
        found = [self._read_dead_letter_queue(arn, is_of_redrive=True)] if arn else []
        found += [self._read_dead_letter_queue(own, is_of_redrive=False)] if is_another else []
        return replace(facts, dead_letters=tuple(found))

    def _read_dead_letter_queue(self, address: str, *, is_of_redrive: bool) -> DeadLetters:
        name, missing = name_of(address), list[bool]()
        queue = self._look(
            f"the dead-letter queue {name}",
            lambda: self._find_queue(address),
            on_missing=lambda: missing.append(True),
            goes_on=True,
        )
        return DeadLetters(name, queue, is_missing=bool(missing), is_of_redrive=is_of_redrive)

    def _read_subscriptions(self, facts: Facts) -> Facts:
        queue = facts.queue
        if queue is None:
            return facts
        # Whoever consumes needs nothing of SNS.
        listed = self._look(
            "the subscriptions", lambda: _list_subscriptions(self._client("sns", queue.arn), queue.arn), is_needed=False
        )
        if listed is None:
            return facts
        declared = {topic.name: topic for topic in facts.declared.topics} if facts.declared else {}
        found = tuple(self._read_subscription(arn, topic_arn, declared) for arn, topic_arn in listed)
        missing = tuple(name for name in declared if name not in {each.name for each in found})
        return replace(facts, subscriptions=found, unsubscribed=missing)

    def _read_subscription(self, arn: str, topic_arn: str, declared: Mapping[str, Topic]) -> Subscribed:
        name, found = name_of(topic_arn), FoundSubscription(arn, {})
        sns, topic = self._client("sns", topic_arn), declared.get(name)
        if found.is_confirmed:
            found = self._look(f"the subscription to {name}", lambda: _read_subscription(sns, arn)) or found
        return Subscribed(
            topic_arn,
            found,
            self._look(f"the topic {name}", lambda: read_topic(sns, topic_arn)),
            is_declared=topic is not None,
            json_only=topic is None or topic.json_only,
        )

    def _read_topic(self, facts: Facts) -> Facts:
        address = self._destination.topic_address
        if not address:
            return facts
        what = f"the topic {name_of(address)}"
        topic = self._look(what, lambda: self._find_topic(address), on_missing=lambda: self._missing.append(what))
        return replace(facts, topic=topic)

    def _find_topic(self, address: str) -> FoundTopic | None:
        """Return the topic at *address*: an ARN, or a name."""
        sns = self._client("sns", address)
        if self._app.topic is None:
            return read_topic(sns, topic_arn_of("topic_arn", address))
        found = find_topic(sns, address)
        if found is None:
            self._missing.append(f"the topic {address}")
        return found

    # Other services, of which none is needed for anything else.

    def _ask_others(self, facts: Facts) -> Facts:
        queue, asks = facts.queue, self._told.asks
        if queue is None:
            return facts
        if "kms" in asks:
            keys = {each: self._ask_for_key(each, queue) for each in facts.key_ids}
            facts = replace(facts, keys={each: key for each, key in keys.items() if key})
        if "lambda" in asks:
            what = "the Lambda functions of the queue"
            functions = self._ask(what, "lambda", queue, lambda awslambda: read_functions(awslambda, queue.arn))
            facts = replace(facts, functions=functions or ())
        if "cloudwatch" in asks:
            facts = replace(facts, dead_letters=tuple(map(self._date, facts.dead_letters)))
        return facts

    def _ask_for_key(self, key_id: str, queue: FoundQueue) -> Key | None:
        key: Key | None = self._ask(f"the key {key_id}", "kms", queue, lambda kms: read_key(kms, key_id))
        return key

    def _date(self, dead: DeadLetters) -> DeadLetters:
        if not (dead.queue and dead.waiting):
            return dead
        what, now = f"the age of what {dead.name} holds", self._told.clock()
        oldest = self._ask(what, "cloudwatch", dead.queue, lambda cloudwatch: find_oldest(cloudwatch, dead.name, now))
        return replace(dead, oldest=oldest)

    def _ask(self, what: str, service: Other, queue: FoundQueue, call: Callable[[Any], Any]) -> Any:
        def ask() -> Any:
            return call(self._told.others.get(service) or self._client(service, queue.arn))

        return self._look(what, ask, is_needed=False)

    def _client(self, service: Literal["sqs", "sns"] | Other, address: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._destination.clients_of(service)
        return self._clients[service].client_for(address)


def _readable_queue(found: FoundQueue) -> FoundQueue:
    """Return *found*; raise `ValueError` where its policies cannot be read."""
    _ = found.redrive, read_statements(found.policy)
    return found


def _read_subscription(sns: Any, arn: str) -> FoundSubscription:
    """Return a subscription; raise `ValueError` where its filter policy cannot be read."""
    found = read_subscription(sns, arn)
    _ = found.filter_policy
    return found


def _list_subscriptions(sns: Any, queue_arn: str) -> list[tuple[str, str]]:
    """Return the ARNs of the subscriptions of a queue, each with that of its topic: SNS can only list them all.

    https://docs.aws.amazon.com/sns/latest/api/API_ListSubscriptions.html
    """
    found: list[tuple[str, str]] = []
    asked: dict[str, str] = {}
    while True:
        answer = sns.list_subscriptions(**asked)
        of_queue = (each for each in answer.get("Subscriptions", ()) if each["Endpoint"] == queue_arn)
        found += [(each["SubscriptionArn"], each["TopicArn"]) for each in of_queue]
        if not answer.get("NextToken"):
            return found
        asked = {"NextToken": answer["NextToken"]}
