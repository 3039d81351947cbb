"""The queues and topics of one account, by name, URL and ARN; and waiting for a message."""

from __future__ import annotations

import random as random_module
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from megaflow.local.queue import Queue
from megaflow.local.refused import Refused, invalid_value
from megaflow.local.settings import Settings, allows_source, checked, new_settings
from megaflow.local.stored import Received
from megaflow.local.topic import Topic

SETTLING_TIME: Final = 60
"""Seconds between two purges of a queue, and between deleting a queue and creating one of that name.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_PurgeQueue.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteQueue.html
"""

_SHORTEST_WAIT: Final = 0.001


@dataclass(slots=True)
class HostedQueue:
    """A queue with what the account knows of it."""

    name: str
    url: str
    queue: Queue
    changed: threading.Condition
    """Notified when a message may be received; waiting on it lets go of the account's lock."""

    created_at: float
    modified_at: float
    tags: dict[str, str] = field(default_factory=dict)
    purged_at: float | None = None


class Account:
    """SQS and SNS on this machine: the queues and topics of one account in one region.

    *clock* gives seconds since the epoch, *random* makes the ids, *url* is where queue URLs begin. Whoever calls
    anything here holds ``lock``; ``SqsClient`` and ``SnsClient`` do, and may be used from any thread.

    A long poll ends early when a message is sent and when a delay or visibility timeout ends. With a clock of your own,
    call ``wake`` after moving it, so that polls that wait look at it again; a poll also ends once it has waited that
    long for real.

    Example:
        >>> from megaflow.local import Account, SqsClient
        >>> client = SqsClient(Account())
        >>> url = client.create_queue(QueueName="orders")["QueueUrl"]
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        region: str = "us-east-1",
        account_id: str = "000000000000",
        url: str = "http://sqs.localhost",
        random: random_module.Random | None = None,
    ) -> None:
        self.clock = clock
        self.region = region
        self.account_id = account_id
        self.url = url
        self.lock = threading.RLock()
        self.queues: dict[str, HostedQueue] = {}
        self.topics: dict[str, Topic] = {}
        """By ARN."""

        self._random = random or random_module.Random()
        self._deleted_at: dict[str, float] = {}

    def new_id(self) -> str:
        """Return a new UUID."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def wake(self) -> None:
        """Let every long poll look at the clock and its queue again."""
        with self.lock:
            for hosted in self.queues.values():
                hosted.changed.notify_all()

    def arn(self, service: str, name: str) -> str:
        """Return the ARN of a queue (``sqs``) or topic (``sns``) of this account."""
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{name}"

    def create_queue(self, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]) -> HostedQueue:
        """Return the queue of this *name*, made now unless it is there.

        Raises:
            Refused: a wrong name or attribute, a queue of that name with other attributes, or one deleted just now.
        """
        settings = new_settings(name, attributes)
        if name in self.queues:
            self._check_same(self.queues[name], attributes)
            return self.queues[name]
        self._check_not_just_deleted(name)
        self._check_redrive(self.arn("sqs", name), settings)
        self.queues[name] = self._host(name, settings, tags)
        return self.queues[name]

    def delete_queue(self, url: str) -> None:
        """Delete a queue with its messages; a long poll on it ends with an error."""
        hosted = self.queue(url)
        del self.queues[hosted.name]
        self._deleted_at[hosted.name] = self.clock()
        hosted.changed.notify_all()

    def queue(self, url: str) -> HostedQueue:
        """Return the queue of this URL, whatever its host.

        Raises:
            Refused: ``QueueDoesNotExist``
        """
        owner, _, name = url.rpartition("/")
        if owner.rpartition("/")[2] != self.account_id:
            raise _no_queue()
        return self.queue_named(name)

    def queue_named(self, name: str) -> HostedQueue:
        """Return the queue of this name.

        Raises:
            Refused: ``QueueDoesNotExist``
        """
        if name not in self.queues:
            raise _no_queue()
        return self.queues[name]

    def queue_by_arn(self, arn: str) -> HostedQueue | None:
        """Return the queue of this ARN, or None where there is none."""
        hosted = self.queues.get(arn.rpartition(":")[2])
        return hosted if hosted and hosted.queue.arn == arn else None

    def set_attributes(self, url: str, attributes: Mapping[str, str]) -> None:
        """Change attributes of a queue.

        Raises:
            Refused: a wrong attribute, or a dead-letter queue that is missing, of the other type, or not for this one.
        """
        hosted = self.queue(url)
        if "FifoQueue" in attributes and not hosted.queue.settings.fifo:
            raise Refused("InvalidAttributeName", "Unknown Attribute FifoQueue.")
        settings = hosted.queue.settings.with_attributes(attributes)
        if "RedrivePolicy" in attributes:
            self._check_redrive(hosted.queue.arn, settings)
        hosted.queue.settings = settings
        hosted.modified_at = self.clock()
        hosted.changed.notify_all()

    def purge_queue(self, url: str) -> None:
        """Delete all messages of a queue.

        Raises:
            Refused: ``PurgeQueueInProgress``, within 60 seconds of the last purge.
        """
        hosted = self.queue(url)
        now = self.clock()
        if hosted.purged_at is not None and now < hosted.purged_at + SETTLING_TIME:
            raise Refused(
                "PurgeQueueInProgress",
                f"Only one PurgeQueue operation on {hosted.name} is allowed every {SETTLING_TIME} seconds.",
                status=403,
            )
        hosted.purged_at = now
        hosted.queue.purge()

    def sources_of(self, url: str) -> list[HostedQueue]:
        """Return the queues whose dead-letter queue this is, by name."""
        arn = self.queue(url).queue.arn
        sources = [hosted for hosted in self.queues.values() if _dead_letter_arn(hosted.queue.settings) == arn]
        return sorted(sources, key=lambda hosted: hosted.name)

    def receive(
        self,
        url: str,
        count: int,
        *,
        visibility_timeout: int | None = None,
        wait_time: int | None = None,
        attempt_id: str | None = None,
    ) -> list[Received]:
        """Receive up to *count* messages, waiting up to *wait_time* seconds for the first.

        Raises:
            Refused: no such queue (any more), or too many messages in flight.
        """
        wait = self.queue(url).queue.settings.wait_time if wait_time is None else wait_time
        deadline, real_deadline = self.clock() + wait, time.monotonic() + wait
        while True:
            hosted = self.queue(url)
            received = hosted.queue.receive(
                count,
                visibility_timeout=visibility_timeout,
                attempt_id=attempt_id,
                dead_letters=self._dead_letters(hosted.queue.settings),
            )
            left = min(deadline - self.clock(), real_deadline - time.monotonic())
            if received or left <= 0:
                return received
            self._wait(hosted, left)

    def _wait(self, hosted: HostedQueue, seconds: float) -> None:
        change = hosted.queue.next_change()
        until_change = seconds if change is None else change - self.clock()
        hosted.changed.wait(max(min(seconds, until_change), _SHORTEST_WAIT))

    def _host(self, name: str, settings: Settings, tags: Mapping[str, str]) -> HostedQueue:
        changed = threading.Condition(self.lock)
        queue = Queue(self.arn("sqs", name), settings, clock=self.clock, new_id=self.new_id, changed=changed.notify_all)
        now = self.clock()
        return HostedQueue(name, f"{self.url}/{self.account_id}/{name}", queue, changed, now, now, dict(tags))

    def _dead_letters(self, settings: Settings) -> Queue | None:
        arn = _dead_letter_arn(settings)
        target = None if arn is None else self.queue_by_arn(arn)
        return None if target is None else target.queue

    def _check_same(self, hosted: HostedQueue, attributes: Mapping[str, str]) -> None:
        shown = hosted.queue.settings.shown
        for name, value in checked(attributes, fifo=hosted.queue.settings.fifo).items():
            if shown.get(name, "") != value:
                raise Refused(
                    "QueueNameExists",
                    f"A queue already exists with the same name and a different value for attribute {name}",
                )

    def _check_not_just_deleted(self, name: str) -> None:
        deleted_at = self._deleted_at.pop(name, None)
        if deleted_at is not None and self.clock() < deleted_at + SETTLING_TIME:
            self._deleted_at[name] = deleted_at
            raise Refused(
                "QueueDeletedRecently",
                f"You must wait {SETTLING_TIME} seconds after deleting a queue before you can create another with the "
                "same name.",
            )

    def _check_redrive(self, source_arn: str, settings: Settings) -> None:
        if settings.redrive is None:
            return
        policy = settings.shown["RedrivePolicy"]
        target = self.queue_by_arn(settings.redrive.target_arn)
        if target is None:
            raise invalid_value(policy, "RedrivePolicy", "Dead letter target does not exist.")
        if target.queue.settings.fifo != settings.fifo:
            raise invalid_value(policy, "RedrivePolicy", "Dead-letter queue must be same type of queue as the source.")
        allowed = target.queue.settings.shown.get("RedriveAllowPolicy")
        if allowed is not None and not allows_source(allowed, source_arn):
            raise invalid_value(
                policy, "RedrivePolicy", "The dead-letter queue's redrive allow policy does not allow this queue."
            )


def _dead_letter_arn(settings: Settings) -> str | None:
    return settings.redrive.target_arn if settings.redrive else None


def _no_queue() -> Refused:
    return Refused("QueueDoesNotExist", "The specified queue does not exist.")
