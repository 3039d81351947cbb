"""The template: SQS's and SNS's resources of CloudFormation, as declarations.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_SQS.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_SNS.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

from megaflow.checks import show
from megaflow.errors import ConfigurationError
from megaflow.limits import QUEUE_NAME_LENGTH
from megaflow.local import settings
from megaflow.local.account import Account
from megaflow.local.declared.declarations import (
    Declarations,
    DeclaredQueue,
    DeclaredSubscription,
    DeclaredTopic,
    Place,
    within,
    wrong,
)
from megaflow.local.declared.intrinsics import NOTHING, Intrinsics, Stack
from megaflow.local.declared.values import (
    OF_AN_ENDPOINT,
    GivenAttributes,
    attribute,
    check_keys,
    nearest,
    queue_attribute,
    read_list,
    read_table,
    read_text,
    write_json,
)
from megaflow.local.endpoints.destinations import WrongEndpoint, read_endpoint
from megaflow.local.topic import POSTED

_QUEUE: Final = "AWS::SQS::Queue"
_TOPIC: Final = "AWS::SNS::Topic"
_SUBSCRIPTION: Final = "AWS::SNS::Subscription"
_POLICIES: Final = {
    "AWS::SQS::QueuePolicy": "Queues",
    "AWS::SQS::QueueInlinePolicy": "Queue",
    "AWS::SNS::TopicPolicy": "Topics",
    "AWS::SNS::TopicInlinePolicy": "TopicArn",
}
"""Where each of them says whose policy it is."""

_MADE: Final = (_QUEUE, _TOPIC, _SUBSCRIPTION, *_POLICIES)

_QUEUE_ATTRIBUTES: Final = (*sorted(settings.NAMES - {"Policy"}),)
_TOPIC_ATTRIBUTES: Final = (
    "ArchivePolicy",
    "ContentBasedDeduplication",
    "DisplayName",
    "FifoThroughputScope",
    "FifoTopic",
    "KmsMasterKeyId",
    "SignatureVersion",
    "TracingConfig",
)
_SUBSCRIPTION_ATTRIBUTES: Final = ("FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy")
_PASSED_BY: Final = {
    _TOPIC: ("DataProtectionPolicy", "DeliveryStatusLogging"),
    _SUBSCRIPTION: ("DeliveryPolicy", "Region", "ReplayPolicy", "SubscriptionRoleArn"),
}
"""Properties without effect on a queue of this machine."""

_WORDS: Final = {
    "Can only include": "QueueName",
    "The name of a FIFO queue": "QueueName",
    "Topic Name": "TopicName",
    "Topic does not exist": "TopicArn",
    **dict.fromkeys(OF_AN_ENDPOINT, "Endpoint"),
}
"""What AWS says of properties that it does not name."""


def is_template(document: Mapping[str, Any]) -> bool:
    """Tell whether *document* is a template."""
    return "Resources" in document


def read_template(
    template: Mapping[str, Any], account: Account, stack: str, parameters: Mapping[str, str]
) -> Declarations:
    """Return what *template* declares for *account*, deployed as the *stack* of this name with these *parameters*.

    Raises:
        ConfigurationError: something in it is wrong, or cannot be worked out.
    """
    known = read_table(template.get("Parameters"), "Parameters")
    for name in parameters:
        if name not in known:
            raise wrong("Parameters", f"there is no parameter {name}{nearest(name, known)}")
    return _Template(template, account, Stack(stack, account.region, account.account_id, parameters)).read()


class _Template:
    """Resources, which refer to each other."""

    def __init__(self, template: Mapping[str, Any], account: Account, stack: Stack) -> None:
        self._account = account
        self._stack = stack
        self._exact = Intrinsics(template, stack, self._known_by)
        # What policies and keys name is often made by the template, too, and nothing asks for it here.
        self._loose = Intrinsics(template, stack, self._known_by, stand_ins=True)
        self._resources = self._read_resources(template)
        self._names: dict[str, str] = {}
        self._policies: dict[str, tuple[str, str]] = {}
        self._passed_by: dict[str, list[str]] = defaultdict(list)

    def read(self) -> Declarations:
        for logical, kind in self._each(*_POLICIES):
            self._read_policy(logical, _POLICIES[kind])
        queues = tuple(self._read_queue(logical) for logical, _ in self._each(_QUEUE))
        topics = tuple(self._read_topic(logical) for logical, _ in self._each(_TOPIC))
        subscriptions = tuple(self._subscriptions())
        for name, (_, path) in self._policies.items():
            raise wrong(path, f"{name} is no queue or topic of the template")
        for logical, (kind, _) in self._resources.items():
            if kind not in _MADE:
                self._passed_by[kind].append(logical)
        passed_by = tuple(f"{kind} ({', '.join(names)})" for kind, names in self._passed_by.items())
        return Declarations(queues, topics, subscriptions, passed_by)

    def _read_resources(self, template: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """Return types and properties of the resources whose conditions hold, as far as they are made here."""
        found = {}
        for logical, given in read_table(template["Resources"], "Resources").items():
            path = within("Resources", logical)
            resource = read_table(given, path)
            kind, condition = read_text(resource.get("Type"), within(path, "Type")), resource.get("Condition")
            # What other resources hang on may be a parameter that nobody gives.
            if kind not in _MADE or condition is None or self._exact.holds(condition, within(path, "Condition")):
                found[logical] = kind, read_table(resource.get("Properties"), within(path, "Properties"))
        return found

    def _each(self, *kinds: str) -> Iterator[tuple[str, str]]:
        return ((logical, kind) for logical, (kind, _) in self._resources.items() if kind in kinds)

    def _known_by(self, logical: str) -> Mapping[str, str]:
        """Return what a resource is known by, if it is made here."""
        kind = self._resources[logical][0] if logical in self._resources else ""
        if kind == _QUEUE:
            name = self._name(logical, "QueueName", "FifoQueue")
            url = self._account.queue_url(name)
            return {"Ref": url, "QueueUrl": url, "QueueName": name, "Arn": self._account.arn("sqs", name)}
        if kind == _TOPIC:
            name = self._name(logical, "TopicName", "FifoTopic")
            arn = self._account.arn("sns", name)
            return {"Ref": arn, "TopicArn": arn, "TopicName": name}
        return {}

    def _name(self, logical: str, key: str, fifo_key: str) -> str:
        """Return the name of a queue or topic: one that it is given, or the same one each time."""
        path = _path(logical, key)
        if logical not in self._names:
            self._names[logical] = ""
            given = self._property(logical, key)
            fifo = "" if given is not None else str(self._property(logical, fifo_key)).lower()
            self._names[logical] = self._make_name(logical, fifo == "true") if given is None else read_text(given, path)
        if not self._names[logical]:
            raise wrong(path, "it is made of itself: give a name")
        return self._names[logical]

    def _make_name(self, logical: str, fifo: bool) -> str:
        name, ending = f"{self._stack.name}-{logical}", ".fifo" if fifo else ""
        longest = QUEUE_NAME_LENGTH - len(ending)
        if len(name) > longest:
            digest = sha256(name.encode()).hexdigest()[:8]
            name = f"{name[: longest - len(digest) - 1]}-{digest}"
        return name + ending

    def _property(self, logical: str, key: str, intrinsics: Intrinsics | None = None) -> Any:
        """Return a property, or None where it is not there."""
        properties = self._resources[logical][1]
        if key not in properties:
            return None
        found = (intrinsics or self._exact).resolve(properties[key], _path(logical, key))
        return None if found is NOTHING else found

    def _check(self, logical: str, *known: str) -> None:
        """Refuse properties that the type of a resource does not have, and note those without effect."""
        kind, properties = self._resources[logical]
        without_effect = _PASSED_BY.get(kind, ())
        check_keys(properties, (*known, *without_effect), _path(logical), {})
        for key in (key for key in without_effect if key in properties and key not in known):
            self._passed_by[f"{key} of {kind}"].append(logical)

    def _read_policy(self, logical: str, key: str) -> None:
        self._check(logical, "PolicyDocument", key)
        path = _path(logical, "PolicyDocument")
        document = self._property(logical, "PolicyDocument", self._loose)
        if not document:
            raise wrong(path, "it is missing: give a policy")
        text = document if isinstance(document, str) else write_json(read_table(document, path), path)
        places = self._property(logical, key)
        if not places:
            raise wrong(_path(logical, key), "it names nothing: give what the policy is for")
        for place in places if isinstance(places, list) else [places]:
            # A queue goes by its URL, a topic by its ARN.
            name = read_text(place, _path(logical, key)).rpartition("/")[2]
            if name in self._policies:
                raise wrong(path, f"{self._policies[name][1]} says it, too: leave one of the two away")
            self._policies[name] = text, path

    def _read_queue(self, logical: str) -> DeclaredQueue:
        self._check(logical, "QueueName", "Tags", *_QUEUE_ATTRIBUTES)
        name = self._known_by(logical)["QueueName"]
        attributes = self._attributes(logical, _QUEUE_ATTRIBUTES, queue_attribute, policy_of=name)
        attributes.settle_type("FifoQueue", "queue", name)
        return DeclaredQueue(name, attributes.texts, self._tags(logical), attributes.place())

    def _read_topic(self, logical: str) -> DeclaredTopic:
        self._check(logical, "TopicName", "Tags", "Subscription", *_TOPIC_ATTRIBUTES)
        known_by = self._known_by(logical)
        attributes = self._attributes(logical, _TOPIC_ATTRIBUTES, attribute, policy_of=known_by["TopicArn"])
        attributes.settle_type("FifoTopic", "topic", known_by["TopicName"])
        return DeclaredTopic(known_by["TopicName"], attributes.texts, self._tags(logical), attributes.place())

    def _attributes(
        self, logical: str, names: Iterable[str], read: Callable[[str, object, str], str], *, policy_of: str = ""
    ) -> GivenAttributes:
        attributes = GivenAttributes(_path(logical))
        for name in names:
            path = _path(logical, name)
            value = self._property(logical, name, self._loose if name == "KmsMasterKeyId" else self._exact)
            if value is not None:
                attributes.add(name, read(name, value, path), path)
        for words, key in _WORDS.items():
            if key in self._resources[logical][1]:
                attributes.mark(words, _path(logical, key))
        if policy_of in self._policies:
            attributes.add("Policy", *self._policies.pop(policy_of))
        return attributes

    def _tags(self, logical: str) -> dict[str, str]:
        path = _path(logical, "Tags")
        pairs = [read_table(tag, path) for tag in read_list(self._property(logical, "Tags") or [], path)]
        for pair in pairs:
            if pair.keys() != {"Key", "Value"}:
                raise wrong(path, f"{show(pair)} is not allowed: give Key and Value")
        return {read_text(pair["Key"], path): attribute("Value", pair["Value"], path) for pair in pairs}

    def _subscriptions(self) -> Iterator[DeclaredSubscription]:
        for logical, _ in self._each(_TOPIC):
            yield from self._inline_subscriptions(logical)
        for logical, _ in self._each(_SUBSCRIPTION):
            given, path = self._resources[logical][1], _path(logical)
            protocol = self._protocol(given, path)
            names = (*_SUBSCRIPTION_ATTRIBUTES, *(("DeliveryPolicy",) if protocol in POSTED else ()))
            self._check(logical, "Endpoint", "Protocol", "TopicArn", *names)
            if self._is_made(logical, protocol, given, path):
                attributes = self._attributes(logical, names, attribute)
                topic_arn, endpoint = (
                    read_text(self._property(logical, key), _path(logical, key)) for key in ("TopicArn", "Endpoint")
                )
                yield DeclaredSubscription(topic_arn, endpoint, attributes.texts, attributes.place(), protocol)

    def _inline_subscriptions(self, logical: str) -> Iterator[DeclaredSubscription]:
        """Give the subscriptions within a topic; the endpoints of others may be what is not made here."""
        path = _path(logical, "Subscription")
        several = self._exact.choose(self._resources[logical][1].get("Subscription", []), path)
        for number, each in enumerate([] if several is NOTHING else read_list(several, path)):
            here = f"{path}[{number}]"
            given = self._exact.choose(each, here)
            if given is NOTHING:
                continue
            check_keys(read_table(given, here), ("Endpoint", "Protocol"), here, {})
            protocol = self._protocol(given, here)
            if self._is_made(logical, protocol, given, here):
                endpoint = self._exact.resolve(given.get("Endpoint"), within(here, "Endpoint"))
                arn = self._known_by(logical)["TopicArn"]
                text = read_text(endpoint, within(here, "Endpoint"))
                yield DeclaredSubscription(arn, text, {}, Place(here), protocol)

    def _protocol(self, given: Mapping[str, Any], path: str) -> str:
        path = within(path, "Protocol")
        return read_text(self._exact.resolve(given.get("Protocol"), path), path)

    def _is_made(self, logical: str, protocol: str, given: Mapping[str, Any], path: str) -> bool:
        """Tell whether a subscription is made here; note one of something else, or of a URL that is not posted to."""
        is_made = protocol == "sqs"
        if protocol in POSTED:
            is_made = self._is_posted_to(protocol, given, within(path, "Endpoint"))
        if not is_made:
            where = " to where --deliver-to does not lead" if protocol in POSTED else ""
            self._passed_by[f"{_SUBSCRIPTION} of {protocol}{where}"].append(logical)
        return is_made

    def _is_posted_to(self, protocol: str, given: Mapping[str, Any], path: str) -> bool:
        """Tell whether the server posts to an endpoint; one that is no URL is refused later on."""
        try:
            endpoint = str(self._exact.resolve(given.get("Endpoint"), path))
        except ConfigurationError:
            return False
        try:
            read = read_endpoint(protocol, endpoint)
        except WrongEndpoint:
            return self._account.served is not None
        return self._account.served is not None and self._account.served.destinations.allows(read)


def _path(logical: str, key: str = "") -> str:
    path = within(within("Resources", logical), "Properties")
    return within(path, key) if key else path
