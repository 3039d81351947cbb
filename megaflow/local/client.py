"""The account behind the boto3 clients' own method names, keywords, answers and errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.errorfactory import ClientExceptionsFactory
from botocore.exceptions import ParamValidationError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from megaflow.local import sns_operations, sqs_operations
from megaflow.local.account import Account
from megaflow.local.refused import Refused, sqs_code

Answer = dict[str, Any]
ErrorFields = dict[str, Any]


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
        operations: Mapping[str, Callable[[Account, Mapping[str, Any]], Answer]],
        show_error: Callable[[Refused], ErrorFields],
    ) -> None:
        self.account = account
        self.exceptions = _exceptions(service)
        self.meta = ClientMeta(account.region, account.url, _service_model(service))
        self._operations = operations
        self._show_error = show_error

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _call(self, operation: str, parameters: dict[str, Any]) -> Answer:
        self._check(operation, parameters)
        with self.account.lock:
            try:
                answer = self._operations[operation](self.account, parameters)
            except Refused as refused:
                raise self._error(operation, refused) from refused
            return {**answer, "ResponseMetadata": self._metadata(200)}

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
    """What ``boto3.client("sqs")`` is, over an :class:`Account` in this process. Safe for threads."""

    def __init__(self, account: Account) -> None:
        super().__init__(account, "sqs", sqs_operations.OPERATIONS, _show_sqs_error)

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


class SnsClient(_Client):
    """What ``boto3.client("sns")`` is, over an :class:`Account` in this process. Safe for threads."""

    def __init__(self, account: Account) -> None:
        super().__init__(account, "sns", sns_operations.OPERATIONS, _show_sns_error)

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

    def subscribe(self, **parameters: Any) -> Answer:
        """Subscribe a queue to a topic."""
        return self._call("Subscribe", parameters)

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


@cache
def _service_model(service: str) -> Any:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@cache
def _exceptions(service: str) -> Any:
    return ClientExceptionsFactory().create_client_exceptions(_service_model(service))


def _show_sqs_error(refused: Refused) -> ErrorFields:
    return {
        "Message": refused.message,
        "Code": sqs_code(refused.name),
        "QueryErrorCode": refused.name,
        "Type": "Sender",
    }


def _show_sns_error(refused: Refused) -> ErrorFields:
    return {"Type": "Sender", "Code": refused.name, "Message": refused.message}
