"""`SqsClient` and `SnsClient` of the embedded queue: boto3's method names, keywords, answers and errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from botocore.errorfactory import ClientExceptionsFactory
from botocore.exceptions import ConnectionClosedError, ParamValidationError
from botocore.validate import ParamValidator

from megaflow.local.account import Account
from megaflow.local.calls import perform
from megaflow.local.content import check_texts
from megaflow.local.faults import Strike
from megaflow.local.operations.operation import Answer
from megaflow.local.polls import Poll
from megaflow.local.refused import Refused, sqs_code, sqs_name
from megaflow.local.shapes import service_model

ErrorFields = dict[str, Any]

_SHORTEST_WAIT: Final = 0.001


@dataclass(frozen=True, slots=True)
class ClientMeta:
    """What boto3's ``client.meta`` says, as far as it makes sense here."""

    region_name: str
    endpoint_url: str
    service_model: Any


class _Client:
    """What both clients share: check the parameters as boto3 does, perform, answer or raise as boto3 does."""

    def __init__(
        self,
        account: Account,
        service: str,
        show_error: Callable[[Refused], ErrorFields],
        sleep: Callable[[float], object],
    ) -> None:
        self.account = account
        """The account."""

        self.exceptions = _exceptions(service)
        """The error classes, as ``boto3_client.exceptions``."""

        self.meta = ClientMeta(account.region, account.url, service_model(service))
        """Region, endpoint and service model, as ``boto3_client.meta``."""

        self._service = service
        self._show_error = show_error
        self._sleep = sleep

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _call(self, operation: str, parameters: dict[str, Any]) -> Answer:
        self._check(operation, parameters)
        strike = self.account.faults.strike(operation, parameters)
        try:
            check_texts(parameters)
            answer = self._perform(operation, parameters, strike)
        except Refused as refused:
            self._bring_back(strike)
            raise self._error(operation, refused) from refused
        self._bring_back(strike)
        return {**answer, "ResponseMetadata": self._metadata(200)}

    def _perform(self, operation: str, parameters: dict[str, Any], strike: Strike) -> Answer:
        outcome = perform(self.account, self._service, operation, parameters, strike)
        answer = _wait_for(self.account, outcome) if isinstance(outcome, Poll) else outcome
        if strike.faults:
            strike.fail_after()
        return answer

    def _bring_back(self, strike: Strike) -> None:
        """Let an answer be late or lost, as boto3 shows it."""
        if not strike.faults:
            return
        if strike.seconds:
            self._sleep(strike.seconds)
        if strike.loses_answer:
            raise ConnectionClosedError(endpoint_url=self.account.url, error="This is a fault on request.")

    def _check(self, operation: str, parameters: dict[str, Any]) -> None:
        shape = self.meta.service_model.operation_model(operation).input_shape
        report = ParamValidator().validate(parameters, shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())

    def _error(self, operation: str, refused: Refused) -> Exception:
        fields = self._show_error(refused)
        response = {"Error": fields, "ResponseMetadata": self._metadata(refused.status)}
        error_class = self.exceptions.from_code(refused.name)
        error: Exception = error_class(response, operation)
        return error

    def _metadata(self, status: int) -> dict[str, Any]:
        return {
            "RequestId": self.account.new_id(),
            "HTTPStatusCode": status,
            "HTTPHeaders": {},
            "RetryAttempts": 0,
        }


