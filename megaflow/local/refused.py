"""Refusals: the errors that SQS and SNS answer, with their codes."""

from __future__ import annotations

from typing import Final

_NAMES_IN_QUERY: Final = {
    "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
    "BatchRequestTooLong": "AWS.SimpleQueueService.BatchRequestTooLong",
    "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
    "InvalidBatchEntryId": "AWS.SimpleQueueService.InvalidBatchEntryId",
    "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
    "PurgeQueueInProgress": "AWS.SimpleQueueService.PurgeQueueInProgress",
    "QueueDeletedRecently": "AWS.SimpleQueueService.QueueDeletedRecently",
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "SerializationException": "MalformedInput",
    "TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    "UnknownOperationException": "InvalidAction",
    "UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation",
}
"""SQS kept the names its errors had before it spoke JSON; boto3 shows these as ``Error.Code``.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
"""


_COMMON_NAMES: Final = {
    "InvalidParameterValue": "InvalidParameterValueException",
    "MissingParameter": "MissingRequiredParameterException",
}
"""What JSON calls two of the errors that all of AWS shares; boto3 shows these as ``Error.QueryErrorCode``."""


class Refused(Exception):
    """An error of SQS or SNS: its name in AWS's own model, and AWS's words.

    Nobody outside sees it: the clients turn it into botocore's ``ClientError``.
    """

    def __init__(self, name: str, message: str, *, status: int = 400) -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message
        self.status = status

    def __str__(self) -> str:
        """Give the name and the words."""
        return f"{self.name}: {self.message}"


def sqs_code(name: str) -> str:
    """Return the code boto3 shows for the error that SQS's model calls *name*."""
    return _NAMES_IN_QUERY.get(name, name)


def no_queue() -> Refused:
    """Make the error SQS gives for a queue that is not there."""
    return Refused("QueueDoesNotExist", "The specified queue does not exist.")


def sqs_name(name: str) -> str:
    """Return what SQS's JSON calls the error *name*."""
    return _COMMON_NAMES.get(name, name)


def invalid_value(value: object, parameter: str, reason: str) -> Refused:
    """Make the error SQS gives for a parameter that is out of range or out of place."""
    return Refused("InvalidParameterValue", f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")


def missing(parameter: str) -> Refused:
    """Make the error SQS gives for a parameter it cannot do without."""
    return Refused("MissingParameter", f"The request must contain the parameter {parameter}.")


def no_deduplication_id() -> Refused:
    """Make the error SQS gives for what is sent to a FIFO queue that could not tell it from a duplicate."""
    return Refused(
        "InvalidParameterValue",
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
    )


def wrong_queue_type(value: object, parameter: str) -> Refused:
    """Make the error SQS gives for a parameter that only the other type of queue takes."""
    return invalid_value(value, parameter, "The request include parameter that is not valid for this queue type.")


def invalid_parameter(what: str) -> Refused:
    """Make the error SNS gives for a parameter it does not take, or that is not supported here."""
    return Refused("InvalidParameter", f"Invalid parameter: {what}")
