"""Protocols: the methods that megaflow asks of a client, by boto3's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from megaflow.checks import check_object


class SqsClient(Protocol):
    """What megaflow asks of a client: boto3's own methods, by their own names."""

    def send_message(self, **parameters: Any) -> Mapping[str, Any]:
        """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html"""  # noqa: D400, D415
        ...

    def send_message_batch(self, **parameters: Any) -> Mapping[str, Any]: ...
    def receive_message(self, **parameters: Any) -> Mapping[str, Any]: ...
    def delete_message_batch(self, **parameters: Any) -> Mapping[str, Any]: ...
    def change_message_visibility_batch(self, **parameters: Any) -> Mapping[str, Any]: ...
    def get_queue_attributes(self, **parameters: Any) -> Mapping[str, Any]: ...
    def get_queue_url(self, **parameters: Any) -> Mapping[str, Any]: ...


class SnsClient(Protocol):
    """What megaflow asks of a client: boto3's own methods, by their own names."""

    def publish(self, **parameters: Any) -> Mapping[str, Any]: ...
    def publish_batch(self, **parameters: Any) -> Mapping[str, Any]: ...


_METHODS: Final = {
    service: tuple(name for name in vars(protocol) if not name.startswith("_"))
    for service, protocol in (("sqs", SqsClient), ("sns", SnsClient))
}


_SENDING: Final = {"sqs": ("send_message", "send_message_batch"), "sns": ("publish", "publish_batch")}


def check_client(name: str, client: object, service: str, *, only_sends: bool = False) -> None:
    """Raise `ConfigurationError` unless *client*, which was given as *name*, is one for *service*, or None.

    Its errors would be taken for an outage. One that *only sends* needs no other methods.
    """
    wanted = f"boto3's client for {service.upper()}, as in {name}=boto3.client({service!r}), or leave it out"
    check_object(name, client, (_SENDING if only_sends else _METHODS)[service], wanted)


class ClientSource(Protocol):
    """What gives clients for queues, by their addresses. Its methods may be called from any thread."""

    def check(self, address: str) -> None:
        """Raise `ConfigurationError` where the region that was given, or that of the client, is not for *address*."""
        ...

    def client_for(self, address: str) -> SqsClient:
        """Return a client in the region of *address*."""
        ...
