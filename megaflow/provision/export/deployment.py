"""Deployments: apps as they are to be set up in an account, which is all that documents are made of."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from megaflow.errors import ConfigurationError
from megaflow.payloads.places import Place
from megaflow.payloads.s3 import S3Payloads
from megaflow.processing.assembly import Assembly
from megaflow.provision.needs import Declares, Needs, join_needs, needs_of
from megaflow.settings import QUEUE_URL_VARIABLE, TOPIC_ARN_VARIABLE
from megaflow.stores.dynamodb import DynamoDbStore
from megaflow.transport.addresses import name_of, queue_url_of, read_address, write_arn

HEALTH_PORT: Final = 8080
"""Where a service answers ``/live``, ``/ready`` and ``/metrics``."""

HEALTH_CHECK: Final = (
    "import http.client as http; "
    f"caller = http.HTTPConnection('127.0.0.1', {HEALTH_PORT}, timeout=2); "
    "caller.request('GET', '%s'); raise SystemExit(caller.getresponse().status != 200)"
)
"""A program that asks one of these within a container, which need have no curl."""

_SPARE_SECONDS: Final = 5
"""How much longer than its handlers a service has to end: to give back what is in hand, and to close what is open."""

_ACCOUNT: Final = r"[0-9]{12}"
_REGION: Final = r"[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}"
_LONGEST_NAME: Final = 50
"""Of a service, with room behind it in the 63 characters of Kubernetes."""


class Deployable(Declares, Protocol):
    """A `megaflow.App`, as far as it is asked how it is to be deployed."""

    _assembly: Assembly


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """An app, as it runs somewhere."""

    target: str
    """What ``megaflow run`` calls it."""

    name: str
    """What a platform may call it: small letters, digits and ``-``."""

    needs: Needs
    queue: str | None
    """The name of the queue that it consumes."""

    topic: str | None
    """The name of the topic that it publishes to; where there is none, it publishes to its queue."""

    finds_queue: bool
    """Whether it has the queue by name, and looks up its URL."""

    finds_topic: bool
    tables: tuple[str, ...]
    """The tables of DynamoDB in which its stores are."""

    payload_places: tuple[Place, ...]
    """The buckets and prefixes of S3 that large payloads are read from; the first one is written to."""

    discards_payloads: bool
    """Whether payloads are deleted once their messages are done."""

    addresses: tuple[str, ...]
    """The URLs and ARNs that it has."""

    region: str
    """The region that it was given beside these; ``""`` where it was given none."""

    environment: Mapping[str, str]
    concurrency: int
    in_hand: int
    """How many messages one process has received and not settled, at most."""

    shutdown_timeout: float

    @property
    def grace_seconds(self) -> int:
        """After how many seconds at least what does not end by SIGTERM may be killed."""
        return math.ceil(self.shutdown_timeout + _SPARE_SECONDS)

    @property
    def role(self) -> str:
        """The name of the role that it acts in."""
        return f"{self.name}-consumer"

    @property
    def command(self) -> tuple[str, ...]:
        """What runs it."""
        return ("megaflow", "run", self.target, "--health-port", str(HEALTH_PORT), "--log-format", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Services, what they need together, and where that is to be."""

    services: tuple[Service, ...]
    needs: Needs
    region: str = ""
    account: str = ""
    image: str = ""
    """The image of the containers; ``""`` for one that is called as the service."""

    existing_topics: frozenset[str] = frozenset()
    """The names of topics that somebody else makes."""

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of DynamoDB of all services."""
        return tuple(dict.fromkeys(table for service in self.services for table in service.tables))

    def consumers(self) -> Iterator[tuple[Service, str]]:
        """Give each service with the name of its queue; raise `ConfigurationError` where one consumes none."""
        for service in self.services:
            if service.queue is None:
                raise ConfigurationError(
                    f'{service.target} consumes no queue: say App(queue="orders"), or set {QUEUE_URL_VARIABLE}'
                )
            yield service, service.queue

    def known_region(self) -> str:
        """Return the region that was given, or that addresses name, and ``""`` where none is."""
        named = (read_address(each).region for service in self.services for each in service.addresses)
        given = (service.region for service in self.services)
        return self.region or next(filter(None, (*given, *named)), "")

    def needed_region(self) -> str:
        """Return the region that was given, or that addresses name; raise `ConfigurationError` where none is."""
        return self.known_region() or _refuse("region", "region_name=eu-west-1")

    def known_account(self) -> str:
        """Return the account that was given, or that addresses name, and ``""`` where none is."""
        named = (read_address(each).account for service in self.services for each in service.addresses)
        return self.account or next(filter(_is_account, named), "")

    def queue_arn(self, name: str) -> str:
        """Return the ARN of the queue of this name; raises `ConfigurationError` where region or account are unknown."""
        return self._write_arn("sqs", name)

    def region_of(self, queue: str) -> str:
        """Return the region of the queue of this name; raise `ConfigurationError` where its ARN is unknown."""
        return read_address(self.queue_arn(queue)).region

    def queue_url(self, name: str) -> str:
        """Return the URL of the queue of this name: the one that a service has, or else AWS's."""
        has = (each for each in self._addresses("sqs", name) if "://" in each)
        return next(has, "") or queue_url_of("queue", self.queue_arn(name))

    def topic_arn(self, name: str) -> str:
        """Return the ARN of the topic of this name."""
        return self._write_arn("sns", name)

    def table_arn(self, name: str) -> str:
        """Return the ARN of the table of this name."""
        return self._write_arn("dynamodb", f"table/{name}")

    def bucket_arn(self, bucket: str) -> str:
        """Return the ARN of a bucket of S3, or of the access point that is given by its own."""
        return bucket if bucket.startswith("arn:") else f"arn:{self._partition}:s3:::{bucket}"

    def objects_arn(self, bucket: str, prefix: str) -> str:
        """Return the ARN of the objects of a bucket below a prefix."""
        return f"{self.bucket_arn(bucket)}{'/object' if bucket.startswith('arn:') else ''}/{prefix}*"

    def key_arn(self, name: str) -> str:
        """Return the ARN of a key of KMS, by its id, or ``*`` for all."""
        return self._write_arn("kms", f"key/{name}")

    def role_arn(self, name: str) -> str:
        """Return the ARN of the role of this name."""
        account = self._write_arn("iam", "").split(":")[4]
        return f"arn:{self._partition}:iam::{account}:role/{name}"

    def image_of(self, service: Service) -> str:
        """Return the image of the containers of *service*."""
        return self.image or service.name

    @property
    def _partition(self) -> str:
        return self._write_arn("iam", "").split(":")[1]

    def _write_arn(self, service: str, name: str) -> str:
        named = [read_address(each) for each in self._addresses(service, name)]
        account = next((each.account for each in named if _is_account(each.account)), "") or self.known_account()
        region = next((each.region for each in named if each.region), "") or self.needed_region()
        return write_arn(service, region, account or _refuse("account", "account_id=123456789012"), name)

    def _addresses(self, service: str, name: str) -> list[str]:
        every = (address for each in self.services for address in each.addresses)
        return [each for each in every if (read_address(each).service, name_of(each)) == (service, name)]