class SqsClient(_Client):
    """What ``boto3.client("sqs")`` is, over an `Account` in this process. May be used from any thread.

    *sleep* waits so many seconds, where a fault makes an answer late.
    """

    def __init__(self, account: Account, *, sleep: Callable[[float], object] = time.sleep) -> None:
        super().__init__(account, "sqs", _show_sqs_error, sleep)

    def create_queue(self, **parameters: Any) -> Answer:
        """Create a queue, or return the one of this name."""
        return self._call("CreateQueue", parameters)

    def delete_queue(self, **parameters: Any) -> Answer:
        """Delete a queue and its messages."""
        return self._call("DeleteQueue", parameters)

    def list_queues(self, **parameters: Any) -> Answer:
        """List queues by name."""
        return self._call("ListQueues", parameters)

    def get_queue_url(self, **parameters: Any) -> Answer:
        """Look up the URL of a queue by its name."""
        return self._call("GetQueueUrl", parameters)

    def get_queue_attributes(self, **parameters: Any) -> Answer:
        """Return the attributes asked for."""
        return self._call("GetQueueAttributes", parameters)

    def set_queue_attributes(self, **parameters: Any) -> Answer:
        """Change attributes of a queue."""
        return self._call("SetQueueAttributes", parameters)

    def purge_queue(self, **parameters: Any) -> Answer:
        """Delete all messages of a queue."""
        return self._call("PurgeQueue", parameters)

    def send_message(self, **parameters: Any) -> Answer:
        """Send one message."""
        return self._call("SendMessage", parameters)

    def send_message_batch(self, **parameters: Any) -> Answer:
        """Send up to ten messages."""
        return self._call("SendMessageBatch", parameters)

    def receive_message(self, **parameters: Any) -> Answer:
        """Receive up to ten messages, waiting for the first."""
        return self._call("ReceiveMessage", parameters)

    def delete_message(self, **parameters: Any) -> Answer:
        """Delete one message."""
        return self._call("DeleteMessage", parameters)

    def delete_message_batch(self, **parameters: Any) -> Answer:
        """Delete up to ten messages."""
        return self._call("DeleteMessageBatch", parameters)

    def change_message_visibility(self, **parameters: Any) -> Answer:
        """Change how long one message stays hidden."""
        return self._call("ChangeMessageVisibility", parameters)

    def change_message_visibility_batch(self, **parameters: Any) -> Answer:
        """Change how long up to ten messages stay hidden."""
        return self._call("ChangeMessageVisibilityBatch", parameters)

    def tag_queue(self, **parameters: Any) -> Answer:
        """Add tags to a queue."""
        return self._call("TagQueue", parameters)

    def untag_queue(self, **parameters: Any) -> Answer:
        """Take tags off a queue."""
        return self._call("UntagQueue", parameters)

    def list_queue_tags(self, **parameters: Any) -> Answer:
        """Return the tags of a queue."""
        return self._call("ListQueueTags", parameters)

    def list_dead_letter_source_queues(self, **parameters: Any) -> Answer:
        """List the queues whose dead-letter queue this is."""
        return self._call("ListDeadLetterSourceQueues", parameters)

    def start_message_move_task(self, **parameters: Any) -> Answer:
        """Begin to move messages out of a dead-letter queue."""
        return self._call("StartMessageMoveTask", parameters)

    def cancel_message_move_task(self, **parameters: Any) -> Answer:
        """Stop moving messages out of a dead-letter queue."""
        return self._call("CancelMessageMoveTask", parameters)

    def list_message_move_tasks(self, **parameters: Any) -> Answer:
        """List the latest tasks that move messages out of a dead-letter queue."""
        return self._call("ListMessageMoveTasks", parameters)

    def add_permission(self, **parameters: Any) -> Answer:
        """Add a statement to the policy of a queue."""
        return self._call("AddPermission", parameters)

    def remove_permission(self, **parameters: Any) -> Answer:
        """Take a statement out of the policy of a queue."""
        return self._call("RemovePermission", parameters)


