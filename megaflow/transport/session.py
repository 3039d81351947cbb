"""Sessions and clients of boto3: credentials, and one client for the region of each queue or topic."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypedDict

from megaflow.checks import check_text
from megaflow.errors import ConfigurationError
from megaflow.logs import get_logger
from megaflow.telemetry.tracing import NO_TRACING, Tracing
from megaflow.transport.addresses import Address, Host, read_address
from megaflow.transport.times import BOTO3S, PUBLISHING, Times, check_times, write_config
from megaflow.wire.control_characters import check_credentials, refuse_control_characters

log = get_logger(__name__)

_TEXT: Final = "str | None"
_FOUND_BY_REGION: Final = (Host.AWS, Host.AWS_VARIANT)
_NOT_USED: Final = "%s is in %s, so the region %s is not used for it"
_ANY_REGION: Final = "us-east-1"
"""Where calls do not go to AWS, any region signs them, and none has to be set up."""


class AwsOptions(TypedDict, total=False):
    """How to reach AWS: a dict of these options can be passed on, as ``App(url, **options)``. What you leave out, boto3
    finds by itself: in the environment, the profile, or the role.

    https://boto3.amazonaws.com/v1/documentation/api/latest/guide/credentials.html
    """

    aws_access_key_id: str | None
    """The access key. Give the secret key with it, or neither."""

    aws_secret_access_key: str | None
    """The secret key."""

    aws_session_token: str | None
    """The session token of temporary credentials."""

    region_name: str | None
    """The region. An address that names its region needs none, and another one is a `ConfigurationError`."""

    profile_name: str | None
    """The profile of the AWS configuration."""

    endpoint_url: str | None
    """Where to call, in place of AWS: ``http://127.0.0.1:4566``."""

    connect_timeout: float | None
    """How many seconds may pass until there is a connection; to publish, 2 by default."""

    read_timeout: float | None
    """How many seconds an answer may take, after which the call is tried again; to publish, 4 by default. A poll has
    its wait and 5 seconds at least.
    """

    max_attempts: int | None
    """How often a call is tried in all, 1 to 100; to publish, 3 by default, unless environment or profile say it."""

    config: Any
    """botocore's ``Config``, for what else there is to be said: proxies, certificates, connections."""


class _GivingWay(str):
    """A region that was given, and gives way to an address all the same."""

    __slots__ = ()


def giving_way(aws: AwsOptions) -> AwsOptions:
    """Return *aws* with a region that gives way to the one of an address, as the sqs-mega README has it."""
    region = aws.get("region_name")
    return aws | {"region_name": _GivingWay(region)} if region else aws


