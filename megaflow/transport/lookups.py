"""Lookups: the address of a queue or a topic of which the name is known."""

from __future__ import annotations

from typing import Any, Final

from megaflow.errors import ConfigurationError
from megaflow.transport.addresses import name_of
from megaflow.transport.errors import is_denied, is_missing_queue
from megaflow.transport.queue import find_queue_url
from megaflow.transport.session import Clients

_MAKE_IT: Final = "make it (megaflow provision --apply does), or say where it is with region_name= or endpoint_url="


def find_queue(name: str, clients: Clients) -> str:
    """Return the URL of the queue of this name.

    Raises `ConfigurationError` where it is not there, or nobody is allowed to ask; any other error of boto3's is
    raised as it is.
    """
    client = clients.client_for(name)
    try:
        return find_queue_url(client, name)
    except Exception as error:
        problem = f"queue={name!r}"
        if is_missing_queue(error):
            raise ConfigurationError(
                f"{problem}: there is no such queue{describe_place(client)}; {_MAKE_IT}"
            ) from error
        if is_denied(error):
            remedy = "let the role do sqs:GetQueueUrl, or give the queue by queue_url="
            raise ConfigurationError(f"{problem}: its URL may not be looked up: {remedy} ({error})") from error
        raise


def find_topic(name: str, clients: Clients) -> str:
    """Return the ARN of the topic of this name; SNS can only list them all.

    Raises `ConfigurationError` where it is not there, or nobody is allowed to ask; any other error of boto3's is
    raised as it is.
    """
    client = clients.client_for(name)
    try:
        found = find_topic_arn(client, name)
    except Exception as error:
        if not is_denied(error):
            raise
        remedy = "let the role do sns:ListTopics, or give the topic by topic_arn="
        raise ConfigurationError(f"topic={name!r}: its ARN may not be looked up: {remedy} ({error})") from error
    if found is None:
        raise ConfigurationError(f"topic={name!r}: there is no such topic{describe_place(client)}; {_MAKE_IT}")
    return found


def find_topic_arn(client: Any, name: str) -> str | None:
    """Return the ARN of the topic of this name, None where *client* lists none.

    https://docs.aws.amazon.com/sns/latest/api/API_ListTopics.html
    """
    asked: dict[str, str] = {}
    while True:
        answer = client.list_topics(**asked)
        for each in answer.get("Topics", ()):
            if name_of(each["TopicArn"]) == name:
                return str(each["TopicArn"])
        if not answer.get("NextToken"):
            return None
        asked = {"NextToken": answer["NextToken"]}


def describe_place(client: Any) -> str:
    """Return where *client* calls, in an error's words; nothing for an embedded one."""
    meta = getattr(client, "meta", None)
    return f" at {meta.endpoint_url}, in {meta.region_name}" if meta is not None else ""
