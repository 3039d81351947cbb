"""`WireClient`: boto3's SQS client with its hot calls on the wire, without botocore in between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from megaflow.logs import get_logger
from megaflow.wire.answers import WireOperation
from megaflow.wire.attempts import Attempts, Line
from megaflow.wire.connections import Connections
from megaflow.wire.fallback import HOT_METHODS, watch, why_aside
from megaflow.wire.patience import read_patience
from megaflow.wire.pending import Pending, failing
from megaflow.wire.requests import Requests
from megaflow.wire.retries import MAX_ATTEMPTS, Quota
from megaflow.wire.sockets import connector
from megaflow.wire.whole_answers import answered_by

log = get_logger(__name__)

_Client = TypeVar("_Client")
StandsIn: TypeAlias = Callable[[], bool]


class WireClient:
    """Has boto3's method names and answers, errors included; what is not in `HOT_METHODS` is the boto3 client's own.

    Region, endpoint, credentials, timeouts and certificates are those of *client*, whose credentials are asked for each
    request. May be used from any thread. *client* is one for which `why_aside` knows no reason. *stands_in* tells
    whether the caller has spans in place of those of OpenTelemetry's instrumentation.
    """

    def __init__(
        self, client: Any, *, stands_in: StandsIn = lambda: False, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        model, config = client.meta.service_model, client.meta.config
        self.boto3_client: Final = client
        self._operations = {
            method: WireOperation(model, operation, client.exceptions) for method, operation in HOT_METHODS.items()
        }
        self._line = Line(
            requests=Requests(client),
            connections=Connections(connector(client), most_idle=config.max_pool_connections),
            endpoint_url=client.meta.endpoint_url,
            read_timeout=float(config.read_timeout),
            max_attempts=int((config.retries or {}).get("total_max_attempts", MAX_ATTEMPTS)),
            patience=read_patience(client),
            quota=Quota(),
            sleep=sleep,
        )
        self._stands_in = stands_in
        self._is_unchanged = _is_unknown
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
        self._line.connections.close()
        self.boto3_client.close()

    def begin(self, method: str, *, until: float = math.inf, **parameters: Any) -> Pending[Mapping[str, Any]]:
        """Send the request of one of the hot methods; every error comes with the result.

        The parameters must be of the types that SQS takes. It takes no longer than *until*, by the monotonic clock,
        even where its client has more patience.
        """
        if not self._is_unchanged():
            self._look_again()
        if self._aside:
            return begin_call(self.boto3_client, method, **parameters)
        try:
            return Attempts(self._line, self._operations[method], parameters, until).begin()
        except Exception as error:  # noqa: BLE001 - whoever gives the credentials raises whatever they like
            return failing(error)

    def _call(self, method: str, parameters: dict[str, Any]) -> Mapping[str, Any]:
        if self._operations[method].takes(parameters):
            return self.begin(method, **parameters).result()
        answer: Mapping[str, Any] = getattr(self.boto3_client, method)(**parameters)
        return answer

    def _look_again(self) -> None:
        """Note whether somebody has put in something that only boto3 calls."""
        # In this order: what comes meanwhile is seen before the next call.
        is_unchanged = watch(self.boto3_client)
        aside = why_aside(self.boto3_client, stands_in=self._stands_in())
        if aside and aside != self._aside:
            log.info("every call goes through the client itself from now on: %s", aside)
        self._aside, self._is_unchanged = aside, is_unchanged


def _is_unknown() -> bool:
    """Be the answer before anybody has looked."""
    return False


def open_wire(client: _Client, *, wanted: bool = True, stands_in: StandsIn = lambda: False) -> _Client | WireClient:
    """Return a client that makes the hot calls of the boto3 client *client* itself, or *client*, and log why."""
    if isinstance(client, WireClient):
        return client
    reason = why_aside(client, stands_in=stands_in()) if wanted else "wire=False"
    if reason:
        log.info("every call goes through the client itself: %s", reason)
        return client
    return WireClient(client, stands_in=stands_in)


def begin_call(client: Any, method: str, *, until: float = math.inf, **parameters: Any) -> Pending[Mapping[str, Any]]:
    """Begin to call a *method* of *client*: on the wire it is under way, another client makes it for its result.

    It takes no longer than *until*; a client that somebody else has made has times of its own.
    """
    if isinstance(client, WireClient):
        return client.begin(method, until=until, **parameters)
    pending: Pending[Mapping[str, Any]] = Pending(lambda: getattr(client, method)(**parameters))
    return pending if until == math.inf else pending.within(lambda: answered_by(until))
