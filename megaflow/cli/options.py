"""Options that commands share: the queue, its region, and the clients to reach it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from megaflow.cli.errors import WrongUsage
from megaflow.transport.addresses import queue_url_of, read_address, topic_arn_of
from megaflow.transport.errors import is_missing_queue
from megaflow.transport.lookups import describe_place, find_topic_arn
from megaflow.transport.protocols import ClientSource
from megaflow.transport.queue import find_queue_url
from megaflow.transport.session import AwsOptions, AwsSettings, Clients
from megaflow.transport.times import CONSUMING, Times

Command = TypeVar("Command", bound=Callable[..., Any])

_HERE: Final = ("127.0.0.1", "localhost", "::1")


def aws_options(command: Command) -> Command:
    """Give a command the options for how to reach AWS, for `read_aws`."""
    for option in (
        click.option("--profile", help="The profile of the AWS configuration."),
        click.option("--region", help="The AWS region of a queue or topic that you name."),
        click.option(
            "--endpoint-url", envvar="AWS_ENDPOINT_URL", help="Where to call, in place of AWS: http://127.0.0.1:4566"
        ),
    ):
        command = option(command)
    return command


def log_options(command: Command) -> Command:
    """Give a command the options for how it logs, for `set_up_logging`."""
    form, level = click.Choice(["text", "json"]), click.Choice(["debug", "info", "warning", "error"])
    for option in (
        click.option(
            "--log-level", type=level, default="info", show_default=True, help="What is logged: this and worse."
        ),
        click.option("--log-format", type=form, default="text", show_default=True, help="How the log is written."),
    ):
        command = option(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs, in place of text.")


def read_aws(endpoint_url: str | None, region: str | None, profile: str | None) -> AwsOptions:
    """Return the options as `App` takes them, only those that were given.

    A server on this machine takes any credentials, so that none have to be set up for it.
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
    return given | _credentials_for(endpoint_url) if endpoint_url and not profile else given


def connect(queue: str, aws: AwsOptions, times: Times = CONSUMING) -> tuple[Any, str]:
    """Return a client for *queue*, which is a URL, a name or an ARN, and its URL; its calls take *times*."""
    clients = Clients("sqs", aws, None, wire=True, times=times)
    url = find_queue(queue, clients)
    return clients.client_for(queue), url


def find_queue(queue: str, clients: ClientSource) -> str:
    """Return the URL of *queue*, which is a URL, a name or an ARN; raise `WrongUsage` where it is not there."""
    address = read_address(queue)
    if address.is_url or address.service not in ("", "sqs"):
        return queue_url_of("queue", queue)
    client = clients.client_for(queue)
    try:
        return find_queue_url(client, address.name, address.account)
    except Exception as error:
        if not is_missing_queue(error):
            raise
        raise WrongUsage(f"there is no queue {queue}{_describe_place(client)}") from error


def find_topic(topic: str, aws: AwsOptions) -> str:
    """Return the ARN of *topic*, which is an ARN or a name; raise `WrongUsage` where it is not there."""
    if not read_address(topic).is_name:
        return topic_arn_of("topic_arn", topic)
    client = AwsSettings(**aws).create_client("sns", topic)
    found = find_topic_arn(client, topic)
    if found:
        return found
    raise WrongUsage(f"there is no topic {topic}{_describe_place(client)}")


def _describe_place(client: Any) -> str:
    meta = getattr(client, "meta", None)
    is_of_aws = (urlsplit(getattr(meta, "endpoint_url", "")).hostname or "").endswith(".amazonaws.com")
    elsewhere = "; set AWS_ENDPOINT_URL for one on this machine" if is_of_aws else ""
    return f"{describe_place(client)}{elsewhere}"


def _credentials_for(endpoint_url: str) -> AwsOptions:
    if urlsplit(endpoint_url).hostname not in _HERE or os.environ.get("AWS_ACCESS_KEY_ID"):
        return {}
    return {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
