"""Attributes of a queue: AWS's names, defaults and ranges.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from megaflow.limits import (
    DELAY,
    LONGEST_RETENTION,
    QUEUE_NAME_LENGTH,
    RECEIVES,
    SHORTEST_RETENTION,
    SQS_MESSAGE_SIZE,
    VISIBILITY_TIMEOUT,
    WAIT_TIME,
)
from megaflow.local.refused import Refused, invalid_value

_NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{QUEUE_NAME_LENGTH}}}")
_QUEUE_ARN: Final = re.compile(r"arn:[^:]+:sqs:[^:]+:[^:]+:[^:]+")
_FIFO_NAME: Final = re.compile(rf"(?=.{{1,{QUEUE_NAME_LENGTH}}}$)[A-Za-z0-9_-]+\.fifo")

NUMBERS: Final = {
    "DelaySeconds": (0, DELAY),
    "MaximumMessageSize": (1024, SQS_MESSAGE_SIZE),
    "MessageRetentionPeriod": (SHORTEST_RETENTION, LONGEST_RETENTION),
    "ReceiveMessageWaitTimeSeconds": (0, WAIT_TIME),
    "VisibilityTimeout": (0, VISIBILITY_TIMEOUT),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
}
"""The lowest and the highest value of each attribute that is a whole number."""

CHOICES: Final = {
    "FifoQueue": ("true",),
    "ContentBasedDeduplication": ("true", "false"),
    "SqsManagedSseEnabled": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
"""The values of each attribute that has few."""

_REMOVABLE: Final = ("Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId")
"""An empty text takes these away. ``Policy`` and the key are kept and shown, and nothing more."""

NAMES: Final = frozenset({*NUMBERS, *CHOICES, *_REMOVABLE})
FIFO_ONLY: Final = ("FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
_HIGH_THROUGHPUT: Final = ("DeduplicationScope", "FifoThroughputLimit")
_DEFAULTS: Final = {
    "DelaySeconds": "0",
    "MaximumMessageSize": str(SQS_MESSAGE_SIZE),
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}
_FIFO_DEFAULTS: Final = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoQueue": "true",
    "FifoThroughputLimit": "perQueue",
}
_KEY_DEFAULTS: Final = {"KmsDataKeyReusePeriodSeconds": "300"}
"""Where there is a key. Without one, a reuse period is taken and forgotten."""

_SOURCES: Final = 10
"""Queues that a redrive-allow policy names at most."""


@dataclass(frozen=True, slots=True)
class Redrive:
    """Where messages go that were received too often."""

    target_arn: str
    max_receive_count: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The attributes of one queue as AWS shows them, and their values as Python has them."""

    shown: Mapping[str, str]
    fifo: bool
    delay: int
    maximum_message_size: int
    retention_period: int
    wait_time: int
    visibility_timeout: int
    content_based_deduplication: bool
    deduplication_by_group: bool
    redrive: Redrive | None

    @property
    def dead_letter_arn(self) -> str | None:
        """The dead-letter queue, None where there is none."""
        return self.redrive.target_arn if self.redrive else None

    def with_attributes(self, attributes: Mapping[str, str]) -> Settings:
        """Return these settings with some *attributes* changed.

        Raises:
            Refused: an attribute that is unknown, out of range or not for this type of queue.
        """
        return _settings(_changed(self.shown, _checked(attributes, fifo=self.fifo)), fifo=self.fifo)


def new_settings(name: str, attributes: Mapping[str, str]) -> Settings:
    """Return the settings of a new queue: what was given, and AWS's defaults.

    Raises:
        Refused: a name or an attribute that AWS does not take.
    """
    fifo = attributes.get("FifoQueue", "").lower() == "true"
    _check_name(name, fifo=fifo)
    defaults = {**_DEFAULTS, **_FIFO_DEFAULTS} if fifo else _DEFAULTS
    return _settings(_changed(defaults, _checked(attributes, fifo=fifo)), fifo=fifo)


