"""Conventions: the names of all spans and their attributes.

They are those of OpenTelemetry's semantic conventions for messaging, in version 1.44. Their status is *Development*: a
later version may rename them, and this module is what follows it. What they have no name for starts with ``megaflow.``.

https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/ and
https://opentelemetry.io/docs/specs/semconv/messaging/sqs/ have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from megaflow.callables import name_of

SCOPE: Final = "megaflow"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

SQS: Final = "aws_sqs"
SNS: Final = "aws.sns"

SEND: Final = "send"
RECEIVE: Final = "receive"
PROCESS: Final = "process"
HANDLE: Final = "handle"
SETTLE: Final = "settle"

MESSAGING_SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGE_ID: Final = "messaging.message.id"
BATCH_MESSAGE_COUNT: Final = "messaging.batch.message_count"
QUEUE_URL: Final = "aws.sqs.queue.url"
TOPIC_ARN: Final = "aws.sns.topic.arn"
REQUEST_ID: Final = "aws.request_id"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

HANDLER: Final = "megaflow.handler"
STATUS: Final = "megaflow.status"
SKIPPED: Final = "megaflow.skipped"
FATE: Final = "megaflow.fate"
RECEIVE_COUNT: Final = "megaflow.receive_count"
TIME_IN_QUEUE: Final = "megaflow.time_in_queue"
SETTLEMENT: Final = "megaflow.settlement"

DELETE: Final = "delete"
HIDE: Final = "hide"
DEAD_LETTER: Final = "dead_letter"

TIMEOUT: Final = "timeout"
"""The type of the error of what has not returned in its time."""

UNMATCHED: Final = "unmatched"
"""The type of the error of a message that is dead-lettered because no handler matches it."""

GIVEN_UP: Final = "given_up"
"""The type of the error of what is not waited for any more, as the consumer ends."""

SPANS: Final[Mapping[str, tuple[str, str]]] = {
    "send {destination}": (
        "PRODUCER",
        "a call of `publish`, or one batch of up to ten messages, until none of it is sent again",
    ),
    "receive {queue}": ("CLIENT", "a poll that brought messages; a root, with a link to each message's sender"),
    "process {queue}": (
        "CONSUMER",
        "one message, until its handlers have decided; below the sender's span, or linked to it; linked to its receive",
    ),
    "handle {handler}": (
        "INTERNAL",
        "one call of a handler, with its middleware and what was provided for it; below `process`",
    ),
    "settle {queue}": (
        "CLIENT",
        "a request that deletes messages, hides them, or dead-letters one; a root, with a link to each one's sender",
    ),
}
"""The kind of each span, and what it stands for."""

_ALL: Final = (SEND, RECEIVE, PROCESS, HANDLE, SETTLE)
_OF_QUEUES: Final = (SEND, RECEIVE, PROCESS, SETTLE)
_OF_CALLS: Final = (SEND, RECEIVE, SETTLE)

ATTRIBUTES: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    MESSAGING_SYSTEM: (_OF_QUEUES, f"`{SQS}`, or `{SNS}` where a topic is published to"),
    OPERATION_NAME: (_OF_QUEUES, f"`{SEND}`, `{RECEIVE}`, `{PROCESS}` or `{SETTLE}`"),
    OPERATION_TYPE: (_OF_QUEUES, "the same"),
    DESTINATION_NAME: (_OF_QUEUES, "the name of the queue, or the topic"),
    QUEUE_URL: (_OF_QUEUES, "the queue's URL"),
    TOPIC_ARN: ((SEND,), "the topic's ARN"),
    MESSAGE_ID: ((SEND, PROCESS, SETTLE), "the message's id, where there is one message, and it went"),
    BATCH_MESSAGE_COUNT: (_OF_CALLS, "the number of messages, where it is a call for several"),
    SERVER_ADDRESS: (_OF_CALLS, "the host that is called"),
    SERVER_PORT: (_OF_CALLS, "its port"),
    REQUEST_ID: (_OF_CALLS, "AWS's id of the request, or of the last one of several"),
    ERROR_TYPE: (
        _ALL,
        f"AWS's name for it, the exception's type, the handler's status, `{UNMATCHED}`, `{TIMEOUT}` or `{GIVEN_UP}`",
    ),
    HANDLER: ((PROCESS, HANDLE), "the handler's name; of several, one after another: `shop.reserve, shop.notify`"),
    STATUS: (
        (PROCESS, HANDLE),
        "what the handler made of the message, `DONE`, `RETRIABLE_ERROR` …; of several, in the same order",
    ),
    SKIPPED: ((HANDLE,), "why the handler was not called: `done earlier`, where its inbox has its row"),
    FATE: ((PROCESS,), "what its handlers decide for the message: `deleted`, `kept` or `dead-lettered`"),
    RECEIVE_COUNT: ((PROCESS,), "how often the message was received, this time included"),
    TIME_IN_QUEUE: ((PROCESS,), "seconds since SQS got the message"),
    SETTLEMENT: ((SETTLE,), f"`{DELETE}`, `{HIDE}` or `{DEAD_LETTER}`"),
}
"""The spans that have an attribute, and what it says."""


_OLD_PREFIX: Final = "AWS.SimpleQueueService."
_NAMES: Final[Mapping[str, str]] = {
    f"{_OLD_PREFIX}NonExistentQueue": "QueueDoesNotExist",
    "QueueAlreadyExists": "QueueNameExists",
    "KMS.AccessDeniedException": "KmsAccessDenied",
    "KMS.DisabledException": "KmsDisabled",
    "KMS.InvalidKeyUsageException": "KmsInvalidKeyUsage",
    "KMS.InvalidStateException": "KmsInvalidState",
    "KMS.NotFoundException": "KmsNotFound",
    "KMS.OptInRequired": "KmsOptInRequired",
    "KMS.ThrottlingException": "KmsThrottled",
}
"""What SQS's API calls an error, by the code that it had before SQS spoke JSON, and that most clients still show.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
"""


_WELL_KNOWN: Final = ("builtins", "botocore.exceptions")
"""Whose errors need no module to be known by."""


def name_error(error: BaseException) -> str:
    """Return AWS's name for *error*, or that of its type: one name for one error, whichever client has raised it."""
    response = getattr(error, "response", None)
    said = response.get("Error", {}) if isinstance(response, dict) else {}
    if code := said.get("QueryErrorCode") or said.get("Code"):
        return name_code(str(code))
    kind = type(error)
    return kind.__qualname__ if kind.__module__ in _WELL_KNOWN else name_of(kind)


def name_code(code: str) -> str:
    """Return what AWS's API calls an error that has this *code*."""
    return _NAMES.get(code) or code.removeprefix(_OLD_PREFIX)
