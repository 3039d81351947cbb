"""Sessions and clients of boto3: credentials, and one client for the region of each queue or topic."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

from megaflow.errors import ConfigurationError

log = logging.getLogger(__name__)

# https://docs.aws.amazon.com/general/latest/gr/sqs-service.html
_REGION: Final = r"(?:https://sqs\.(?=[^/]*\.amazonaws\.com)|arn:[^:]*:sns:)([a-z0-9-]+)[.:]"
"""Compiled when it is first needed."""


class AwsOptions(TypedDict, total=False):
    """How to reach AWS, as every constructor takes it; see `AwsSettings`."""

    aws_access_key_id: str | None
    aws_secret_access_key: str | None
    aws_session_token: str | None
    region_name: str | None
    profile_name: str | None
    endpoint_url: str | None


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

    def __post_init__(self) -> None:
        """Refuse half a set of credentials, which would hide those of boto3's own chain."""
        if (self.aws_access_key_id is None) != (self.aws_secret_access_key is None):
            given, missing = "aws_access_key_id", "aws_secret_access_key"
            if self.aws_access_key_id is None:
                given, missing = missing, given
            raise ConfigurationError(f"{given} was given without {missing}; give both, or neither")
        if self.aws_session_token is not None and self.aws_access_key_id is None:
            raise ConfigurationError(
                "aws_session_token was given without aws_access_key_id and aws_secret_access_key; give all, or none"
            )

    def create_client(self, service: str, address: str) -> Any:
        """Return a boto3 client for *service*, to reach the queue URL or topic ARN *address*.

        An address of AWS's own names its region, which is then the only one that can work. Raises `ConfigurationError`
        where region or profile is missing.
        """
        import boto3
        from botocore.exceptions import BotoCoreError, NoRegionError, ProfileNotFound

        try:
            session = boto3.Session(
                aws_access_key_id=self.aws_access_key_id,
                aws_secret_access_key=self.aws_secret_access_key,
                aws_session_token=self.aws_session_token,
                region_name=self.region_name,
                profile_name=self.profile_name,
            )
            region = session.region_name and _read_region(address, session.region_name)
            return session.client(service, region_name=region, endpoint_url=self.endpoint_url)
        except NoRegionError as error:
            said = region_of(address)
            region = repr(said) if said else ""
            raise ConfigurationError(
                f"no AWS region for {service}: give region_name={region}, or set AWS_DEFAULT_REGION, or the profile's"
            ) from error
        except ProfileNotFound as error:
            raise ConfigurationError(
                f"profile_name={self.profile_name!r}: {error}; see 'aws configure list-profiles'"
            ) from error
        except (BotoCoreError, ValueError) as error:
            raise ConfigurationError(f"boto3 cannot make a client for {service} of {self}: {error}") from error


def region_of(address: str) -> str:
    """Return the region that a queue URL or topic ARN of AWS's names; ``""`` where it names none."""
    found = re.match(_REGION, address)
    return found[1] if found else ""


def _read_region(address: str, otherwise: str) -> str:
    found = region_of(address)
    if found in ("", otherwise):
        return otherwise
    log.info("%s is in %s, so the region %s is not used for it", address, found, otherwise)
    return found