def known_settings(shown: Mapping[str, str]) -> Settings:
    """Return settings from what they showed before."""
    return _settings(shown, fifo=shown.get("FifoQueue") == "true")


def read_redrive(text: str) -> Redrive:
    """Read a redrive policy.

    Raises:
        Refused: it names no queue, no count from 1 to 1,000, or anything else.
    """
    policy = _read_object("RedrivePolicy", text)
    if set(policy) != {"deadLetterTargetArn", "maxReceiveCount"}:
        raise invalid_value(
            text, "RedrivePolicy", "It takes deadLetterTargetArn and maxReceiveCount, both of them and nothing else."
        )
    count = policy["maxReceiveCount"] if isinstance(policy["maxReceiveCount"], str) else repr(policy["maxReceiveCount"])
    if not is_number(count, 1, RECEIVES):
        raise invalid_value(text, "RedrivePolicy", "Invalid value for maxReceiveCount: must be between 1 and 1000.")
    if not _QUEUE_ARN.fullmatch(str(policy["deadLetterTargetArn"])):
        raise invalid_value(text, "RedrivePolicy", "Invalid value for deadLetterTargetArn.")
    return Redrive(str(policy["deadLetterTargetArn"]), int(count))


def check_redrive(settings: Settings, source_arn: str, target: Settings | None) -> None:
    """Refuse the redrive policy of *source_arn*, if it has one, where *target*, the queue it names, is none for it.

    Raises:
        Refused: the dead-letter queue is missing, of the other type, or not for this source.
    """
    if settings.redrive is None:
        return
    policy = settings.shown["RedrivePolicy"]
    if target is None:
        raise invalid_value(policy, "RedrivePolicy", "Dead letter target does not exist.")
    if target.fifo != settings.fifo:
        raise invalid_value(policy, "RedrivePolicy", "Dead-letter queue must be same type of queue as the source.")
    allowed = target.shown.get("RedriveAllowPolicy")
    if allowed is not None and not allows_source(allowed, source_arn):
        raise invalid_value(
            policy, "RedrivePolicy", "The dead-letter queue's redrive allow policy does not allow this queue."
        )


def allows_source(text: str, source_arn: str) -> bool:
    """Tell whether the redrive-allow policy *text* of a dead-letter queue lets *source_arn* use it.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
    """
    policy = _read_object("RedriveAllowPolicy", text)
    by_permission = {"allowAll": True, "denyAll": False, "byQueue": source_arn in (policy.get("sourceQueueArns") or ())}
    return by_permission[policy["redrivePermission"]]


def _checked(attributes: Mapping[str, str], *, fifo: bool) -> dict[str, str]:
    """Return *attributes*, which have to be right, with each number in its plain form."""
    return {name: _checked_value(name, value, fifo) for name, value in attributes.items()}