def deploy(
    apps: Mapping[str, Deployable],
    *,
    region: str = "",
    account_id: str = "",
    image: str = "",
    existing_topics: Iterable[str] = (),
) -> Deployment:
    """Return *apps*, by target, as they are to be deployed; raise `ConfigurationError` for what cannot be."""
    if region and not re.fullmatch(_REGION, region):
        raise ConfigurationError(f"region_name={region!r} must be a region, such as eu-west-1")
    if account_id and not _is_account(account_id):
        raise ConfigurationError(f"account_id={account_id!r} must be twelve digits")
    needs = {target: needs_of(app, by_address=True) for target, app in apps.items()}
    for target, each in needs.items():
        if each == Needs():
            raise ConfigurationError(
                f'{target} has neither a queue nor a topic: say App(queue="orders"), or set {QUEUE_URL_VARIABLE} or '
                f"{TOPIC_ARN_VARIABLE}"
            )
    joined = join_needs(needs)
    for app in apps.values():
        for address in (app._destination.queue_address, app._destination.topic_address):  # noqa: SLF001 - asked for
            _refuse_other_place(address or "", region, account_id)
    existing = frozenset(existing_topics)
    if strange := sorted(existing - {topic.name for topic in joined.topics}):
        raise ConfigurationError(f"existing_topics={strange[0]!r}: no app publishes or subscribes to such a topic")
    names = _name_services(apps)
    services = tuple(_describe(target, names[target], app, needs[target]) for target, app in apps.items())
    return Deployment(
        services=services, needs=joined, region=region, account=account_id, image=image, existing_topics=existing
    )


