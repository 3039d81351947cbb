"""`LambdaHandler`: the function that Lambda calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from megaflow import limits
from megaflow.awslambda.event_loops import EventLoops
from megaflow.awslambda.invocation import COMES_AGAIN, End, Invocation
from megaflow.awslambda.queues import DeadLetterTarget, Queues
from megaflow.awslambda.records import open_record, read_records
from megaflow.awslambda.store_watch import StoreWatch
from megaflow.awslambda.works import Works
from megaflow.errors import RegistrationError, UsageError, text_of
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.logs import get_logger
from megaflow.messages.message import Message
from megaflow.processing.dead_letters import (
    describe_end,
    describe_origin,
    has_room_for_origin,
    why_not_kept,
    why_too_large,
    why_unhandled,
)
from megaflow.processing.groups import group_of
from megaflow.processing.log_lines import about
from megaflow.processing.measuring import measure_ages, measure_verdicts
from megaflow.processing.pauses import Pauses
from megaflow.processing.processor import Processor
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.settings import ConsumerSettings
from megaflow.telemetry.outlets import Outlets
from megaflow.telemetry.tracing import NO_TRACING, Tracing
from megaflow.transport.addresses import name_of
from megaflow.transport.errors import is_refused_message
from megaflow.transport.protocols import ClientSource

log = get_logger(__name__)

_MARGIN: Final = 1.0
"""Seconds before Lambda's timeout at which nothing is waited for any more; at most a fifth of the time there is."""

