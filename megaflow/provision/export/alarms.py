"""Alarms: what of a queue somebody has to be told, by the metrics that SQS has of it.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from megaflow import limits
from megaflow.provision.needs import NeededQueue, Needs

PERIOD: Final = 300
"""Seconds over which a metric is looked at."""

_OLD: Final = 900
"""Seconds after which a message should have been handled. A start: set it to what you promise."""

_PART_OF_LIMIT: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm: the metric's maximum is above *threshold* in so many *periods*, one after another."""

    queue: str
    kind: str
    metric: str
    threshold: int
    periods: int
    description: str


def find_alarms(needs: Needs) -> Iterator[Alarm]:
    """Give the alarms of each queue."""
    for queue in needs.queues:
        if queue.is_consumed:
            yield _age(queue)
            yield _in_flight(queue)
        if queue.sources:
            yield _dead_letters(queue)


def _age(queue: NeededQueue) -> Alarm:
    retention = int(queue.attributes.get("MessageRetentionPeriod", limits.LONGEST_RETENTION))
    threshold = min(_OLD, retention // 2)
    return Alarm(
        queue=queue.name,
        kind="Old",
        metric="ApproximateAgeOfOldestMessage",
        threshold=threshold,
        periods=3,
        description=f"Messages of {queue.name} wait for more than {threshold:,} seconds.",
    )


def _in_flight(queue: NeededQueue) -> Alarm:
    limit = limits.FIFO_IN_FLIGHT if queue.fifo else limits.IN_FLIGHT
    return Alarm(
        queue=queue.name,
        kind="InFlight",
        metric="ApproximateNumberOfMessagesNotVisible",
        threshold=round(limit * _PART_OF_LIMIT),
        periods=1,
        description=f"{queue.name} gives no more messages once {limit:,} are in flight, and is close to that.",
    )


def _dead_letters(queue: NeededQueue) -> Alarm:
    return Alarm(
        queue=queue.name,
        kind="DeadLetters",
        metric="ApproximateNumberOfMessagesVisible",
        threshold=0,
        periods=1,
        description=f"Messages of {', '.join(queue.sources)} have failed for good: they are in {queue.name}.",
    )
