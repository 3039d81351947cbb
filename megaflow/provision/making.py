"""Making: what is needed compared with what is there, resource by resource, and made where that is asked for.

The order is that in which each needs the others: dead-letter queues, queues, redrive policies, topics, policies of
queues, subscriptions. Nothing is ever deleted, and no attribute changed that is not declared.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from megaflow.errors import ConfigurationError
from megaflow.provision.differences import Difference, State, compare_attributes, compare_filters, show_filter
from megaflow.provision.found import (
    FoundQueue,
    FoundSubscription,
    FoundTopic,
    describe_redrive,
    find_queue,
    find_subscription,
    find_topic,
    read_queue,
    read_topic,
    sibling_arn,
)
from megaflow.provision.needs import NeededQueue, NeededSubscription, NeededTopic, Needs
from megaflow.provision.policies import has_statement, let_topic_send, put_statements, read_statements, sid_of
from megaflow.provision.refusals import describe_refusal, is_unsettled
from megaflow.transport.addresses import is_fifo, with_kind
from megaflow.transport.lookups import find_topic_arn
from megaflow.transport.queue import find_queue_url

Read = TypeVar("Read")

_TRIES: Final = 12
_PAUSE: Final = 0.5
"""Seconds between tries: a queue that was just made may not be found for a second.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
"""

_TAKEN: Final = ("QueueAlreadyExists", "QueueNameExists")


class Provisioner:
    """Compares needs with an account, by boto3's clients of SQS and SNS, and makes what is missing, where it may.

    That is what *apply* says, and *narrow* that filters may let less through than they do. *sleep* waits for what was
    just made.
    """

    def __init__(
        self,
        sqs: Any,
        sns: Any,
        *,
        apply: bool = False,
        narrow: bool = False,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._sqs = sqs
        self._sns = sns
        self._apply = apply
        self._narrow = narrow
        self._sleep = sleep
        self._queues: dict[str, FoundQueue | None] = {}
        """The queues that were looked at, by name; None is that there is none. What could not be is not here."""

        self._topics: dict[str, FoundTopic | None] = {}

    def provision(self, needs: Needs) -> Iterator[Difference]:
        """Give each difference once it is known what it comes to.

        What AWS refuses of one resource is a difference that has failed, and the others go on. Raises what else boto3
        raises: no credentials, no connection.
        """
        for queue in needs.queues:
            yield from self._guarded("queue", queue.name, partial(self._provision_queue, queue))
        for queue in needs.queues:
            if queue.redrive:
                yield from self._guarded("queue", queue.name, partial(self._provision_redrive, queue), "RedrivePolicy")
        for topic in needs.topics:
            yield from self._guarded("topic", topic.name, partial(self._provision_topic, topic))
        for queue in needs.queues:
            if queue.topics:
                yield from self._guarded("queue policy", queue.name, partial(self._provision_policy, queue))
        for each in needs.subscriptions:
            yield from self._guarded("subscription", each.name, partial(self._provision_subscription, each))

    def _guarded(
        self, resource: str, name: str, step: Callable[[], Sequence[Difference]], attribute: str = ""
    ) -> Sequence[Difference]:
        from botocore.exceptions import ClientError

        try:
            return step()
        except (ClientError, ValueError) as error:
            said = describe_refusal(error)
            return [Difference(resource=resource, name=name, attribute=attribute, state=State.FAILED, reason=said)]

    def _make(self, differences: Sequence[Difference], make: Callable[[], object]) -> list[Difference]:
        """Do what ends *differences*, if any of them can be ended, and return what they came to."""
        from botocore.exceptions import ClientError

        if not self._apply or not any(each.state is State.DIFFERS for each in differences):
            return list(differences)
        to, said = State.MADE, ""
        try:
            self._patiently(make)
        except (ClientError, ValueError) as error:
            to, said = State.FAILED, describe_refusal(error)
        return [
            replace(each, state=to, reason=said or each.reason) if each.state is State.DIFFERS else each
            for each in differences
        ]

    def _patiently(self, call: Callable[[], Read]) -> Read:
        """Return what *call* does; where it fails as something that was just made is not to be seen yet, wait."""
        for _ in range(_TRIES - 1):
            try:
                return call()
            except Exception as error:
                if not is_unsettled(error):
                    raise
                self._sleep(_PAUSE)
        return call()

    # Queues

    def _provision_queue(self, needed: NeededQueue) -> Sequence[Difference]:
        found = find_queue(self._sqs, needed.name)
        if found is not None:
            self._queues[needed.name] = found
            return self._change_queue(needed, found)
        missing = Difference(
            resource="queue",
            name=needed.name,
            declared=dict(needed.attributes),
            reason=self._describe_other_kind("queue", needed.name, partial(find_queue_url, self._sqs)),
        )
        made = self._make([missing], lambda: self._create_queue(needed))
        if made[0].state is not State.FAILED:
            self._queues.setdefault(needed.name, None)
        return made

    def _change_queue(self, needed: NeededQueue, found: FoundQueue) -> list[Difference]:
        differences = list(compare_attributes("queue", needed.name, found.attributes, needed.attributes))
        changes = {each.attribute: each.declared for each in differences if each.state is State.DIFFERS}
        return self._make(differences, lambda: self._set_queue(found, changes))

    def _create_queue(self, needed: NeededQueue) -> None:
        from botocore.exceptions import ClientError

        try:
            answer = self._sqs.create_queue(QueueName=needed.name, Attributes=dict(needed.attributes))
        except ClientError as error:
            if error.response["Error"]["Code"].rpartition(".")[2] not in _TAKEN:
                raise
            # Somebody has made it meanwhile, with other attributes.
            found = read_queue(self._sqs, find_queue_url(self._sqs, needed.name))
            changes = compare_attributes("queue", needed.name, found.attributes, needed.attributes)
            self._set_queue(found, {each.attribute: each.declared for each in changes})
        else:
            found = read_queue(self._sqs, answer["QueueUrl"])
        self._queues[needed.name] = found

    def _set_queue(self, found: FoundQueue, attributes: Mapping[str, str]) -> None:
        self._sqs.set_queue_attributes(QueueUrl=found.url, Attributes=dict(attributes))

    def _describe_other_kind(self, resource: str, name: str, find: Callable[[str], object]) -> str:
        """Say so where there is something of that *name*, but for ``.fifo``, as far as that may be asked."""
        from botocore.exceptions import ClientError

        other = with_kind(name, fifo=not is_fifo(name))
        try:
            if find(other) is None:
                return ""
        except ClientError:
            return ""
        kind = "FIFO" if is_fifo(other) else "standard"
        return f"{other} is there, and is {kind}, which no {resource} can cease to be: this is another one beside it"

    def _provision_redrive(self, needed: NeededQueue) -> Sequence[Difference]:
        redrive = needed.redrive
        if redrive is None:
            return []
        found, dead = self._queue(needed.name), self._queue(redrive.dead_letter_queue)
        has = found.redrive if found else {}
        arn = dead.arn if dead else sibling_arn(found.arn, "sqs", redrive.dead_letter_queue) if found else ""
        wanted = {"deadLetterTargetArn": arn, "maxReceiveCount": redrive.max_receive_count}
        if has.get("deadLetterTargetArn") == arn and str(has.get("maxReceiveCount")) == str(redrive.max_receive_count):
            return []
        named = {**wanted, "deadLetterTargetArn": redrive.dead_letter_queue}
        differs = Difference(
            resource="queue",
            name=needed.name,
            attribute="RedrivePolicy",
            found=describe_redrive(has),
            declared=describe_redrive(named),
        )
        return self._make([differs], lambda: self._set_redrive(found, wanted))

    def _set_redrive(self, found: FoundQueue | None, policy: Mapping[str, object]) -> None:
        if found is not None:
            self._set_queue(found, {"RedrivePolicy": json.dumps(policy)})

    # Topics

    def _provision_topic(self, needed: NeededTopic) -> Sequence[Difference]:
        found = find_topic(self._sns, needed.name)
        if found is not None:
            self._topics[needed.name] = found
            differences = list(compare_attributes("topic", needed.name, found.attributes, needed.attributes))
            changes = {each.attribute: each.declared for each in differences if each.state is State.DIFFERS}
            return self._make(differences, lambda: self._set_topic(found, changes))
        other = self._describe_other_kind("topic", needed.name, partial(find_topic_arn, self._sns))
        missing = Difference(resource="topic", name=needed.name, declared=dict(needed.attributes), reason=other)
        made = self._make([missing], lambda: self._create_topic(needed))
        if made[0].state is not State.FAILED:
            self._topics.setdefault(needed.name, None)
        return made

    def _create_topic(self, needed: NeededTopic) -> None:
        arn = self._sns.create_topic(Name=needed.name, Attributes=dict(needed.attributes))["TopicArn"]
        self._topics[needed.name] = read_topic(self._sns, arn)

    def _set_topic(self, found: FoundTopic, attributes: Mapping[str, str]) -> None:
        for name, value in attributes.items():
            self._sns.set_topic_attributes(TopicArn=found.arn, AttributeName=name, AttributeValue=value)

    # Policies of queues

    def _provision_policy(self, needed: NeededQueue) -> Sequence[Difference]:
        found = self._queue(needed.name)
        if found is not None:
            # As it is now: whoever else changes it reads it and writes it, too.
            found = read_queue(self._sqs, found.url)
        statements = {name: self._let_send(name, found) for name in needed.topics}
        policy = found.policy if found else ""
        missing = {name: each for name, each in statements.items() if not has_statement(policy, each)}
        ids = {each.get("Sid") for each in read_statements(policy)}
        differences = [
            Difference(
                resource="queue policy",
                name=needed.name,
                attribute=f"topic {name}",
                found="something else" if sid_of(name) in ids else None,
                declared="may send",
            )
            for name in missing
        ]
        return self._make(differences, lambda: self._put_policy(found, list(missing.values())))

    def _let_send(self, name: str, queue: FoundQueue | None) -> dict[str, Any]:
        topic, queue_arn = self._topic(name), queue.arn if queue else ""
        topic_arn = topic.arn if topic else sibling_arn(queue_arn, "sns", name) if queue_arn else ""
        return let_topic_send(name, topic_arn, queue_arn)

    def _put_policy(self, found: FoundQueue | None, statements: Sequence[Mapping[str, Any]]) -> None:
        if found is not None:
            self._set_queue(found, {"Policy": put_statements(found.policy, statements)})

    # Subscriptions

    def _provision_subscription(self, needed: NeededSubscription) -> Sequence[Difference]:
        queue, topic = self._queue(needed.queue), self._topic(needed.topic)
        found = find_subscription(self._sns, topic.arn, queue.arn) if queue and topic else None
        if found is not None:
            return self._change_subscription(needed, found)
        missing = Difference(resource="subscription", name=needed.name, declared=dict(needed.attributes))
        return self._make([missing], lambda: self._subscribe(needed, topic, queue))

    def _subscribe(self, needed: NeededSubscription, topic: FoundTopic | None, queue: FoundQueue | None) -> None:
        from botocore.exceptions import ClientError

        if topic is None or queue is None:
            return
        try:
            self._sns.subscribe(
                TopicArn=topic.arn, Protocol="sqs", Endpoint=queue.arn, Attributes=dict(needed.attributes)
            )
        except ClientError as error:
            if "already exists" not in str(error):
                raise
            found = find_subscription(self._sns, topic.arn, queue.arn)
            if found is None:
                raise
            # It was there already, and is not listed at once.
            for each in self._change_subscription(needed, found):
                if each.state is State.FAILED:
                    raise

    def _change_subscription(self, needed: NeededSubscription, found: FoundSubscription) -> list[Difference]:
        name, raw = needed.name, {"RawMessageDelivery": "true"}
        if not found.is_confirmed:
            waits = "it waits to be confirmed by whoever owns the queue"
            return [Difference(resource="subscription", name=name, state=State.FIXED, reason=waits)]
        of_raw = list(compare_attributes("subscription", name, found.attributes, raw))
        made = self._make(of_raw, lambda: self._set_subscription(found, raw))
        change = compare_filters(found, needed, narrow=self._narrow)
        if change is None:
            return made
        differs = Difference(
            resource="subscription",
            name=name,
            attribute="FilterPolicy",
            found=show_filter(found.filter_policy, found.filter_scope),
            declared=show_filter(needed.filter_policy, needed.filter_scope),
            state=change.state,
            reason=change.reason,
        )
        return [*made, *self._make([differs], lambda: self._set_filter(found, change.policy, change.scope))]

    def _set_filter(self, found: FoundSubscription, policy: Mapping[str, Any] | None, scope: str) -> None:
        """Change the filter so that nothing is cut off meanwhile: one attribute is set at a time."""
        if policy is None:
            self._set_subscription(found, {"FilterPolicy": "{}"})
            return
        if found.filter_scope != scope:
            if found.filter_policy:
                self._set_subscription(found, {"FilterPolicy": "{}"})
            self._set_subscription(found, {"FilterPolicyScope": scope})
        self._set_subscription(found, {"FilterPolicy": json.dumps(policy)})

    def _set_subscription(self, found: FoundSubscription, attributes: Mapping[str, str]) -> None:
        for name, value in attributes.items():
            self._sns.set_subscription_attributes(SubscriptionArn=found.arn, AttributeName=name, AttributeValue=value)

    def _queue(self, name: str) -> FoundQueue | None:
        """Return a queue that was looked at; raise `ValueError` for one that could not be, or could not be made."""
        if name not in self._queues:
            raise ValueError(f"the queue {name} failed, and so this was not looked at")
        return self._queues[name]

    def _topic(self, name: str) -> FoundTopic | None:
        """Return a topic that was looked at; raise `ValueError` for one that could not be, or could not be made."""
        if name not in self._topics:
            raise ValueError(f"the topic {name} failed, and so this was not looked at")
        return self._topics[name]


def make_sure(provisioner: Provisioner, needs: Needs) -> None:
    """Make what is needed; raise `ConfigurationError` where something cannot be made."""
    for each in provisioner.provision(needs):
        if each.state in (State.FAILED, State.FIXED):
            raise ConfigurationError(f"the {each.resource} {each.name} cannot be made as it is declared: {each.reason}")
