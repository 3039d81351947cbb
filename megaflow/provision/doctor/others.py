"""Other services: what KMS, Lambda and CloudWatch know of a queue, each asked only where that is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from megaflow.provision.doctor.facts import Function, Key
from megaflow.provision.policies import read_statements
from megaflow.provision.refusals import describe_refusal
from megaflow.transport.errors import read_code

_OF_CUSTOMER: Final = "CUSTOMER"
_WOULD_WORK: Final = "DryRunOperation"
"""KMS's error where a dry run has found nothing wrong: https://docs.aws.amazon.com/kms/latest/developerguide/testing-permissions.html"""

_PERIOD: Final = 300
_REPORTS: Final = "ReportBatchItemFailures"
_ON: Final = ("Creating", "Enabling", "Enabled", "Updating")


def read_key(kms: Any, key_id: str) -> Key:
    """Return what KMS shows of a key. Nothing is encrypted: that is a dry run."""
    shown = kms.describe_key(KeyId=key_id)["KeyMetadata"]
    is_own = shown.get("KeyManager") == _OF_CUSTOMER
    # Here an alias would not do.
    policy = kms.get_key_policy(KeyId=shown["KeyId"], PolicyName="default")["Policy"] if is_own else ""
    read_statements(policy)  # one that cannot be read is said here
    return Key(key_id, shown.get("KeyState", ""), policy, _try(kms, key_id) if is_own else "")


def _try(kms: Any, key_id: str) -> str:
    from botocore.exceptions import ClientError

    try:
        kms.generate_data_key(KeyId=key_id, KeySpec="AES_256", DryRun=True)
    except ClientError as error:
        return "" if read_code(error).startswith(_WOULD_WORK) else describe_refusal(error)
    return ""


def read_functions(awslambda: Any, queue_arn: str) -> tuple[Function, ...]:
    """Return the functions that get the messages of a queue.

    https://docs.aws.amazon.com/lambda/latest/api/API_ListEventSourceMappings.html
    """
    return tuple(_read_function(awslambda, each) for each in _list_mappings(awslambda, queue_arn))


def _list_mappings(awslambda: Any, queue_arn: str) -> Iterator[Mapping[str, Any]]:
    asked: dict[str, str] = {}
    while True:
        answer = awslambda.list_event_source_mappings(EventSourceArn=queue_arn, **asked)
        yield from answer.get("EventSourceMappings", ())
        if not answer.get("NextMarker"):
            return
        asked = {"Marker": answer["NextMarker"]}


def _read_function(awslambda: Any, mapping: Mapping[str, Any]) -> Function:
    arn = str(mapping["FunctionArn"])
    shown = awslambda.get_function_configuration(FunctionName=arn)
    return Function(
        str(shown.get("FunctionName", arn)),
        float(shown["Timeout"]),
        float(mapping.get("MaximumBatchingWindowInSeconds") or 0),
        reports_failures=_REPORTS in (mapping.get("FunctionResponseTypes") or ()),
        is_enabled=mapping.get("State", "Enabled") in _ON,
    )


def find_oldest(cloudwatch: Any, queue_name: str, now: float) -> float | None:
    """Return how many seconds ago the oldest message of a queue was sent, None where CloudWatch has no word of it.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    """
    end = datetime.fromtimestamp(now, UTC)
    answer = cloudwatch.get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": queue_name}],
        StartTime=end - timedelta(seconds=4 * _PERIOD),
        EndTime=end,
        Period=_PERIOD,
        Statistics=["Maximum"],
    )
    points = answer.get("Datapoints", ())
    return float(max(points, key=lambda each: each["Timestamp"])["Maximum"]) if points else None