class SnsClient(_Client):
    """What ``boto3.client("sns")`` is, over an `Account` in this process. May be used from any thread.

    *sleep* waits so many seconds, where a fault makes an answer late.
    """

    def __init__(self, account: Account, *, sleep: Callable[[float], object] = time.sleep) -> None:
        super().__init__(account, "sns", _show_sns_error, sleep)

    def create_topic(self, **parameters: Any) -> Answer:
        """Create a topic, or return the one of this name."""
        return self._call("CreateTopic", parameters)

    def delete_topic(self, **parameters: Any) -> Answer:
        """Delete a topic and its subscriptions."""
        return self._call("DeleteTopic", parameters)

    def list_topics(self, **parameters: Any) -> Answer:
        """List topics, a hundred at a time."""
        return self._call("ListTopics", parameters)

    def get_topic_attributes(self, **parameters: Any) -> Answer:
        """Return the attributes of a topic."""
        return self._call("GetTopicAttributes", parameters)

    def set_topic_attributes(self, **parameters: Any) -> Answer:
        """Change one attribute of a topic."""
        return self._call("SetTopicAttributes", parameters)

    def tag_resource(self, **parameters: Any) -> Answer:
        """Add tags to a topic."""
        return self._call("TagResource", parameters)

    def untag_resource(self, **parameters: Any) -> Answer:
        """Take tags off a topic."""
        return self._call("UntagResource", parameters)

    def list_tags_for_resource(self, **parameters: Any) -> Answer:
        """Return the tags of a topic."""
        return self._call("ListTagsForResource", parameters)

    def add_permission(self, **parameters: Any) -> Answer:
        """Add a statement to the policy of a topic."""
        return self._call("AddPermission", parameters)

    def remove_permission(self, **parameters: Any) -> Answer:
        """Take a statement out of the policy of a topic."""
        return self._call("RemovePermission", parameters)

    def subscribe(self, **parameters: Any) -> Answer:
        """Subscribe an endpoint to a topic."""
        return self._call("Subscribe", parameters)

    def confirm_subscription(self, **parameters: Any) -> Answer:
        """Confirm a subscription by its token."""
        return self._call("ConfirmSubscription", parameters)

    def unsubscribe(self, **parameters: Any) -> Answer:
        """End a subscription."""
        return self._call("Unsubscribe", parameters)

    def list_subscriptions(self, **parameters: Any) -> Answer:
        """List all subscriptions, a hundred at a time."""
        return self._call("ListSubscriptions", parameters)

    def list_subscriptions_by_topic(self, **parameters: Any) -> Answer:
        """List the subscriptions of a topic, a hundred at a time."""
        return self._call("ListSubscriptionsByTopic", parameters)

    def get_subscription_attributes(self, **parameters: Any) -> Answer:
        """Return the attributes of a subscription."""
        return self._call("GetSubscriptionAttributes", parameters)

    def set_subscription_attributes(self, **parameters: Any) -> Answer:
        """Change one attribute of a subscription."""
        return self._call("SetSubscriptionAttributes", parameters)

    def publish(self, **parameters: Any) -> Answer:
        """Publish one message."""
        return self._call("Publish", parameters)

    def publish_batch(self, **parameters: Any) -> Answer:
        """Publish up to ten messages."""
        return self._call("PublishBatch", parameters)


def _wait_for(account: Account, poll: Poll) -> Answer:
    """Return what *poll* is answered, after at most its time in real seconds."""
    deadline = time.monotonic() + poll.seconds
    with account.lock:
        try:
            while not poll.answer.done() and (left := deadline - time.monotonic()) > 0:
                # The account has an alarm: this poll's own end, if nothing else.
                until_alarm = (account.next_alarm() or 0.0) - account.clock()
                account.changed.wait(max(min(left, until_alarm), _SHORTEST_WAIT))
                # Only where something is due: the end of a turn wakes all who wait here, and would do so for ever.
                if account.is_due():
                    _take_turn(account, poll)
        finally:
            account.polls.leave(poll)
    return poll.answer.result() if poll.answer.done() else {}


def _take_turn(account: Account, poll: Poll) -> None:
    try:
        with account.turn():
            pass
    except Refused:
        # It could not be written down; the poll has its answer, or this very error.
        if not poll.answer.done():
            raise


@cache
def _exceptions(service: str) -> Any:
    return ClientExceptionsFactory().create_client_exceptions(service_model(service))


def _show_sqs_error(refused: Refused) -> ErrorFields:
    return {
        "Message": refused.message,
        "Code": sqs_code(refused.name),
        "QueryErrorCode": sqs_name(refused.name),
        "Type": _blamed(refused),
    }


def _show_sns_error(refused: Refused) -> ErrorFields:
    return {"Type": _blamed(refused), "Code": refused.name, "Message": refused.message}


def _blamed(refused: Refused) -> str:
    return "Receiver" if refused.status >= 500 else "Sender"
