"""Options that commands share: the queue, its region, and the clients to reach it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from megaflow.cli.errors import WrongUsage
from megaflow.publishing.sqs import SqsPublisher
from megaflow.transport.session import AwsOptions, AwsSettings

Command = TypeVar("Command", bound=Callable[..., Any])

_ARN: Final = re.compile(r"arn:[^:]*:sqs:([^:]*):([0-9]{12}):(.+)")
_HERE: Final = ("127.0.0.1", "localhost", "::1")


def aws_options(command: Command) -> Command:
    """Give a command the options for how to reach AWS, for `read_aws`."""
    for option in (
        click.option("--profile", help="The profile of the AWS configuration."),
        click.option("--region", help="The AWS region."),
        click.option(
            "--endpoint-url", envvar="AWS_ENDPOINT_URL", help="Another SQS and SNS than AWS's: http://127.0.0.1:4566"
        ),
    ):
        command = option(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="JSON for programs, instead of a table.")


def read_aws(endpoint_url: str | None, region: str | None, profile: str | None) -> AwsOptions:
    """Return the options as `App` takes them, only those that were given.

    A server on this machine takes any credentials and region, so that none have to be set up for it.
    """
    given: AwsOptions = {}
    if endpoint_url and not endpoint_url.startswith(("http://", "https://")):
        raise WrongUsage(f"--endpoint-url {endpoint_url!r} must begin with http:// or https://")
    if endpoint_url:
        given["endpoint_url"] = endpoint_url
    if region:
        given["region_name"] = region
    if profile:
        given["profile_name"] = profile
    return given | _credentials_for(endpoint_url, region) if endpoint_url and not profile else given


def connect(queue: str, aws: AwsOptions) -> tuple[Any, str]:
    """Return a client for *queue*, which is a URL, a name or an ARN, and its URL."""
    found = _ARN.fullmatch(queue)
    if found and not aws.get("region_name"):
        aws = aws | {"region_name": found[1]}
    if queue.startswith("http"):
        return SqsPublisher(queue_url=queue, **aws).client, queue
    client = AwsSettings(**aws).create_client("sqs", queue)
    owner = {"QueueOwnerAWSAccountId": found[2]} if found else {}
    try:
        url = client.get_queue_url(QueueName=found[3] if found else queue, **owner)["QueueUrl"]
    except client.exceptions.QueueDoesNotExist as error:
        raise WrongUsage(f"there is no queue {queue} at {client.meta.endpoint_url}") from error
    return SqsPublisher(queue_url=url, client=client).client, str(url)


def name_of_queue(url: str) -> str:
    """Return the name of the queue at *url*."""
    return url.rpartition("/")[2]


def _credentials_for(endpoint_url: str, region: str | None) -> AwsOptions:
    if urlsplit(endpoint_url).hostname not in _HERE:
        return {}
    chosen: AwsOptions = {}
    if not (region or os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")):
        chosen["region_name"] = "us-east-1"
    if not os.environ.get("AWS_ACCESS_KEY_ID"):
        chosen |= {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    return chosen
