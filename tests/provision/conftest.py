"""Accounts to provision: the embedded one over HTTP, and moto's, each by real boto3."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from megaflow.local import Account
from megaflow.local.server import Server
from megaflow.provision.differences import Difference, State
from megaflow.provision.making import Provisioner
from megaflow.provision.needs import Needs


@dataclass
class Place:
    """An account, and how it is provisioned: names in it begin with *prefix*."""

    sqs: Any
    sns: Any
    prefix: str = ""
    loses_policies: bool = False
    """Whether a policy that is not set again is lost, as in moto alone."""

    calls: list[str] = field(default_factory=list)

    def compare(self, needs: Needs, **options: Any) -> list[Difference]:
        """Provision without changing anything, unless *options* say so."""
        return list(Provisioner(self.sqs, self.sns, **options).provision(needs))

    def apply(self, needs: Needs, *, narrow: bool = False) -> list[Difference]:
        """Provision, and see to it that all of it was done that could be."""
        made = self.compare(needs, apply=True, narrow=narrow, sleep=lambda _: None)
        assert {each.state for each in made} <= {State.MADE, State.NARROWER}
        return made

    def writes(self) -> set[str]:
        """Return the calls so far that may change something, and forget them all."""
        made = {name for name in self.calls if not name.startswith(("Get", "List"))}
        self.calls.clear()
        return made

    def url(self, name: str) -> str:
        return str(self.sqs.get_queue_url(QueueName=name)["QueueUrl"])

    def attributes(self, name: str) -> dict[str, str]:
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url(name), AttributeNames=["All"])
        return dict(answer["Attributes"])

    def set(self, name: str, **attributes: Any) -> None:
        """Change a queue by hand."""
        if self.loses_policies and "Policy" not in attributes:
            attributes["Policy"] = self.attributes(name).get("Policy", "")
        texts = {each: value if isinstance(value, str) else json.dumps(value) for each, value in attributes.items()}
        self.sqs.set_queue_attributes(QueueUrl=self.url(name), Attributes=texts)

    def topic(self, name: str) -> str:
        arns = [each["TopicArn"] for each in self.sns.list_topics()["Topics"]]
        return str(next(arn for arn in arns if arn.endswith(f":{name}")))

    def subscription(self, topic: str, queue: str) -> str:
        answer = self.sns.list_subscriptions_by_topic(TopicArn=self.topic(topic))
        arn = self.attributes(queue)["QueueArn"]
        return str(next(each["SubscriptionArn"] for each in answer["Subscriptions"] if each["Endpoint"] == arn))

    def subscribed(self, topic: str, queue: str) -> dict[str, str]:
        arn = self.subscription(topic, queue)
        return dict(self.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"])

    def subscribe(self, topic: str, queue: str, **attributes: str) -> None:
        """Change a subscription by hand."""
        arn = self.subscription(topic, queue)
        for name, value in attributes.items():
            self.sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName=name, AttributeValue=value)


class Failing:
    """A client of which some calls raise what *errors* has for them, the first first; then they do what they do."""

    def __init__(self, client: Any, **errors: list[Exception]) -> None:
        self._client = client
        self._errors = errors

    def __getattr__(self, name: str) -> Any:
        def call(**parameters: Any) -> Any:
            if errors := self._errors.get(name):
                raise errors.pop(0)
            return getattr(self._client, name)(**parameters)

        return call


def refusal(code: str, operation: str, said: str = "no") -> ClientError:
    """Return what boto3 raises where AWS refuses a call."""
    return ClientError({"Error": {"Code": code, "Message": said}, "ResponseMetadata": {}}, operation)


@contextmanager
def connected(url: str) -> Iterator[tuple[Any, Any]]:
    """Give boto3's clients for SQS and SNS at *url*."""
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "eu-west-1"}
    sqs, sns = (boto3.client(service, endpoint_url=url, **keys) for service in ("sqs", "sns"))
    yield sqs, sns
    sqs.close()
    sns.close()


@contextmanager
def listening(place: Place) -> Iterator[Place]:
    """Let *place* know of the calls that are made."""

    def listen(model: Any, **_: Any) -> None:
        place.calls.append(model.name)

    for client in (place.sqs, place.sns):
        client.meta.events.register("before-call", listen)
    yield place
    for client in (place.sqs, place.sns):
        client.meta.events.unregister("before-call", listen)


@pytest.fixture(scope="module")
def embedded_account() -> Iterator[tuple[Account, Any, Any]]:
    account = Account(region="eu-west-1")
    with Server(account) as server, connected(server.url) as (sqs, sns):
        yield account, sqs, sns


@pytest.fixture(scope="module")
def moto_clients(moto_url: str) -> Iterator[tuple[Any, Any]]:
    with connected(moto_url) as clients:
        yield clients


@pytest.fixture
def embedded(embedded_account: tuple[Account, Any, Any]) -> Iterator[Place]:
    """The embedded account, over HTTP, with nothing in it."""
    account, sqs, sns = embedded_account
    account.reset()
    with listening(Place(sqs, sns)) as place:
        yield place


@pytest.fixture
def moto(moto_clients: tuple[Any, Any]) -> Iterator[Place]:
    """moto's account, with names that no other test has."""
    with listening(Place(*moto_clients, f"t{uuid.uuid4().hex[:8]}-", loses_policies=True)) as place:
        yield place


@pytest.fixture(params=["embedded", "moto"])
def place(request: pytest.FixtureRequest) -> Place:
    """An account."""
    found: Place = request.getfixturevalue(request.param)
    return found
