"""One call of an account: performed at once, or parked until a message comes; faults on request strike it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from megaflow.local.account import Account
from megaflow.local.fault import BATCHES, FaultKind
from megaflow.local.faults import NO_STRIKE, Strike
from megaflow.local.operations.batches import check_batch
from megaflow.local.operations.messages import MESSAGE_OPERATIONS, wait_time
from megaflow.local.operations.moves import MOVE_OPERATIONS
from megaflow.local.operations.operation import Answer, Ask, Operation
from megaflow.local.operations.queues import QUEUE_OPERATIONS
from megaflow.local.operations.topics import TOPIC_OPERATIONS
from megaflow.local.polls import Poll
from megaflow.local.refused import Refused

SERVICES: Final[Mapping[str, Mapping[str, Operation]]] = {
    "sqs": {**QUEUE_OPERATIONS, **MESSAGE_OPERATIONS, **MOVE_OPERATIONS},
    "sns": TOPIC_OPERATIONS,
}
"""What the account does, by service and operation, in boto3's own words."""


def perform(account: Account, service: str, operation: str, ask: Ask, strike: Strike = NO_STRIKE) -> Answer | Poll:
    """Answer *ask*, or the poll that will: a receive that found nothing and may wait.

    *strike* is what ``account.faults`` says of this call. What it does on the way back is left to the caller, who asks
    it for ``fail_after``, ``seconds`` and ``loses_answer`` once there is an answer.

    Raises:
        Refused: as AWS would.
    """
    function = SERVICES[service][operation]
    if strike.faults:
        strike.fail_before()
        function = _struck(function, operation, strike)
    if operation == "ReceiveMessage":
        return _receive_or_wait(account, function, ask)
    with account.turn():
        return function(account, ask)


def _receive_or_wait(account: Account, function: Operation, ask: Ask) -> Answer | Poll:
    outcome: Answer | Poll = {}
    try:
        with account.turn():
            outcome = function(account, ask)
            seconds = 0.0 if outcome else wait_time(account, ask)
            if seconds > 0:
                outcome = account.park(ask["QueueUrl"], partial(function, account, ask), seconds)
    except BaseException:
        # The turn could not be written down, say: the caller is told so, and waits for nothing.
        if isinstance(outcome, Poll):
            account.leave(outcome)
        raise
    return outcome


def _struck(function: Operation, operation: str, strike: Strike) -> Operation:
    if operation == "ReceiveMessage":
        return partial(_receive, function, strike)
    if operation in BATCHES and strike.has(FaultKind.FAIL_ENTRIES):
        return partial(_perform_batch, function, strike, operation)
    return function


def _receive(function: Operation, strike: Strike, account: Account, ask: Ask) -> Answer:
    queue = account.queue(ask["QueueUrl"]).queue
    if strike.has(FaultKind.REORDER):
        queue.messages.shuffle(strike.random)
    answer = function(account, ask)
    if strike.has(FaultKind.DUPLICATE):
        for message in answer.get("Messages", ()):
            queue.duplicate(message["ReceiptHandle"])
    return answer


def _perform_batch(function: Operation, strike: Strike, operation: str, account: Account, ask: Ask) -> Answer:
    """Perform the entries that do not fail on request, and answer for all."""
    name = BATCHES[operation]
    entries = ask[name]
    if operation != "PublishBatch":
        check_batch(entries, f"{operation}RequestEntry")
    failures = strike.failures(len(entries))
    rest = [entry for place, entry in enumerate(entries) if place not in failures]
    answer = _perform_rest(function, operation, account, {**ask, name: rest})
    if failures:
        failed = [_show_failure(entries[place]["Id"], refused) for place, refused in failures.items()]
        answer["Failed"] = [*answer.get("Failed", ()), *failed]
    return answer


def _perform_rest(function: Operation, operation: str, account: Account, ask: Ask) -> Answer:
    try:
        return function(account, ask)
    except Refused as refused:
        if refused.name != "EmptyBatchRequest":
            raise
        # All fail, and the queue or topic is there: that was looked at first. SNS shows an empty list, SQS does not.
        return {"Successful": []} if operation == "PublishBatch" else {}


def _show_failure(entry_id: str, refused: Refused) -> Answer:
    return {"Id": entry_id, "SenderFault": False, "Code": refused.name, "Message": refused.message}