def refuse_beside_client(aws: AwsOptions) -> None:
    """Raise `ConfigurationError` for options, where a client was given that is made already."""
    if given := [f"{name}=" for name, value in aws.items() if value is not None]:
        changes = "change" if len(given) > 1 else "changes"
        raise ConfigurationError(
            f"{' and '.join(given)} {changes} nothing about a client that is made already: say it where you make the "
            "client, or leave client= out"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """How to reach AWS. What is None is left to boto3's own chain: environment, profile, instance role.

    https://boto3.amazonaws.com/v1/documentation/api/latest/guide/credentials.html
    """

    aws_access_key_id: str | None = field(default=None, repr=False)
    aws_secret_access_key: str | None = field(default=None, repr=False)
    aws_session_token: str | None = field(default=None, repr=False)
    region_name: str | None = None
    profile_name: str | None = None
    endpoint_url: str | None = None
    connect_timeout: float | None = None
    read_timeout: float | None = None
    max_attempts: int | None = None
    config: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse half a set of credentials, which would hide those of boto3's own chain, and what cannot be sent.

        Refuse times that cannot be, too, and what is said twice.
        """
        for each in fields(self):
            if each.type == _TEXT:
                _check_text(each.name, getattr(self, each.name))
            refuse_control_characters(each.name, getattr(self, each.name))
        if (self.aws_access_key_id is None) != (self.aws_secret_access_key is None):
            given, missing = "aws_access_key_id", "aws_secret_access_key"
            if self.aws_access_key_id is None:
                given, missing = missing, given
            raise ConfigurationError(f"{given} was given without {missing}; give both, or neither")
        if self.aws_session_token is not None and self.aws_access_key_id is None:
            raise ConfigurationError(
                "aws_session_token was given without aws_access_key_id and aws_secret_access_key; give all, or none"
            )
        times = ("connect_timeout", "read_timeout", "max_attempts", "region_name")
        check_times(self.config, {name: getattr(self, name) for name in times})

    def check(self, address: str) -> None:
        """Raise `ConfigurationError` where the region that was given is not that of *address*."""
        region = read_address(address).region
        if self.region_name and region not in ("", self.region_name) and not isinstance(self.region_name, _GivingWay):
            raise ConfigurationError(
                f"{address} is in {region}, and region_name={self.region_name!r} was given: leave region_name= out, or "
                f"give region_name={region!r}"
            )

    def create_client(self, service: str, address: str, times: Times = BOTO3S) -> Any:
        """Return a boto3 client for *service*, to reach the queue or topic at *address*, or of this name.

        Its calls take as long as the options say, and *times* where they do not.

        Its region is the one that the address names, else that of the options, environment or profile. It calls where
        ``endpoint_url``, environment or profile say; else the host in a queue's URL that is for FIPS, dual-stack or a
        VPC endpoint; else the one that boto3 finds by the region. Raises `ConfigurationError` where region or profile
        is missing, where the region that was given is another one, and where calls would go to AWS for a URL that is
        not AWS's.
        """
        from botocore.exceptions import BotoCoreError, NoRegionError, ProfileNotFound

        self.check(address)
        read = read_address(address)
        try:
            client = self._create(service, read, times)
            if self.endpoint_url or read_address(client.meta.endpoint_url).host not in _FOUND_BY_REGION:
                return client
            if read.host is Host.FOREIGN:
                raise _is_not_there(address, read, "calls go to AWS: give")
            host = _find_host(read)
            return self._create(service, read, times, **host) if host else client
        except NoRegionError as error:
            raise ConfigurationError(
                f"no AWS region for {service}: give region_name=, or set AWS_DEFAULT_REGION, or the profile's; "
                "for SQS and SNS on this machine, set AWS_ENDPOINT_URL"
            ) from error
        except ProfileNotFound as error:
            raise ConfigurationError(
                f"profile_name={self.profile_name!r}: {error}; see 'aws configure list-profiles'"
            ) from error
        except (BotoCoreError, ValueError) as error:
            raise ConfigurationError(f"boto3 cannot make a client for {service} of {self}: {error}") from error

    def _create(
        self, service: str, address: Address, times: Times, endpoint_url: str | None = None, **host: bool
    ) -> Any:
        from botocore.session import Session

        from megaflow.transport.service_data import OneServiceLoader

        # What boto3 adds to botocore's session is for others: its resources, and S3's transfers.
        session = Session()
        for name, value in (("profile", self.profile_name), ("region", self.region_name)):
            if value is not None:
                session.set_config_variable(name, value)
        if self.aws_access_key_id:
            session.set_credentials(self.aws_access_key_id, self.aws_secret_access_key, self.aws_session_token)
        search_paths = session.get_component("data_loader").search_paths
        session.register_component("data_loader", OneServiceLoader(service, search_paths))
        region_name = session.get_config_variable("region")
        region = address.region or region_name
        if not region and Host.FOREIGN in (address.host, read_address(self.endpoint_url or "").host):
            region = _ANY_REGION
        elif region_name not in (None, region):
            level = logging.WARNING if self.region_name else logging.INFO
            log.log(level, _NOT_USED, address.text, region, str(region_name))
        has_attempts = session.get_config_variable("max_attempts") is not None
        given = Times(self.connect_timeout, self.read_timeout, self.max_attempts)
        config = write_config(self.config, given, times, has_attempts=has_attempts, **host)
        url = endpoint_url or self.endpoint_url
        client = session.create_client(service, region_name=region, endpoint_url=url, config=config)
        check_credentials(client)
        return client


def _check_text(name: str, value: object) -> None:
    if name.startswith("aws_") and not isinstance(value, str | type(None)):
        # It may be a secret: only its type is shown.
        raise ConfigurationError(f"{name} must be text, not {type(value).__qualname__}")
    check_text(name, value)


class Clients:
    """Clients of one service: the one that was *given*, or one for each region, made when it is needed.

    May be used from any thread. With *wire*, they make SQS's hot calls themselves where they can; where *tracing* has
    spans of its own, OpenTelemetry's instrumentation of boto3 is no hindrance. *times* are for what *aws* does not say.
    Raises `ConfigurationError` for options of *aws* beside a client that was given.
    """

    def __init__(
        self,
        service: str,
        aws: AwsOptions,
        given: Any,
        *,
        wire: bool,
        tracing: Tracing = NO_TRACING,
        times: Times = PUBLISHING,
    ) -> None:
        self._tracing = tracing
        self._times = times
        if given is not None:
            refuse_beside_client(aws)
        self._service = service
        self._settings = AwsSettings(**aws)
        self._given = given
        self._wire = wire
        self._made: dict[tuple[str, str], Any] = {}

    def check(self, address: str) -> None:
        """Raise `ConfigurationError` where a region was given, or a client of one, that is not that of *address*."""
        if self._given is None:
            self._settings.check(address)
        else:
            _check_client(self._given, address)

    def client_for(self, address: str) -> Any:
        """Return a client that reaches *address*; raises what `AwsSettings.create_client` does."""
        self.check(address)
        read = read_address(address)
        place = read.region, "" if read.host is Host.AWS else read.endpoint_url
        if self._given is not None:
            place = "", ""
        if place not in self._made:
            # Of two threads at once one makes it for nothing; a lock could be held where the process forks.
            self._made.setdefault(place, self._make(address))
        return self._made[place]

    def _make(self, address: str) -> Any:
        from megaflow.wire.client import open_wire
        from megaflow.wire.whole_answers import want_whole_answers

        if self._given is None:
            client = self._settings.create_client(self._service, address, self._times)
        else:
            client = self._given
            check_credentials(client)
        opened = client
        if self._service == "sqs":
            opened = open_wire(client, wanted=self._wire, stands_in=self._tracing.stands_in)
        if opened is client and self._given is None and self._times is PUBLISHING:
            want_whole_answers(client)
        return opened


def _check_client(client: Any, address: str) -> None:
    """Raise `ConfigurationError` where *client* is one of AWS's, and *address* is in another region, or not AWS's."""
    meta = getattr(client, "meta", None)
    url, region = getattr(meta, "endpoint_url", None), getattr(meta, "region_name", None)
    if not isinstance(url, str) or not read_address(url).is_awss:
        return
    read = read_address(address)
    if read.host is Host.FOREIGN:
        raise _is_not_there(address, read, "the client that was given calls AWS: make it with")
    if read.region not in ("", region):
        raise ConfigurationError(
            f"{address} is in {read.region}, and the client that was given is of {region}: give one of "
            f"{read.region}, or none"
        )


def _is_not_there(address: str, read: Address, what: str) -> ConfigurationError:
    return ConfigurationError(f"{address} is no address of AWS's, and {what} endpoint_url={read.endpoint_url!r}")


def _find_host(address: Address) -> dict[str, Any]:
    """Return what has boto3 call the host in *address*, where it would not find that by the region."""
    if address.host is Host.AWS_VPC:
        return {"endpoint_url": address.endpoint_url}
    asked = {"use_fips_endpoint": address.fips, "use_dualstack_endpoint": address.dual_stack}
    return {name: True for name, is_asked in asked.items() if is_asked}
