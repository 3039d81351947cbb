"""The queue: sending, receiving, deleting and hiding messages, and dead-lettering those received too often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from megaflow.limits import IN_FLIGHT, VISIBILITY_TIMEOUT
from megaflow.local.content import Content
from megaflow.local.messages import Messages
from megaflow.local.receipts import Receipt, read_receipt, write_receipt
from megaflow.local.recent import Recent
from megaflow.local.refused import Refused, invalid_value, missing, no_deduplication_id
from megaflow.local.settings import Settings
from megaflow.local.stored_message import Attempt, Delivery, SentMessage, Stored


class LocalQueue:
    """One queue as plain data, with the *clock* it is given.

    Not safe for threads: whoever owns it takes turns. *touched* is called whenever anything but time changes the queue.
    """

    def __init__(
        self,
        arn: str,
        settings: Settings,
        *,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        touched: Callable[[], object] = lambda: None,
    ) -> None:
        self.messages = Messages(settings, clock=clock, touched=touched)
        self.arn = arn
        self.id = new_id()
        """In every receipt handle."""

        self.sent: Recent[SentMessage] = Recent()
        self.attempts: Recent[tuple[Attempt, ...]] = Recent()
        self._new_id = new_id

    @property
    def settings(self) -> Settings:
        """Its attributes, as SQS has them."""
        return self.messages.settings

    @settings.setter
    def settings(self, to: Settings) -> None:
        self.messages.settings = to

    def send(
        self,
        content: Content,
        *,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        delay: int | None = None,
    ) -> SentMessage:
        """Take a message in and return it; on a FIFO queue, the first one of the last five minutes with the same id.

        Raises:
            Refused: the content is too large, or a FIFO queue lacks an id it needs.
        """
        now = self.messages.pass_time()
        self._check_size(content)
        if not self.settings.fifo:
            message = SentMessage(self._new_id(), content, now, group_id)
            self.messages.add(message, now=now, delay=self.settings.delay if delay is None else delay)
            return message
        return self._send_in_order(content, group_id, deduplication_id, now)

    def counts(self) -> dict[str, int]:
        """Count the messages by what SQS calls the three states."""
        return self.messages.counts()

    def receive(
        self,
        count: int,
        *,
        visibility_timeout: int | None = None,
        attempt_id: str | None = None,
        dead_letters: LocalQueue | None = None,
    ) -> list[Delivery]:
        """Hand out up to *count* messages and hide them for *visibility_timeout* seconds.

        A message that was received as often as the redrive policy allows goes to *dead_letters* instead.

        Raises:
            Refused: ``OverLimit``, too many messages of a standard queue are in flight.
        """
        now = self.messages.pass_time()
        visible_at = now + (self.settings.visibility_timeout if visibility_timeout is None else visibility_timeout)
        handed_out = self._attempted(attempt_id, now) or self._take(self._room(count), dead_letters)
        for stored in handed_out:
            self._hide(stored, visible_at, now)
        if attempt_id is not None and handed_out:
            attempts = tuple(Attempt(stored.number, stored.received_here, visible_at) for stored in handed_out)
            self.attempts.remember(attempt_id, attempts, now)
        return [self._picture(stored) for stored in handed_out]

    def delete(self, receipt_handle: str) -> None:
        """Delete the message of this handle.

        On a standard queue a handle of an earlier receive will do; on a FIFO queue one that expired is refused.
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html

        Raises:
            Refused: the handle is not of this queue, or expired on a FIFO queue.
        """
        self.messages.pass_time()
        receipt = self._read(receipt_handle)
        stored = self.messages.find(receipt.number)
        if stored is None:
            return
        if self.settings.fifo and not self._is_in_flight(stored, receipt):
            raise invalid_value(receipt_handle, "ReceiptHandle", "The receipt handle has expired.")
        self.messages.delete(receipt.number)

    def change_visibility(self, receipt_handle: str, timeout: int) -> None:
        """Hide the message of this handle for *timeout* seconds from now.

        On a standard queue a handle of an earlier receive will do, and so will one whose time is over.
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html

        Raises:
            Refused: the handle is not of this queue, the message is gone, or the total since it was received would be
                more than 12 hours; on a FIFO queue, the handle is not the latest, or the message can be seen.
        """
        now = self.messages.pass_time()
        receipt = self._read(receipt_handle)
        stored = self.messages.find(receipt.number)
        if stored is None or (self.settings.fifo and stored.received_here != receipt.serial):
            raise invalid_value(
                receipt_handle,
                "ReceiptHandle",
                "Message does not exist or is not available for visibility timeout change.",
            )
        if self.settings.fifo and not self._is_in_flight(stored, receipt):
            raise Refused("MessageNotInflight", "The specified message isn't in flight.")
        if now + timeout > stored.received_at + VISIBILITY_TIMEOUT:
            raise invalid_value(
                timeout,
                "VisibilityTimeout",
                f"Total VisibilityTimeout for the message is beyond the limit [{VISIBILITY_TIMEOUT} seconds]",
            )
        self.messages.hide_again(stored, now + timeout)

    def take_in(self, stored: Stored, source_arn: str) -> None:
        """Take over a message from *source_arn*, as its dead-letter queue.

        A FIFO queue counts its age from now, and its id takes the place of its deduplication id; a standard queue
        counts from when it was first sent.
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
        """
        now, message = self.messages.pass_time(), stored.message
        if self.settings.fifo:
            moved = self.messages.add(replace(message, deduplication_id=message.id), now=now, delay=0)
        else:
            moved = self.messages.add(message, now=message.sent_at, delay=0)
        moved.receive_count = stored.receive_count
        moved.first_received_at = stored.first_received_at
        moved.source_arn = source_arn
        self.messages.touch(moved.number)

    def take_back(self, stored: Stored) -> None:
        """Take in what comes out of a dead-letter queue, as a message that was sent now.

        AWS does not say what deduplication makes of it; here it finds no duplicate, for a message would be lost.
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html

        Raises:
            Refused: the content is too large.
        """
        now, message = self.messages.pass_time(), stored.message
        self._check_size(message.content)
        self.messages.add(replace(message, id=self._new_id(), sent_at=now), now=now, delay=self.settings.delay)

    def hand_over(self, deliver: Callable[[Stored], object]) -> bool:
        """Let *deliver* have the next message for good; tell whether one was waiting.

        Raises:
            Refused: from *deliver*; the message stays.
        """
        self.messages.pass_time()
        stored = next(self.messages.take(), None)
        if stored is None:
            return False
        try:
            deliver(stored)
        except Refused:
            self.messages.put_back(stored)
            raise
        self.messages.delete_taken(stored)
        return True

    def purge(self) -> None:
        """Delete all messages, those in flight too, and forget what was sent of late."""
        self.messages.purge()
        self.sent.clear()
        self.attempts.clear()

    def saved(self) -> None:
        """Note that all is written down."""
        self.messages.saved()
        self.sent.saved()
        self.attempts.saved()

    def duplicate(self, receipt_handle: str) -> None:
        """Let the message of this handle be received once more, as a copy that missed this receive; not on FIFO.

        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/standard-queues-at-least-once-delivery.html
        """
        if self.settings.fifo:
            return
        stored = self.messages[self._read(receipt_handle).number]
        copy = self.messages.add(stored.message, now=stored.message.sent_at, delay=0)
        copy.receive_count, copy.received_here = stored.receive_count - 1, stored.received_here - 1
        copy.first_received_at = stored.first_received_at if copy.receive_count else None
        copy.source_arn = stored.source_arn
        self.messages.touch(copy.number)

    def _check_size(self, content: Content) -> None:
        if content.size > self.settings.maximum_message_size:
            raise Refused(
                "InvalidParameterValue",
                "One or more parameters are invalid. Reason: Message must be shorter than "
                f"{self.settings.maximum_message_size} bytes.",
            )

    def _send_in_order(self, content: Content, group_id: str | None, given_id: str | None, now: float) -> SentMessage:
        if group_id is None:
            raise missing("MessageGroupId")
        deduplication_id = given_id or self._id_by_content(content)
        key = (group_id if self.settings.deduplication_by_group else None, deduplication_id)
        first = self.sent.find(key, now)
        if first is not None:
            return first
        message = SentMessage(self._new_id(), content, now, group_id, deduplication_id)
        added = self.messages.add(message, now=now, delay=self.settings.delay).message
        # Only what is answered is kept: the body may be gone long before.
        self.sent.remember(key, replace(added, content=Content("")), now)
        return added

    def _id_by_content(self, content: Content) -> str:
        if not self.settings.content_based_deduplication:
            raise no_deduplication_id()
        return sha256(content.body.encode()).hexdigest()

    def _room(self, count: int) -> int:
        room = IN_FLIGHT - self.messages.count_in_flight()
        if room <= 0 and not self.settings.fifo:
            raise Refused("OverLimit", f"{IN_FLIGHT} messages of the queue are in flight, which is the limit.")
        return min(count, room)

    def _take(self, count: int, dead_letters: LocalQueue | None) -> list[Stored]:
        taken: list[Stored] = []
        waiting = self.messages.take()
        while len(taken) < count and (stored := next(waiting, None)) is not None:
            if dead_letters is not None and self._exhausted(stored):
                self.messages.delete_taken(stored)
                dead_letters.take_in(stored, self.arn)
            else:
                taken.append(stored)
        return taken

    def _exhausted(self, stored: Stored) -> bool:
        redrive = self.settings.redrive
        return redrive is not None and stored.received_here >= redrive.max_receive_count

    def _hide(self, stored: Stored, visible_at: float, now: float) -> None:
        if self.messages.visible_at(stored.number) is None:
            stored.receive_count += 1
            stored.received_here += 1
            stored.received_at = now
            stored.first_received_at = now if stored.first_received_at is None else stored.first_received_at
        self.messages.hide(stored, visible_at)

    def _picture(self, stored: Stored) -> Delivery:
        return Delivery(
            message=stored.message,
            receipt_handle=write_receipt(Receipt(self.id, stored.number, stored.received_here)),
            receive_count=stored.receive_count,
            first_received_at=stored.received_at if stored.first_received_at is None else stored.first_received_at,
            source_arn=stored.source_arn,
        )

    def _attempted(self, attempt_id: str | None, now: float) -> list[Stored]:
        """Return the messages this attempt was answered, unless one of them was changed since.

        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
        """
        attempts = self.attempts.find(attempt_id, now) or ()
        return [self.messages[one.number] for one in attempts] if all(map(self._is_unchanged, attempts)) else []

    def _is_unchanged(self, attempt: Attempt) -> bool:
        if self.messages.visible_at(attempt.number) != attempt.visible_at:
            return False
        return self.messages[attempt.number].received_here == attempt.serial

    def _is_in_flight(self, stored: Stored, receipt: Receipt) -> bool:
        """Tell whether the message is in flight, and by this receipt."""
        return stored.received_here == receipt.serial and self.messages.visible_at(stored.number) is not None

    def _read(self, receipt_handle: str) -> Receipt:
        receipt = read_receipt(receipt_handle)
        if receipt.queue_id != self.id or not 0 < receipt.number < self.messages.next_number:
            raise Refused(
                "ReceiptHandleIsInvalid",
                f'The receipt handle "{receipt_handle}" is not valid for this queue.',
                status=404,
            )
        return receipt