def _refuse_other_place(address: str, region: str, account_id: str) -> None:
    """Raise `ConfigurationError` where *address* names another region or account than was given."""
    read = read_address(address)
    for parameter, given, named in (("region_name", region, read.region), ("account_id", account_id, read.account)):
        if given and named and given != named:
            raise ConfigurationError(f"{parameter}={given!r}: {address} says {named}; leave the former out")


def _is_account(text: str) -> bool:
    return re.fullmatch(_ACCOUNT, text) is not None


def _describe(target: str, name: str, app: Deployable, needs: Needs) -> Service:
    destination, settings, stores = app._destination, app._settings, app._assembly.stores  # noqa: SLF001 - asked for
    queue, topic = destination.queue_address, destination.topic_address
    environment = {
        **({QUEUE_URL_VARIABLE: queue} if queue and app.queue is None else {}),
        **({TOPIC_ARN_VARIABLE: topic} if topic and app.topic is None else {}),
    }
    payloads = stores.payloads
    kept = (each for each in (stores.progress, stores.idempotency) if isinstance(each, DynamoDbStore))
    return Service(
        target=target,
        name=name,
        needs=needs,
        queue=name_of(queue) if queue else None,
        topic=name_of(topic) if topic else None,
        finds_queue=app.queue is not None,
        finds_topic=app.topic is not None,
        tables=tuple(dict.fromkeys(each.table_name for each in kept)),
        payload_places=payloads.places if isinstance(payloads, S3Payloads) else (),
        discards_payloads=payloads is not None and payloads.deletes_when_done,
        addresses=tuple(filter(None, (*environment.values(), settings.dead_letter_queue_url))),
        region=destination.region_name or "",
        environment=MappingProxyType(environment),
        concurrency=settings.concurrency,
        in_hand=settings.concurrency + settings.received_in_advance,
        shutdown_timeout=settings.shutdown_timeout,
    )


def _name_services(targets: Iterable[str]) -> dict[str, str]:
    """Return what each target is called: as its module, and with the app's own name where a module has several."""
    short = {target: _name_service(target.partition(":")[0]) for target in targets}
    count = Counter(short.values())
    names = {target: _name_service(target) if count[name] > 1 else name for target, name in short.items()}
    for target, name in names.items():
        if others := [other for other in names if other != target and names[other] == name]:
            raise ConfigurationError(f"{target} and {others[0]} would both be called {name}: rename one of them")
    return names


def _name_service(target: str) -> str:
    """Return the name for a target, or for what stands before its colon: without the folders of a file."""
    place, _, variable = target.partition(":")
    words = f"{place.replace(os.sep, '/').rpartition('/')[2].removesuffix('.py')} {variable}"
    return re.sub("[^a-z0-9]+", "-", words.lower()).strip("-")[:_LONGEST_NAME].strip("-") or "app"


def _refuse(what: str, example: str) -> str:
    raise ConfigurationError(f"the {what} is not known, as no address of an app names it: give {example}")
