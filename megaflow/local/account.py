"""The account: queues and topics by name, URL and ARN, and the lock that lets one caller at a time change them."""

from __future__ import annotations

import random as random_module
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from megaflow.errors import UsageError
from megaflow.forks import renew_in_child
from megaflow.local import aids
from megaflow.local.aws_warnings import Warnings
from megaflow.local.clock import Clock
from megaflow.local.endpoints.posts import Posts
from megaflow.local.faults import Faults
from megaflow.local.hosted_queue import HostedQueue
from megaflow.local.journal import Journal, Touched
from megaflow.local.move_tasks import Moves
from megaflow.local.polls import Poll, Polls
from megaflow.local.queue import LocalQueue
from megaflow.local.refused import no_queue
from megaflow.local.served import Served
from megaflow.local.settings import Settings
from megaflow.local.stored_message import Delivery
from megaflow.local.topic import LocalTopic

_UUID_MASK: Final = 0xF000 << 64 | 0xC000 << 48
_UUID_VERSION: Final = 0x4000 << 64 | 0x8000 << 48


class Account:
    """SQS and SNS on this machine: the queues and topics of one account in one region.

    Use it through `SqsClient` and `SnsClient`, which call its methods within a `turn`. What you need of it are the
    parameters, `faults`, and `wake` after you have moved a clock of your own.

    Args:
        clock: Gives the time, in seconds since the epoch.
        region: The region in its ARNs.
        account_id: The twelve digits in its ARNs.
        url: Where the URLs of its queues begin.
        random: Makes the ids.
        relaxed: Whether a queue can be purged again, and made again after it was deleted, without the 60 seconds in
            between.

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
        relaxed: bool = False,
    ) -> None:
        self.clock = clock
        """Gives the time, in seconds since the epoch."""

        self.region = region
        """The region in its ARNs."""

        self.account_id = account_id
        """The twelve digits in its ARNs."""

        self.url = url
        """Where the URLs of its queues begin."""

        self.relaxed = relaxed
        """Whether the 60 seconds between purges, and after a queue was deleted, need not pass."""

        self.lock = threading.RLock()
        """Held while something changes; `turn` takes it."""

        self.queues: dict[str, HostedQueue] = {}
        """The queues by name."""

        self.topics: dict[str, LocalTopic] = {}
        """By ARN."""

        self.deleted_at: OrderedDict[str, float] = OrderedDict()
        """When queues were deleted that cannot be created again yet, by name, in the order of time."""

        self.moves = Moves(find=self._find, clock=clock, new_id=self.new_id, touched=self._touch_account)
        """The message move tasks."""

        self.posts = Posts(touched=lambda number: self.touched.posts.add(number))
        """What is to be delivered over HTTP."""

        self.served: Served | None = None
        """What the server lends it that is in front of it."""

        self.polls = Polls()
        """The long polls that wait."""

        self.changed = threading.Condition(self.lock)
        """Notified at the end of each turn."""

        self.watchers: set[Callable[[], object]] = set()
        """Called, in any thread, when ``next_alarm`` answers something else than before."""

        self.touched = Touched()
        """What has changed since the journal was last written."""

        self.journal: Journal | None = None
        """Where changes are written down; None keeps everything in memory."""

        self.faults = Faults()
        """The `Faults`: what goes wrong. Set others at any time."""

        self.warnings = Warnings(clock)
        """The `Warnings` of what works here, and would not on AWS."""

        self.owner_of: Callable[[str], Account | None] = lambda arn: self
        """Finds the account that has the queue or topic of an ARN, among those beside this one."""

        self.declared: Callable[[], object] = lambda: None
        """Makes what `declare` was given; called when everything else was forgotten."""

        self._random = random or random_module.Random()
        self._next_number = 1
        self._stirred: set[str] = set()
        self._announced: tuple[float | None, float | None] | None = None
        renew_in_child(self)

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)

    def sibling(self, region: str, account_id: str) -> Account:
        """Return a new account of another number or in another region, with the same lock, clock and watchers."""
        made = Account(
            clock=self.clock,
            region=region,
            account_id=account_id,
            url=self.url,
            random=self._random,
            relaxed=self.relaxed,
        )
        made.lock, made.changed, made.watchers, made.served = self.lock, self.changed, self.watchers, self.served
        return made

    def new_id(self) -> str:
        """Return a new UUID."""
        # What uuid.UUID would make of these bits with version 4, in half the time.
        bits = self._random.getrandbits(128) & ~_UUID_MASK | _UUID_VERSION
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let no other thread change the account within a ``with``. At its end, polls are served."""
        with self.lock:
            try:
                self._pass_time()
                yield
            finally:
                self._finish_turn()

    def wake(self) -> None:
        """Let whoever waits look at the clock again, after you have moved it."""
        with self.turn():
            self._stirred.update(self.queues)
            self._announced = None

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass at once, on a `Clock`.

        Raises:
            UsageError: the account has another clock.
        """
        if not isinstance(self.clock, Clock):
            raise UsageError("only a Clock can be moved: Account(clock=Clock())")
        self.clock.advance(seconds)
        self.wake()

    def reset(self, queue: str | None = None) -> None:
        """Forget everything but what was declared, or the messages of one *queue*: its name or URL.

        Raises:
            UsageError: there is no such queue.
        """
        aids.reset(self, queue)

    def peek(self, queue: str) -> list[aids.PeekedMessage]:
        """Return all messages of a *queue*, its name or URL, in the order of sending, without receiving them.

        Raises:
            UsageError: there is no such queue.
        """
        return aids.peek(self, queue)

    def next_alarm(self) -> float | None:
        """Return when somebody has to take a turn though nobody calls: for those who poll, or for what is moved."""
        polls, moves = self.polls.next_alarm(), self.moves.next_alarm
        if polls is None or moves is None:
            return moves if polls is None else polls
        return min(polls, moves)

    def is_due(self) -> bool:
        """Tell whether it is time to take that turn."""
        alarm = self.next_alarm()
        return alarm is not None and alarm <= self.clock()

    def queue_url(self, name: str) -> str:
        """Return the URL of the queue of this name."""
        return f"{self.url}/{self.account_id}/{name}"

    def arn(self, service: str, name: str) -> str:
        """Return the ARN of a queue (``sqs``) or topic (``sns``) of this account."""
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{name}"

    def touch(self, hosted: HostedQueue) -> None:
        """Note that a queue came, went or is no longer as it was, apart from its messages."""
        self.touched.queues.add((hosted.number, hosted.name))
        self._stirred.add(hosted.name)

    def queue(self, url: str) -> HostedQueue:
        """Return the queue of this URL, whatever its host, or of this name.

        Raises:
            Refused: ``QueueDoesNotExist``
        """
        owner, slash, name = url.rpartition("/")
        if slash and owner.rpartition("/")[2] not in (self.account_id, "queue"):
            raise no_queue()
        return self.queue_named(name)

    def queue_named(self, name: str) -> HostedQueue:
        """Return the queue of this name.

        Raises:
            Refused: ``QueueDoesNotExist``
        """
        if name not in self.queues:
            raise no_queue()
        return self.queues[name]

    def queue_by_arn(self, arn: str) -> HostedQueue | None:
        """Return the queue of this ARN, or None where there is none."""
        hosted = self.queues.get(arn.rpartition(":")[2])
        return hosted if hosted and hosted.queue.arn == arn else None

    def sources_of(self, arn: str) -> list[HostedQueue]:
        """Return the queues whose dead-letter queue this is, by name."""
        sources = [hosted for hosted in self.queues.values() if hosted.queue.settings.dead_letter_arn == arn]
        return sorted(sources, key=lambda hosted: hosted.name)

    def receive(
        self, url: str, count: int, *, visibility_timeout: int | None = None, attempt_id: str | None = None
    ) -> list[Delivery]:
        """Receive up to *count* of the messages that are visible.

        Raises:
            Refused: no such queue (any more), or too many messages in flight.
        """
        queue = self.queue(url).queue
        return queue.receive(
            count,
            visibility_timeout=visibility_timeout,
            attempt_id=attempt_id if queue.settings.fifo else None,
            dead_letters=self._find(queue.settings.dead_letter_arn),
        )

    def park(self, url: str, attempt: Callable[[], dict[str, Any]], seconds: float) -> Poll:
        """Let a receive that found nothing be attempted again whenever a message may have come, for *seconds*."""
        hosted = self.queue(url)
        self._stirred.add(hosted.name)
        return self.polls.park(hosted.name, attempt, seconds=seconds, now=self.clock())

    def leave(self, poll: Poll) -> None:
        """Forget a poll: nobody waits for its answer any more."""
        with self.lock:
            self.polls.leave(poll)

    def _pass_time(self) -> None:
        now = self.clock()
        self.moves.advance(now)
        self._stirred.update(self.polls.due(now))

    def _finish_turn(self) -> None:
        # Who is served may stir another queue: a message goes to its dead-letter queue.
        while self._stirred:
            name = self._stirred.pop()
            self.touched.messages.add(name)
            if name in self.polls:
                self._serve(name)
        try:
            self._write_down()
        except BaseException as error:
            self.polls.fail(error)
            raise
        else:
            self.polls.deliver()
        finally:
            self._announce()

    def _announce(self) -> None:
        self.changed.notify_all()
        alarms = (self.next_alarm(), self.posts.next_alarm())
        if alarms != self._announced:
            self._announced = alarms
            for watch in self.watchers:
                watch()

    def _serve(self, name: str) -> None:
        self.polls.serve(name)
        if name in self.polls:
            self.polls.look_at(name, self.queues[name].queue.messages.next_change())

    def _write_down(self) -> None:
        touched = self.touched
        if self.journal is not None:
            self.journal.write(self, touched)
        for name in touched.messages & self.queues.keys():
            self.queues[name].queue.saved()
        for arn in touched.topics & self.topics.keys():
            self.topics[arn].published.saved()
        self.touched = Touched()

    def host(self, name: str, settings: Settings, *, number: int | None = None) -> HostedQueue:
        """Add a queue, by the *number* it had where it was written down."""
        touched = partial(self._stirred.add, name)
        queue = LocalQueue(self.arn("sqs", name), settings, clock=self.clock, new_id=self.new_id, touched=touched)
        now = self.clock()
        hosted = HostedQueue(number or self._next_number, name, queue, created_at=now, modified_at=now)
        self.queues[name] = hosted
        self._next_number = hosted.number + 1
        return hosted

    def host_topic(self, arn: str, attributes: Mapping[str, str]) -> LocalTopic:
        """Add a topic."""
        topic = self.topics[arn] = LocalTopic(arn, attributes, clock=self.clock, new_id=self.new_id)
        return topic

    def touch_topic(self, topic: LocalTopic) -> None:
        """Note that a topic came or is no longer as it was."""
        self.touched.topics.add(topic.arn)

    def delete_topic(self, arn: str) -> None:
        """Delete a topic with its subscriptions, if it is there."""
        if self.topics.pop(arn, None) is not None:
            self.posts.forget(lambda post: post.topic_arn == arn)
            self.touched.topics.discard(arn)
            self.touched.topics_gone.add(arn)

    def _touch_account(self) -> None:
        self.touched.account = True

    def _find(self, arn: str | None) -> LocalQueue | None:
        hosted = None if arn is None else self.queue_by_arn(arn)
        return None if hosted is None else hosted.queue
