"""boto3's SQS client with its hot calls on the wire, without botocore in between."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from megaflow.wire.answers import Operation
from megaflow.wire.aside import HOT_METHODS, handlers_version, why_handlers
from megaflow.wire.connections import ConnectError, Connections
from megaflow.wire.http import BrokenAnswerError
from megaflow.wire.requests import Requests, encode_binary, read_deadline
from megaflow.wire.retries import MAX_ATTEMPTS, Failure, Quota, Retries
from megaflow.wire.sockets import connector, translate_error

log = logging.getLogger(__name__)

_LONGEST_POLL: Final = 20
_POLL_GRACE: Final = 5.0
"""Seconds beyond its wait that a long poll has to answer."""


class WireClient:
    """Has boto3's method names and answers, errors included; what is not in `HOT_METHODS` is the boto3 client's own.

    Region, endpoint, credentials, timeouts and certificates are those of *client*, whose credentials are asked for each
    request. May be used from any thread. *client* is one for which `why_aside` knows no reason.
    """

    def __init__(self, client: Any, *, sleep: Callable[[float], None] = time.sleep) -> None:
        model, config = client.meta.service_model, client.meta.config
        self.boto3_client: Final = client
        self._operations = {
            method: Operation(model, operation, client.exceptions) for method, operation in HOT_METHODS.items()
        }
        self._requests = Requests(client)
        self._connections = Connections(connector(client), most_idle=config.max_pool_connections)
        self._endpoint_url: str = client.meta.endpoint_url
        self._read_timeout = float(config.read_timeout)
        self._max_attempts = int((config.retries or {}).get("total_max_attempts", MAX_ATTEMPTS))
        self._encode = json.JSONEncoder(default=encode_binary).encode
        self._quota = Quota()
        self._sleep = sleep
        self._seen_handlers: object = None
        self._aside = ""

    def __getattr__(self, name: str) -> Any:
        """Return what the boto3 client has by this name."""
        return getattr(self.boto3_client, name)

    def receive_message(self, **parameters: Any) -> Mapping[str, Any]:
        """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html"""  # noqa: D400, D415
        return self._call("receive_message", parameters)

    def send_message(self, **parameters: Any) -> Mapping[str, Any]:
        """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html"""  # noqa: D400, D415
        return self._call("send_message", parameters)

    def send_message_batch(self, **parameters: Any) -> Mapping[str, Any]:
        """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html"""  # noqa: D400, D415
        return self._call("send_message_batch", parameters)

    def delete_message(self, **parameters: Any) -> Mapping[str, Any]:
        """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html"""  # noqa: D400, D415
        return self._call("delete_message", parameters)

    def delete_message_batch(self, **parameters: Any) -> Mapping[str, Any]:
        """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessageBatch.html"""  # noqa: D400, D415
        return self._call("delete_message_batch", parameters)

    def change_message_visibility(self, **parameters: Any) -> Mapping[str, Any]:
        """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html"""  # noqa: D400, D415
        return self._call("change_message_visibility", parameters)

    def change_message_visibility_batch(self, **parameters: Any) -> Mapping[str, Any]:
        """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibilityBatch.html"""  # noqa: D400, D415
        return self._call("change_message_visibility_batch", parameters)

    def close(self) -> None:
        """Close every connection, those of the boto3 client too; calls under way fail."""
        self._connections.close()
        self.boto3_client.close()

    def _call(self, method: str, parameters: dict[str, Any]) -> Mapping[str, Any]:
        operation = self._operations[method]
        if handlers_version(self.boto3_client) is not self._seen_handlers:
            self._look_at_handlers()
        if self._aside or not operation.takes(parameters):
            answer: Mapping[str, Any] = getattr(self.boto3_client, method)(**parameters)
            return answer
        return self._exchange(operation, parameters)

    def _look_at_handlers(self) -> None:
        """Note whether there are event handlers: only boto3 calls them."""
        self._seen_handlers = handlers_version(self.boto3_client)
        aside = why_handlers(self.boto3_client)
        if aside and aside != self._aside:
            log.info("every call goes through the client itself from now on: %s", aside)
        self._aside = aside

    def _exchange(self, operation: Operation, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        body, call_id, deadline = self._encode(parameters).encode(), _make_id(), ""
        timeout = self._timeout_for(operation, parameters)
        retries = Retries(self._quota, max_attempts=self._max_attempts, is_poll=operation.is_poll)
        while True:
            trial = f"{deadline}attempt={retries.attempt}; max={self._max_attempts}"
            request = self._requests.write(operation.target, body, call_id, trial)
            lost: Exception | None = None
            try:
                answer = self._connections.exchange(request, timeout)
            except (ConnectError, BrokenAnswerError, OSError) as error:
                lost, failure = translate_error(error, self._endpoint_url), Failure()
            else:
                if answer.status < 300:
                    retries.note_success()
                    return operation.read(answer, retries.metadata)
                failure = operation.read_failure(answer)
            wait, again = retries.wait_after(failure)
            if wait:
                self._sleep(wait)
            if not again:
                raise lost or operation.make_error(failure, retries.metadata)
            deadline = read_deadline(failure.headers, self._read_timeout)

    def _timeout_for(self, operation: Operation, parameters: Mapping[str, Any]) -> float:
        if not operation.is_poll:
            return self._read_timeout
        # Without a wait, it is the queue's own.
        wait: int = parameters.get("WaitTimeSeconds", _LONGEST_POLL)
        return max(self._read_timeout, wait + _POLL_GRACE)


def _make_id() -> str:
    """Return an id for a call; to ask the system for randomness lets other threads in, which costs more than the id."""
    return str(UUID(int=random.getrandbits(128), version=4))