_LONGEST: Final = 900.0
"""Seconds that a function may take, where its context does not say.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""


class LambdaHandler:
    """The function that Lambda calls: ``handler(event, context)``. `App.lambda_handler` makes it.

    It keeps between calls what it has learned about the queue, and when handlers with a ``rate`` were called. Making
    one raises `ConfigurationError` where the dead-letter queue is in another region than you gave.
    """

    def __init__(
        self,
        get_processor: Callable[[], Processor],
        settings: ConsumerSettings,
        clients: ClientSource,
        outlets: Outlets,
        *,
        tracing: Tracing = NO_TRACING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # As a function has them: what wraps functions asks.
        self.__name__ = self.__qualname__ = "lambda_handler"
        self._get_processor = get_processor
        self._settings = settings
        self._outlets = outlets
        self._pauses = Pauses(settings.backoff, _report)
        self._clock = clock
        self._event_loops = EventLoops()
        self._tracing = tracing
        self._queues = Queues(clients, settings.dead_letter_queue_url, clock, tracing)
        self._stores = StoreWatch(lambda: get_processor().check_stores())
        self._works = Works(settings.concurrency, settings.breaker)
        self._has_started = False

    def __call__(self, event: Any, context: Any = None) -> dict[str, list[dict[str, str]]]:
        """Handle the messages of *event*, and return those that are to come again, as Lambda expects it.

        Where this raises, all messages come again.

        Raises:
            UsageError: No SQS queue sent the event.
            RegistrationError: No handler is registered, or one of them cannot work.
            ConfigurationError: The dead-letter queue is the queue itself, the queue is in another region than you gave,
                or a store cannot be opened or written.
        """
        records = read_records(event)
        begin, left = self._clock(), _time_left(context)
        killed_at, ends_at = begin + left, begin + left - min(_MARGIN, left / 5)
        messages = self._open(records, killed_at)
        self._outlets.look()
        for message in messages.values():
            self._count(message, "received")
        processor = self._check(messages)
        invocation = Invocation(
            processor,
            self._settings,
            self._event_loops,
            self._stores,
            self._clock,
            ends_at,
            self._works,
            self._settle,
            self._give_up,
            self._keep,
        )
        ends = invocation.run(list(messages.values())) if self._stores.are_well() else {}
        self._hide(messages, ends, killed_at)
        failed = [each["messageId"] for each in records if not ends.get(each["messageId"], COMES_AGAIN).done]
        return {"batchItemFailures": [{"itemIdentifier": each} for each in dict.fromkeys(failed)]}

    def _open(self, records: Sequence[Mapping[str, Any]], expires_at: float) -> dict[str, Message]:
        """Return the messages by their ids; one that cannot be read comes again, and in the end is SQS's to redrive."""
        messages = {}
        for record in records:
            try:
                message = open_record(record, expires_at, self._clock)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one is no reason to lose the others
                text, message_id = "message %s comes again: it cannot be read: %s", str(record["messageId"])
                log.error(text, message_id, text_of(error), extra={"message_id": message_id})
            else:
                messages[message.id] = message
        if spans := self._tracing.look():
            spans.note_invocation(messages.values())
        return messages

    def _check(self, messages: Mapping[str, Message]) -> Processor:
        processor = self._get_processor()
        if not processor.table.handlers:
            raise RegistrationError("no handler is registered, so every message would be unmatched: register one first")
        if not self._has_started:
            self._has_started = True
            processor.log_start()
        for url in {message.queue_url for message in messages.values()}:
            self._queues.check(url)
        return processor

    def _settle(self, verdict: Verdict) -> End:
        problem = why_unhandled(verdict.message, self._settings.max_receives)
        if not problem:
            if verdict.failure is None:
                self._count(verdict.message, "unmatched" if verdict.unmatched else "handled")
            problem = why_not_kept(verdict, self._settings.max_receives)
            self._measure(verdict)
        if verdict.deletes:
            self._count(verdict.message, "ended", "deleted")
            return End(done=True)
        if verdict.dead_letters or problem:
            return self._dead_letter(verdict, problem)
        return self._keep(verdict.message, verdict.outcomes)

    def _give_up(self, message: Message, handler: Handler) -> End:
        self._count(message, "timed_out")
        return self._keep(message, (Outcome(handler, ProcessStatus.RETRIABLE_ERROR),))

    def _keep(self, message: Message, outcomes: Iterable[Outcome] = ()) -> End:
        self._count(message, "ended", "kept")
        return End(done=False, pause=self._read_pause(message, outcomes))

    def _dead_letter(self, verdict: Verdict, problem: str) -> End:
        message = verdict.message
        try:
            to = self._queues.dead_letter_queue(message.queue_url)
            if to.url:
                origin = describe_origin(verdict, problem, with_texts=self._settings.records_error_texts)
                self._send(to, message, origin)
        except Exception as error:  # noqa: BLE001 - whatever a client raises, the message comes again
            text = "message %s: kept, as it could not be dead-lettered: %s"
            log.error(text, message.id, text_of(error), extra=about(message))
            self._count(message, "not_dead_lettered")
            return self._keep(message)
        if end := describe_end(verdict, problem, is_dropped=not to.url):
            log.log(end.level, end.text, message.id, end.said, exc_info=end.error, extra=about(message, **end.keys))
        self._count(message, "ended", "dead-lettered" if to.url else "dropped")
        return End(done=True)

    def _count(self, message: Message, *told: str) -> None:
        self._outlets.note(name_of(message.queue_url), {told: 1})

    def _measure(self, verdict: Verdict) -> None:
        if self._outlets.are_told_all:
            message, began = verdict.message, time.time() - verdict.seconds
            values = {("message_age",): measure_ages((message,), began), **measure_verdicts((verdict,))}
            self._outlets.note(name_of(message.queue_url), {}, values)

    def _send(self, to: DeadLetterTarget, message: Message, origin: str) -> None:
        """Dead-letter a message, without its origin where there is no room for it; raise where it cannot go at all."""
        if reason := why_too_large(message, to.size_limit):
            raise UsageError(f"{reason}; the queue's redrive policy moves it in the end, where it has one")
        queue, has_room = self._queues[message.queue_url], has_room_for_origin(message, origin, to.size_limit)
        try:
            queue.send_dead_letter(to.url, message, origin if has_room else "")
        except Exception as error:
            if not (has_room and is_refused_message(error)):
                raise
            queue.send_dead_letter(to.url, message, "")

    def _read_pause(self, message: Message, outcomes: Iterable[Outcome]) -> float | None:
        seconds = self._pauses.choose(message, outcomes)
        # The function has had it for a while by now, and the limit counts from when it was received.
        return None if seconds is None else min(max(0.0, seconds), limits.VISIBILITY_TIMEOUT - _LONGEST)

    def _hide(self, messages: Mapping[str, Message], ends: Mapping[str, End], killed_at: float) -> None:
        """Let what comes again do so when it is to, and what follows it in its group right after it."""
        pauses = {each: end.pause for each, end in ends.items() if end.pause is not None}
        heads = {group_of(messages[each]) for each in pauses}
        followers = [
            each for each, message in messages.items() if each not in ends and group_of(message) in heads - {None}
        ]
        seconds = [(messages[each], pause) for each, pause in {**pauses, **dict.fromkeys(followers, 0.0)}.items()]
        if not seconds:
            return
        # An answer that is late is none: everything would come again.
        hiding = threading.Thread(target=self._queues.hide, args=(seconds,), name="megaflow-lambda", daemon=True)
        hiding.start()
        hiding.join(max(0.0, (killed_at - self._clock()) / 2))


def _report(text: str, message: Message, *values: str | float, error: Exception, **keys: str) -> None:
    log.error(text, message.id, *values, exc_info=error, extra=about(message, **keys))


def _time_left(context: Any) -> float:
    """Return the seconds until Lambda ends the function."""
    ask = getattr(context, "get_remaining_time_in_millis", None)
    return _LONGEST if ask is None else max(0.0, float(ask()) / 1000)
