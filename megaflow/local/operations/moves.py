"""Operations on message move tasks.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final

from megaflow.local.account import Account
from megaflow.local.move_tasks import LISTED, RATE, MoveTask, Status
from megaflow.local.operations.operation import Answer, Ask, Operation
from megaflow.local.queue import LocalQueue
from megaflow.local.refused import Refused, invalid_value

_ARN_FORMAT: Final = "arn:<partition>:<service>:<region>:<account-id>:<resource-id>"


def _start_message_move_task(account: Account, ask: Ask) -> Answer:
    source, rate = _queue(account, ask, "SourceArn"), ask.get("MaxNumberOfMessagesPerSecond")
    if not account.sources_of(source.arn):
        raise Refused("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
    if "DestinationArn" in ask:
        _check_destination(source, _queue(account, ask, "DestinationArn"))
    if rate is not None and not 1 <= rate <= RATE:
        raise Refused(
            "InvalidParameterValue",
            "Value for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: You must enter a number that's "
            f"between 1 and {RATE}.",
        )
    task = account.moves.start(source, destination_arn=ask.get("DestinationArn"), rate=rate)
    return {"TaskHandle": _write_handle(task)}


def _cancel_message_move_task(account: Account, ask: Ask) -> Answer:
    source_arn, task_id = _read_handle(ask["TaskHandle"])
    source = _queue(account, {"SourceArn": source_arn}, "SourceArn")
    task = account.moves.cancel(source.arn, task_id)
    return {"ApproximateNumberOfMessagesMoved": task.moved}


def _list_message_move_tasks(account: Account, ask: Ask) -> Answer:
    source, count = _queue(account, ask, "SourceArn"), ask.get("MaxResults", 1)
    if not 1 <= count <= LISTED:
        raise invalid_value(count, "MaxResults", f"Must be between 1 and {LISTED}, if provided.")
    return {"Results": [_show(task) for task in account.moves.of(source.arn)[:count]]}


def _queue(account: Account, ask: Ask, parameter: str) -> LocalQueue:
    arn = ask[parameter]
    if not arn.startswith("arn:") or arn.count(":") != _ARN_FORMAT.count(":"):
        raise Refused("InvalidParameterValue", f"You must use this format to specify the {parameter}: {_ARN_FORMAT}")
    hosted = account.queue_by_arn(arn)
    if hosted is None:
        raise Refused(
            "ResourceNotFoundException",
            f"The resource that you specified for the {parameter} parameter doesn't exist.",
            status=404,
        )
    return hosted.queue


def _check_destination(source: LocalQueue, destination: LocalQueue) -> None:
    if destination is source:
        raise Refused("InvalidParameterValue", "Source queue arn and destination queue arn cannot be the same.")
    if destination.settings.fifo != source.settings.fifo:
        raise Refused("InvalidParameterValue", "The source queue and destination queue must be of the same queue type.")


def _write_handle(task: MoveTask) -> str:
    return b64encode(json.dumps({"taskId": task.id, "sourceArn": task.source_arn}).encode()).decode()


def _read_handle(handle: str) -> tuple[str, str]:
    """Return the ARN of the source and the task's id of a handle."""
    try:
        read = json.loads(b64decode(handle, validate=True))
        return str(read["sourceArn"]), str(read["taskId"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Refused("InvalidParameterValue", "Value for parameter TaskHandle is invalid.") from error


def _show(task: MoveTask) -> Answer:
    known = {
        "TaskHandle": _write_handle(task) if task.status is Status.RUNNING else None,
        "Status": task.status.value,
        "SourceArn": task.source_arn,
        "DestinationArn": task.destination_arn,
        "MaxNumberOfMessagesPerSecond": task.rate,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "FailureReason": task.failure,
        "StartedTimestamp": int(task.started_at * 1000),
    }
    return {name: value for name, value in known.items() if value is not None}


MOVE_OPERATIONS: Final[Mapping[str, Operation]] = {
    "StartMessageMoveTask": _start_message_move_task,
    "CancelMessageMoveTask": _cancel_message_move_task,
    "ListMessageMoveTasks": _list_message_move_tasks,
}