def _changed(shown: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return what is *shown* once attributes are *given*: one way of encryption takes the place of the other.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-server-side-encryption.html
    """
    by_key, by_queue = given.get("KmsMasterKeyId"), given.get("SqsManagedSseEnabled") == "true"
    if by_key and by_queue:
        raise Refused(
            "InvalidAttributeName",
            "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS "
            "SSE.",
        )
    if by_key:
        return {**_KEY_DEFAULTS, **shown, **given, "SqsManagedSseEnabled": "false"}
    return {**shown, **given, **({"KmsMasterKeyId": ""} if by_queue else {})}


def _settings(shown: Mapping[str, str], *, fifo: bool) -> Settings:
    kept = {name: value for name, value in sorted(shown.items()) if value or name not in _REMOVABLE}
    if "KmsMasterKeyId" not in kept:
        kept.pop("KmsDataKeyReusePeriodSeconds", None)
    _check_throughput(kept)
    return Settings(
        shown=kept,
        fifo=fifo,
        delay=int(kept["DelaySeconds"]),
        maximum_message_size=int(kept["MaximumMessageSize"]),
        retention_period=int(kept["MessageRetentionPeriod"]),
        wait_time=int(kept["ReceiveMessageWaitTimeSeconds"]),
        visibility_timeout=int(kept["VisibilityTimeout"]),
        content_based_deduplication=kept.get("ContentBasedDeduplication") == "true",
        deduplication_by_group=kept.get("DeduplicationScope") == "messageGroup",
        redrive=read_redrive(kept["RedrivePolicy"]) if "RedrivePolicy" in kept else None,
    )


def _check_name(name: str, *, fifo: bool) -> None:
    if fifo and not _FIFO_NAME.fullmatch(name):
        raise Refused(
            "InvalidParameterValue",
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end "
            "with .fifo suffix and be 1 to 80 in length.",
        )
    if not fifo and not _NAME.fullmatch(name):
        raise Refused(
            "InvalidParameterValue",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )


def _checked_value(name: str, value: str, fifo: bool) -> str:
    if name in _HIGH_THROUGHPUT and not fifo:
        raise Refused("InvalidAttributeName", f"You can specify the {name} only when FifoQueue is set to true.")
    if name in FIFO_ONLY and not fifo:
        raise Refused("InvalidAttributeName", f"Unknown Attribute {name}.")
    if name in NUMBERS:
        return _checked_number(name, value)
    if name in CHOICES:
        return _checked_choice(name, value)
    if name not in _REMOVABLE:
        raise Refused("InvalidAttributeName", f"Unknown Attribute {name}.")
    return _checked_document(name, value) if value else value


def _checked_number(name: str, value: str) -> str:
    low, high = NUMBERS[name]
    if not is_number(value, low, high):
        raise _invalid(name)
    return str(int(value))


def is_number(text: str, low: int, high: int) -> bool:
    """Tell whether *text* is a whole number from *low* to *high*."""
    # Python reads no number of thousands of digits.
    return text.isascii() and text.isdecimal() and len(text) < 20 and low <= int(text) <= high


def _checked_choice(name: str, value: str) -> str:
    lowered = value.lower() if value.lower() in {"true", "false"} else value
    if name == "FifoQueue" and lowered == "false":
        raise _invalid(name, " Reason: Modifying queue type is not supported.")
    if lowered not in CHOICES[name]:
        raise _invalid(name)
    return lowered


def _checked_document(name: str, value: str) -> str:
    if name == "RedrivePolicy":
        read_redrive(value)
    elif name == "RedriveAllowPolicy":
        _check_allow_policy(value)
    elif name == "Policy":
        _read_object(name, value)
    return value


def _check_allow_policy(text: str) -> None:
    policy = _read_object("RedriveAllowPolicy", text)
    permission, sources = policy.get("redrivePermission"), policy.get("sourceQueueArns")
    if permission not in ("allowAll", "denyAll", "byQueue") or not isinstance(sources, list | None):
        raise _no_allow_policy(text, "It takes redrivePermission, which is allowAll, denyAll or byQueue.")
    if permission != "byQueue" and sources is not None:
        raise _no_allow_policy(
            text, "To specify one or more source queue ARNs, you must set redrivePermission to byQueue."
        )
    if permission == "byQueue" and not sources:
        raise _no_allow_policy(
            text,
            "When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values.",
        )
    if sources is not None and len(sources) > _SOURCES:
        raise _no_allow_policy(text, f"The maximum number of source queue ARNs you can specify is {_SOURCES}.")


def _no_allow_policy(text: str, reason: str) -> Refused:
    return invalid_value(text, "RedriveAllowPolicy", f"Amazon SQS can't create the redrive allow policy. {reason}")


def _check_throughput(shown: Mapping[str, str]) -> None:
    per_group = shown.get("FifoThroughputLimit") == "perMessageGroupId"
    if per_group and shown.get("DeduplicationScope") != "messageGroup":
        raise Refused(
            "InvalidAttributeValue",
            "Invalid value for the parameter FifoThroughputLimit. Reason: perMessageGroupId needs the "
            "DeduplicationScope messageGroup.",
        )


def _read_object(name: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _invalid(name)
    return value


def _invalid(name: str, reason: str = "") -> Refused:
    return Refused("InvalidAttributeValue", f"Invalid value for the parameter {name}.{reason}")
