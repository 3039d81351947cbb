"""IAM: a policy of least privilege for each role, as ``aws iam put-role-policy`` takes it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from megaflow.provision.export.deployment import Deployment, Service
from megaflow.provision.export.text import Document
from megaflow.provision.needs import Attributes
from megaflow.provision.permissions import IMPLIED, PERMISSIONS, On, Permission, Role, When
from megaflow.provision.policies import make_policy

_AWS_MANAGED: Final = "alias/aws/"
"""AWS's own keys let in whoever may use the queue or topic: no role needs anything on them."""


def write_policies(deployment: Deployment) -> Document:
    """Return the policies, by role."""
    return {role.value: write_policy(deployment, role) for role in Role}


def write_policy(deployment: Deployment, role: Role) -> Document:
    """Return the policy for *role*; raise `ConfigurationError` where region or account are unknown."""
    statements = [
        *(_allow(each, _find_resources(deployment, each)) for each in PERMISSIONS if each.role is role),
        *(each for implied in IMPLIED if implied.role is role for each in _allow_keys(deployment, implied)),
    ]
    return make_policy([each for each in statements if each["Resource"]])


def _allow(permission: Permission, resources: Iterable[str], **condition: Any) -> dict[str, Any]:
    return {
        "Sid": permission.sid,
        "Effect": "Allow",
        "Action": list(permission.actions),
        "Resource": list(dict.fromkeys(resources)),
        **condition,
    }


def _find_resources(deployment: Deployment, permission: Permission) -> Iterator[str]:
    is_needed, arns = _NEEDED[permission.when], _RESOURCES[permission.on]
    for service in deployment.services:
        if is_needed(service):
            yield from arns(deployment, service)


def _queue(deployment: Deployment, service: Service) -> Iterator[str]:
    if service.queue:
        yield deployment.queue_arn(service.queue)


def _dead_letters(deployment: Deployment, service: Service) -> Iterator[str]:
    yield from map(deployment.queue_arn, _dead_letter_queues(service))


def _queues(deployment: Deployment, service: Service) -> Iterator[str]:
    yield from _queue(deployment, service)
    yield from _dead_letters(deployment, service)


def _topic(deployment: Deployment, service: Service) -> Iterator[str]:
    if service.topic:
        yield deployment.topic_arn(service.topic)


def _topics(deployment: Deployment, service: Service) -> Iterator[str]:
    yield from (deployment.topic_arn(topic.name) for topic in service.needs.topics)


def _subscribed(deployment: Deployment, service: Service) -> Iterator[str]:
    yield from (deployment.topic_arn(each.topic) for each in service.needs.subscriptions)


def _tables(deployment: Deployment, service: Service) -> Iterator[str]:
    yield from map(deployment.table_arn, service.tables)


def _payloads(deployment: Deployment, service: Service) -> Iterator[str]:
    yield from (deployment.objects_arn(*place) for place in service.payload_places[:1])


def _read_payloads(deployment: Deployment, service: Service) -> Iterator[str]:
    yield from (deployment.objects_arn(*place) for place in service.payload_places)


def _read_buckets(deployment: Deployment, service: Service) -> Iterator[str]:
    yield from (deployment.bucket_arn(place.bucket) for place in service.payload_places)


_NEEDED: Final[Mapping[When, Callable[[Service], object]]] = {
    When.ALWAYS: lambda service: True,
    When.BY_NAME: lambda service: service.finds_queue,
    When.WITH_DEAD_LETTERS: lambda service: _dead_letter_queues(service),
    When.TO_QUEUE: lambda service: not service.topic,
    When.TO_QUEUE_BY_NAME: lambda service: not service.topic and service.finds_queue,
    When.TO_TOPIC: lambda service: service.topic,
    When.TO_TOPIC_BY_NAME: lambda service: service.finds_topic,
    When.WITH_TOPICS: lambda service: service.needs.topics,
    When.WITH_SUBSCRIPTIONS: lambda service: service.needs.subscriptions,
    When.WITH_TABLE: lambda service: service.tables,
    When.WITH_PAYLOADS: lambda service: service.payload_places,
    When.WITH_DISCARDS: lambda service: service.payload_places and service.discards_payloads,
}

_RESOURCES: Final[Mapping[On, Callable[[Deployment, Service], Iterator[str]]]] = {
    On.QUEUE: _queue,
    On.DEAD_LETTERS: _dead_letters,
    On.QUEUES: _queues,
    On.TOPIC: _topic,
    On.TOPICS: _topics,
    On.SUBSCRIBED: _subscribed,
    On.EVERYTHING: lambda deployment, service: iter(("*",)),
    On.TABLE: _tables,
    On.PAYLOADS: _payloads,
    On.READ_PAYLOADS: _read_payloads,
    On.READ_BUCKETS: _read_buckets,
}


def _dead_letter_queues(service: Service) -> list[str]:
    """Return the names of the dead-letter queue, if there is one."""
    redrives = (queue.redrive for queue in service.needs.queues if queue.name == service.queue)
    return [redrive.dead_letter_queue for redrive in redrives if redrive]


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of KMS, and the service on whose behalf it is used."""

    name: str
    service: str


def _allow_keys(deployment: Deployment, permission: Permission) -> Iterator[dict[str, Any]]:
    needing = filter(_NEEDED[permission.when], deployment.services)
    found = (key for service in needing for key in _find_keys(service, permission.on))
    for number, key in enumerate(dict.fromkeys(found)):
        statement = _allow(permission, [_key_arn(deployment, key.name)], Condition=_restrict(deployment, key))
        yield {**statement, "Sid": permission.sid + (str(number + 1) if number else "")}


def _find_keys(service: Service, on: On) -> Iterator[_Key]:
    has_dead_letters = _dead_letter_queues(service)
    names: dict[On, list[str | None]] = {
        On.KEY_OF_QUEUE: [service.queue],
        On.KEY_OF_DEAD_LETTERS: [*has_dead_letters],
        On.KEY_OF_QUEUES: [service.queue, *has_dead_letters],
    }
    if on is On.KEY_OF_TOPIC:
        yield from _keys_of("sns", ((each.name, each.attributes) for each in service.needs.topics), [service.topic])
    else:
        yield from _keys_of("sqs", ((each.name, each.attributes) for each in service.needs.queues), names[on])


def _keys_of(service: str, declared: Iterable[tuple[str, Attributes]], names: Iterable[str | None]) -> Iterator[_Key]:
    for name, attributes in declared:
        key = attributes.get("KmsMasterKeyId", "")
        if key and name in names and not key.rpartition(":")[2].startswith(_AWS_MANAGED):
            yield _Key(key, service)


def _key_arn(deployment: Deployment, key: str) -> str:
    """Return what a statement can say of *key*, which is an id, an ARN, or an alias, by name or ARN."""
    if _alias_of(key):
        return deployment.key_arn("*")
    return key if key.startswith("arn:") else deployment.key_arn(key)


def _alias_of(key: str) -> str:
    # https://docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html: an alias is no resource.
    name = key.rpartition(":")[2]
    return name if name.startswith("alias/") else ""


def _restrict(deployment: Deployment, key: _Key) -> dict[str, Any]:
    # https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
    region = deployment.needed_region()
    condition: dict[str, Any] = {"StringLike": {"kms:ViaService": f"{key.service}.{region}.*"}}
    if alias := _alias_of(key.name):
        condition["ForAnyValue:StringEquals"] = {"kms:ResourceAliases": alias}
    return condition
