"""An app as an AWS Lambda function that an SQS queue invokes, with partial batch answers.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

import base64
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from megaflow import limits
from megaflow.consumer.event_loop import EventLoop
from megaflow.consumer.origin import describe_origin
from megaflow.consumer.receives import why_not_kept, why_unhandled
from megaflow.errors import UsageError
from megaflow.message import Message
from megaflow.metrics import Metrics
from megaflow.outgoing import is_fifo
from megaflow.process import Processor
from megaflow.router import Handler
from megaflow.settings import ConsumerSettings
from megaflow.sqs import Queue, SqsClient, is_refusal, read_message
from megaflow.status import Fate
from megaflow.steps import run_step
from megaflow.verdict import Verdict

log = logging.getLogger(__name__)

Lane: TypeAlias = list[Message]
"""Messages that are handled one after another: those of one group of a FIFO queue, or a single one."""

_MARGIN: Final = 1.0
"""Seconds before Lambda's timeout at which the answer is given; at most a fifth of the time that there is."""

_LONGEST: Final = 900.0
"""Seconds that a function may take, where its context does not say.

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""


@dataclass(frozen=True, slots=True)
class _End:
    """What became of a message: it is *done* with, or comes again, perhaps after *pause* seconds."""

    done: bool
    pause: float | None = None


_COMES_AGAIN: Final = _End(done=False)


class LambdaHandler:
    """The function that Lambda calls: ``handler(event, context)``. It keeps between calls what it has learned.

    *connect* gives a client for the URL of a queue; it is asked only where a message is dead-lettered or hidden.
    """

    def __init__(
        self,
        get_processor: Callable[[], Processor],
        settings: ConsumerSettings,
        connect: Callable[[str], SqsClient],
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._get_processor = get_processor
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._event_loop = EventLoop(on_interrupt=_log_interruption)
        self._queues = _Queues(connect, settings.dead_letter_queue_url)

    def __call__(self, event: Any, context: Any = None) -> dict[str, list[dict[str, str]]]:
        """Handle the messages of *event*, and return those that are to come again, as Lambda expects it.

        Raises `UsageError` for an event that no SQS queue sent.
        """
        ends_at = self._clock() + _time_left(context)
        messages = {each.id: each for each in (self._open(record, ends_at) for record in _read_records(event))}
        self._metrics.count("received", len(messages))
        invocation = _Invocation(
            self._get_processor(), self._settings, self._event_loop, self._clock, ends_at, self._settle
        )
        ends = invocation.run(list(messages.values()))
        self._hide([(messages[each], end.pause) for each, end in ends.items() if end.pause is not None])
        failed = [each for each in messages if not ends.get(each, _COMES_AGAIN).done]
        return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}

    def _open(self, record: Mapping[str, Any], ends_at: float) -> Message:
        url = queue_url_of(record["eventSourceARN"])
        return read_message(_as_received(record), url, self._clock(), ends_at, self._clock)

    def _settle(self, verdict: Verdict) -> _End:
        problem = why_unhandled(verdict.message, self._settings.max_receives)
        if not problem:
            self._metrics.count("unmatched" if verdict.unmatched else "handled")
            problem = why_not_kept(verdict, self._settings.max_receives) if verdict.keeps else ""
        if verdict.deletes:
            return _End(done=True)
        if verdict.dead_letters or problem:
            return self._dead_letter(verdict, problem)
        self._metrics.count("kept")
        return _End(done=False, pause=self._read_pause(verdict))

    def _dead_letter(self, verdict: Verdict, problem: str) -> _End:
        message = verdict.message
        try:
            url = self._queues.dead_letter_queue_url(message.queue_url)
            if url:
                self._queues[message.queue_url].send_dead_letter(url, message, describe_origin(verdict, problem))
        except Exception as error:  # noqa: BLE001 - whatever a client raises, the message comes again
            log.error("message %s: kept, as it could not be dead-lettered: %s", message.id, error)
            self._metrics.count("kept")
            return _COMES_AGAIN
        if not url:
            log.error("message %s: no dead-letter queue, so it is deleted: %s", message.id, problem or verdict)
        self._metrics.count("dead_lettered" if url else "dropped")
        return _End(done=True)

    def _read_pause(self, verdict: Verdict) -> float | None:
        try:
            count = verdict.message.receive_count
            seconds = float(self._settings.backoff(count) if verdict.after is None else verdict.after)
        except Exception:
            log.exception("the backoff failed for message %s", verdict.message.id)
            return None
        # The function has had it for a while by now, and the limit counts from when it was received.
        longest = limits.VISIBILITY_TIMEOUT - _LONGEST
        return min(max(0.0, seconds), longest) if math.isfinite(seconds) else None

    def _hide(self, pauses: Sequence[tuple[Message, float]]) -> None:
        by_queue: dict[str, list[tuple[str, float]]] = {}
        for message, seconds in pauses:
            if message.lease is not None and not message.lease.lost:
                by_queue.setdefault(message.queue_url, []).append((message.lease.receipt_handle, seconds))
        for url, handles in by_queue.items():
            for start in range(0, len(handles), limits.BATCH_ENTRIES):
                self._queues.hide(url, handles[start : start + limits.BATCH_ENTRIES])


class _Queues:
    """The queues that messages come from, and what is known of them."""

    def __init__(self, connect: Callable[[str], SqsClient], dead_letter_queue_url: str | None) -> None:
        self._connect = connect
        self._configured = dead_letter_queue_url or ""
        self._lock = threading.Lock()
        self._known: dict[str, Queue] = {}
        self._dead_letters: dict[str, str] = {}
        self._may_hide = True

    def __getitem__(self, url: str) -> Queue:
        """Return the queue at *url*."""
        with self._lock:
            if url not in self._known:
                self._known[url] = Queue(self._connect(url), url)
            return self._known[url]

    def dead_letter_queue_url(self, url: str) -> str:
        """Return the dead-letter queue of the queue at *url*, ``""`` where it has none.

        Raises `UsageError` where that is not known: to delete the message would lose it, and SQS's own redrive takes
        it in the end.
        """
        if self._configured:
            return self._configured
        if url not in self._dead_letters:
            facts = self[url].inspect()
            if facts.problem:
                raise UsageError(f"{facts.problem}; give dead_letter_queue_url=, or let the function's role ask for it")
            self._dead_letters[url] = facts.dead_letter_queue_url
        return self._dead_letters[url]

    def hide(self, url: str, pauses: Sequence[tuple[str, float]]) -> None:
        """Let messages, by receipt handle, be seen again after so many seconds; what is refused is not asked again."""
        if not self._may_hide:
            return
        try:
            failed = self[url].hide(pauses)
        except Exception as error:  # noqa: BLE001 - whatever a client raises, the messages come again
            self._may_hide = not is_refusal(error)
            log.warning("messages come again when their visibility timeout ends, and not as was asked for: %s", error)
            return
        for each in failed:
            log.warning("a message comes again when its visibility timeout ends: %s: %s", each.code, each.reason)


class _Invocation:
    """One call of the function: lanes of messages, each in a thread of its own, until all is done or time is up."""

    def __init__(
        self,
        processor: Processor,
        settings: ConsumerSettings,
        event_loop: EventLoop,
        clock: Callable[[], float],
        ends_at: float,
        settle: Callable[[Verdict], _End],
    ) -> None:
        self._processor = processor
        self._settings = settings
        self._event_loop = event_loop
        self._clock = clock
        self._ends_at = ends_at
        self._settle = settle
        self._changed = threading.Condition()
        self._under_way: dict[int, Lane] = {}
        self._limits: dict[str, float] = {}
        """When the handler of a message is to have returned."""

        self._ends: dict[str, _End] = {}
        self._stopped = False
        """Whether nothing more is begun."""

    def run(self, messages: Sequence[Message]) -> dict[str, _End]:
        """Handle *messages*, and return what became of each; those that are missing come again."""
        lanes = _sort_into_lanes(messages)
        if len(messages) == 1 and all(each.timeout is None for each in self._processor.table.handlers):
            # There is nothing else that it could hold up: no thread is needed.
            self._under_way[id(lanes[0])] = lanes[0]
            self._handle(lanes[0])
            return self._ends
        with self._changed:
            self._run(lanes)
            self._stopped = True
            return dict(self._ends)

    def _run(self, lanes: Iterable[Lane]) -> None:
        waiting = deque(lanes)
        while self._clock() < self._ends_at and (self._under_way or (waiting and not self._stopped)):
            while waiting and not self._stopped and len(self._under_way) < self._settings.concurrency:
                lane = waiting.popleft()
                self._under_way[id(lane)] = lane
                threading.Thread(target=self._handle, args=(lane,), name="megaflow-lambda", daemon=True).start()
            self._changed.wait(max(0.0, min([self._ends_at, *self._limits.values()]) - self._clock()))
            self._give_up_overdue()
        late = sum(each.id not in self._ends for lane in (*self._under_way.values(), *waiting) for each in lane)
        if late and not self._stopped:
            log.warning("%d messages come again: the function's time is up", late)

    def _handle(self, lane: Lane) -> None:
        for message in lane:
            # What follows in its group must not overtake a message that comes again.
            if self._stopped or self._clock() >= self._ends_at or not self._handle_one(lane, message):
                break
        with self._changed:
            self._under_way.pop(id(lane), None)
            self._changed.notify()

    def _handle_one(self, lane: Lane, message: Message) -> bool:
        """Handle a message, and tell whether it is done with."""
        try:
            verdict = self._process(message)
            if self._is_given_up(lane):
                log.warning("message %s: finished after it was given up: %s", message.id, verdict)
                return False
            end = self._settle(verdict)
        except BaseException:
            log.exception("message %s: its handlers could not be run", message.id)
            return False
        if verdict.interruption is not None:
            log.error(
                "message %s: a handler has exited, so nothing more is begun: %r", message.id, verdict.interruption
            )
            self._stopped = True
        with self._changed:
            self._ends[message.id] = end
        return end.done

    def _process(self, message: Message) -> Verdict:
        if why_unhandled(message, self._settings.max_receives):
            return Verdict(message, (), Fate.DEAD_LETTER)
        steps = self._processor.steps(message)
        step = next(steps)
        while not isinstance(step, Verdict):
            step = run_step(steps, step, self._event_loop.wait, self._watch)
        return step

    def _watch(self, message: Message, handler: Handler, seconds: float | None) -> None:
        with self._changed:
            if seconds is None:
                self._limits.pop(message.id, None)
            else:
                self._limits[message.id] = self._clock() + seconds
            self._changed.notify()

    def _give_up_overdue(self) -> None:
        now = self._clock()
        for key, lane in list(self._under_way.items()):
            for message in lane:
                if self._limits.get(message.id, math.inf) <= now:
                    log.error("message %s comes again: its handler has not returned in time", message.id)
                    del self._limits[message.id]
                    del self._under_way[key]

    def _is_given_up(self, lane: Lane) -> bool:
        with self._changed:
            return id(lane) not in self._under_way


def queue_url_of(arn: str) -> str:
    """Return the URL of the queue *arn*; raise `UsageError` where it is none."""
    parts = arn.split(":")
    if len(parts) != 6 or parts[2] != "sqs":
        raise UsageError(f"{arn!r} is not the ARN of an SQS queue")
    _, partition, _, region, account, name = parts
    domain = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return f"https://sqs.{region}.{domain}/{account}/{name}"


def _sort_into_lanes(messages: Iterable[Message]) -> list[Lane]:
    lanes: dict[object, Lane] = {}
    for message in messages:
        ordered = is_fifo(message.queue_url)
        lanes.setdefault((message.queue_url, message.group_id) if ordered else message.id, []).append(message)
    return list(lanes.values())


def _read_records(event: Any) -> list[Mapping[str, Any]]:
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list) or any(not _is_record(each) for each in records):
        found = sorted(event) if isinstance(event, Mapping) else type(event).__name__
        raise UsageError(
            f"this is no event of an SQS queue, which is what the function handles (found {found}): add an SQS trigger "
            "with ReportBatchItemFailures, and let SNS and EventBridge send to that queue"
        )
    return records


def _is_record(record: object) -> bool:
    if not isinstance(record, Mapping) or record.get("eventSource") != "aws:sqs":
        return False
    return all(isinstance(record.get(key), str) for key in ("messageId", "body", "receiptHandle", "eventSourceARN"))


def _as_received(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of Lambda's as ``receive_message`` would have given it."""
    return {
        "MessageId": record["messageId"],
        "ReceiptHandle": record["receiptHandle"],
        "Body": record["body"],
        "Attributes": record.get("attributes") or {},
        "MessageAttributes": {
            name: {
                "DataType": said.get("dataType", "String"),
                "StringValue": said.get("stringValue") or "",
                **({"BinaryValue": base64.b64decode(said["binaryValue"])} if said.get("binaryValue") else {}),
            }
            for name, said in (record.get("messageAttributes") or {}).items()
        },
    }


def _time_left(context: Any) -> float:
    """Return the seconds until the answer has to be given."""
    ask = getattr(context, "get_remaining_time_in_millis", None)
    if ask is None:
        return _LONGEST
    seconds = max(0.0, float(ask()) / 1000)
    return seconds - min(_MARGIN, seconds / 5)


def _log_interruption(error: BaseException) -> None:
    log.error("something that a handler left running has exited: %r", error)
