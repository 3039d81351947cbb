"""A simulated process: the real core, the real handlers' processor, and every action carried out in simulated time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from megaflow.consumer.core.core import Core
from megaflow.consumer.core.protocol import (
    AbandonPoll,
    Action,
    AskFailed,
    CallBatch,
    Called,
    CheckStores,
    DeadLetter,
    Delete,
    Drop,
    Exit,
    Extend,
    Finished,
    GiveUp,
    Hide,
    Input,
    Inspect,
    LinedUp,
    Measure,
    Pause,
    Receive,
    Received,
    Report,
    Resume,
    Settled,
    Settlement,
    Start,
    Stop,
    StoreFailed,
    StoresChecked,
    Tick,
)
from megaflow.consumer.core.stopping import FLUSH_GRACE
from megaflow.consumer.core.store_outages import MOST_TRIES
from megaflow.consumer.threads.calls import ask, settle
from megaflow.consumer.threads.store_checks import check_stores
from megaflow.errors import StoreError
from megaflow.handlers.handler import Handler
from megaflow.limits import BATCH_ENTRIES
from megaflow.messages.message import Message
from megaflow.processing.steps import HandlerCall, Parting, Result, Step, Steps, StoreCall, Turn, lease_lost
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.transport.queue import OpenQueue
from tests.simulation.breakers import OpenTimes
from tests.simulation.faults import Fault, FaultyClient, Observer
from tests.simulation.ledger import Run, Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

_TIMEOUT = 60.0
"""Seconds after which a call that nobody answers fails, as boto3's do."""

_MOST_INPUTS = 20_000
_EXTENSION_PATIENCE = 5.0
_RETRY_WITHIN = 4.0
"""Seconds that a lease must still have, for a failed delete to be tried again for certain."""


class Consumer(Observer):
    """One process. Once it is dead, nothing that it was about to do is done, but what is on the wire may be."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.stopped_at = math.inf
        self.end_by = math.inf
        self._client = FaultyClient(world.sqs, world.random, self)
        self._queue = OpenQueue(self._client, world.url, clock=world.clock)
        self._processor = world.make_processor(self)
        has_stores, randomness = self._processor.remembers, world.random.random
        self.core = Core(
            world.settings,
            fifo=world.fifo,
            has_stores=has_stores,
            has_batches=self._processor.has_batches,
            randomness=randomness,
        )
        self._wake = 0
        self._inputs = 0
        self._running: dict[str, Message] = {}
        self._started_at: dict[str, float] = {}
        self._given_up: dict[int, Message] = {}
        self._unstarted: dict[str, str] = {}
        """Receipt handles of what was received and not started, given back or deleted, with the message's id."""

        self._in_line: dict[str, tuple[Message, Steps]] = {}
        self._turns: defaultdict[str, list[float]] = defaultdict(list)
        """When messages had their turns at each handler."""

        self._open_times: dict[str, OpenTimes] = {}
        """Of the breakers of handlers, by their names, and of that of the app, by ``""``."""

        self._turn_at: dict[str, tuple[Handler, float]] = {}
        """At which handler each message had its last turn, and when."""

        self._is_paused = False
        self._batches: dict[str, CallBatch] = {}
        """The batches that are called, by the id of what stands for each."""

        self._calls: dict[str, Run] = {}
        """The calls under way that are waited for, by message."""

        self._parked: dict[str, tuple[Steps, StoreError]] = {}
        self._has_outage = False
        """Whether it was told that its store fails, and not yet that it is well again."""

        self._failures: dict[str, int] = {}
        """How often calls of a message failed since its store was last found to be out."""

        self._ended: dict[str, str] = {}
        """The handler of each message that has ended for good, and after which its store was not asked yet."""

        self._unsaved: set[tuple[str, str]] = set()
        """Messages and handlers that have ended for good, and whose store failed then."""

        self._under_way: dict[str, tuple[str, float]] = {}
        """The call under way about each message, and since when."""

        self.tell(Tick())

    # What happens to it

    def tell(self, *inputs: Input) -> None:
        if not self.alive:
            return
        self._inputs += 1
        if self._inputs > _MOST_INPUTS:
            raise Violation(f"{self.name} spins")
        for input in inputs:
            if isinstance(input, StoreFailed | StoresChecked):
                self._has_outage = input.error is not None
                if isinstance(input, StoresChecked) and self._has_outage:
                    self._failures.clear()
            if not isinstance(input, Tick):
                self.world.note(self.name, "is told", input)
        for action in self.core.handle_all(inputs, self.world.clock.now):
            if not isinstance(action, Measure):
                self.world.note(self.name, "answers", action)
            self._do(action)
        if self.alive:
            self._set_alarm()

    def stop(self, *, now: bool) -> None:
        if not self.alive:
            return
        grace = 0.0 if now else self.world.settings.shutdown_timeout
        self.stopped_at = min(self.stopped_at, self.world.clock.now)
        self.end_by = min(self.end_by, self.world.clock.now + grace + FLUSH_GRACE + 0.001)
        self.tell(Stop(now))
        self.world.clock.later(self.end_by - self.world.clock.now + 0.001, self._check_ended)

    def pause(self) -> None:
        self._is_paused = True
        self.tell(Pause())

    def resume(self) -> None:
        self._is_paused = False
        self.tell(Pause(is_over=True))

    def kill(self) -> None:
        self.world.note(self.name, "dies", "kill -9")
        self._end()

    def _end(self) -> None:
        self.alive = False
        self.world.ledger.note_death(self.name)

    def _check_ended(self) -> None:
        if self.alive:
            raise Violation(f"{self.name} was told to stop and has not ended in time")

    def _set_alarm(self) -> None:
        wake_at = self.core.wake_at
        now = self.world.clock.now
        if wake_at <= now:
            raise Violation(f"{self.name} wants to be woken in the past")
        self._wake += 1
        wake = self._wake
        if wake_at < math.inf:
            self.world.clock.later(wake_at - now, lambda: self.tell(Tick()) if wake == self._wake else None)

    # What it does

    def _do(self, action: Action) -> None:
        match action:
            case Inspect() | Receive():
                self._ask(action)
            case Start() | CallBatch() | Drop():
                self._begin(action)
            case GiveUp(message):
                self._give_up(message)
            case Extend() | Delete() | Hide() | DeadLetter():
                self._settle(action)
            case Measure(counts) if ("lost_leases",) in counts and not self.world.is_foul:
                raise Violation(f"{self.name} lost a lease, and nothing was wrong")
            case CheckStores() | Resume():
                self._go_on(action)
            case Exit(error):
                self._exit(error)
            case Measure() | Report() | AbandonPoll():
                pass

    def _begin(self, action: Start | CallBatch | Drop) -> None:
        if isinstance(action, CallBatch):
            self._call_batch(action)
            return
        for message in action.messages:
            if isinstance(action, Start):
                self._start(message)
            else:
                del self._in_line[message.id]

    def _give_up(self, message: Message) -> None:
        self._given_up[id(message)] = message
        self._running.pop(message.id)
        self._calls.pop(message.id, None)
        for each in self._messages_of(message):
            self._in_line.pop(each.id, None)
            self.world.ledger.forget_run(self.name, each.id)

    def _exit(self, error: BaseException | None) -> None:
        if error is not None:
            raise Violation(f"{self.name} ends with {error!r}")
        if not self.world.is_foul and self._unstarted:
            raise Violation(f"{self.name} ends and has not given back {', '.join(self._unstarted.values())}")
        self._end()

    def _ask(self, action: Inspect | Receive) -> None:
        if self._has_outage:
            raise Violation(f"{self.name} polls, and its store is out")
        if self._is_paused:
            raise Violation(f"{self.name} polls, and is paused")
        if "" in self._open_times and self._open_times[""].is_open(self.world.clock.now):
            raise Violation(f"{self.name} polls, and the circuit breaker of the app is open")
        seconds = self.world.draw_latency()
        until = self.world.clock.now + (action.wait if isinstance(action, Receive) else 0)
        fault = self._client.draw_fault(self.world.weather)

        def perform() -> None:
            if not self.alive and self.world.random.random() < 0.5:
                return
            input = self._carry_out(fault, lambda: ask(self._queue, action, self.world.settings))
            is_empty = isinstance(input, Received) and not input.messages
            if is_empty and self.alive and self.world.clock.now < until and isinstance(action, Receive):
                self.world.clock.later(0.5 + self.world.random.random(), perform)
            else:
                self._answer(input, is_lost=fault is not Fault.NONE)

        self.world.clock.later(seconds, perform)

    def _settle(self, action: Settlement) -> None:
        ids = [message.id for message in action.messages]
        self._check_call(action, ids)
        fault = self._client.draw_fault(self.world.weather)

        def perform() -> None:
            if not self.alive and self.world.random.random() < 0.5:
                return
            input = self._carry_out(fault, lambda: settle(self._queue, action, self._processor.renew))
            self.world.clock.later(self._answer_time(), lambda: end(input))

        def end(input: Input) -> None:
            for each in ids:
                if self._under_way.get(each, ("", 0.0))[0] == type(action).__name__:
                    del self._under_way[each]
            if isinstance(action, Delete) and isinstance(input, Settled):
                self._expect_retries(input)
            self.tell(input)

        self.world.clock.later(self.world.draw_latency(), perform)

    def _expect_retries(self, settled: Settled) -> None:
        """Note which deletes failed although there is time enough to try them again."""
        for message in settled.asked.messages:
            lease, problem = message.lease, settled.problems.get(message.id)
            remaining = 0.0 if lease is None else lease.expires_at - self.world.clock.now
            if lease is not None and problem is not None and not problem.final and remaining > _RETRY_WITHIN:
                self.world.ledger.note_failed_delete(lease.receipt_handle, message.id)
                self.world.clock.later(remaining, partial(self._check_retried, lease.receipt_handle))

    def _check_call(self, action: Settlement, ids: list[str]) -> None:
        if not 0 < len(set(ids)) == len(ids) <= BATCH_ENTRIES:
            raise Violation(f"{self.name}: a batch of {ids}")
        now, kind = self.world.clock.now, type(action).__name__
        for message in action.messages:
            lease = message.lease
            if lease is None or lease.is_refused or (isinstance(action, Delete) and lease.is_over(now)):
                raise Violation(f"{message.id}: {kind} with a receipt handle that is known to be stale")
            if isinstance(action, DeadLetter):
                continue  # to send a copy changes nothing about the lease
            other, since = self._under_way.get(message.id, ("", 0.0))
            is_given_up = other == "Extend" and now - since >= _EXTENSION_PATIENCE
            # One that was hidden may be delivered again before its consumer knows that it was hidden.
            has_come_again = lease.received_at >= since
            if other and not is_given_up and not has_come_again:
                raise Violation(f"{message.id}: {kind} while {other} is under way")
            self._under_way[message.id] = (kind, now)
            if isinstance(action, Hide) and message.id in self._in_line and self.stopped_at == math.inf:
                raise Violation(f"{message.id}: given away by {self.name} while it is in line")
            is_running = self.world.ledger.is_running(self.name, message.id)
            if isinstance(action, Hide) and is_running and self.stopped_at == math.inf:
                raise Violation(f"{message.id}: given away by {self.name} while its handler is at work")

    def _carry_out(self, fault: Fault, call: Callable[[], Input]) -> Input:
        self._client.fault = fault
        input = call()
        # Whatever a client raises, the consumer lives on: not so with this.
        if self.world.ledger.violation is not None:
            raise self.world.ledger.violation
        return input

    def _answer(self, input: Input, *, is_lost: bool) -> None:
        if isinstance(input, AskFailed) and is_lost:
            self.world.clock.later(self._answer_time(), lambda: self.tell(input))
        else:
            self.tell(input)

    def _answer_time(self) -> float:
        if self.world.random.random() < self.world.weather.hangs:
            return _TIMEOUT
        return self.world.draw_latency()

    # Handlers

    def _start(self, message: Message) -> None:
        assert message.lease is not None
        if self._has_outage:
            raise Violation(f"{message.id}: started by {self.name}, and its store is out")
        self._unstarted.pop(message.lease.receipt_handle, None)
        if message.id in self._running or message.id in self._in_line:
            raise Violation(f"{message.id}: started twice in {self.name}")
        self.world.check_turn(self.name, message.id)
        self._run(message)
        self._started_at[message.id] = self.world.clock.now
        steps = self._processor.steps(message)
        self._advance(message, steps, steps.step)

    def _run(self, message: Message) -> None:
        self._running[message.id] = message
        if len(self._running) > self.world.settings.concurrency:
            raise Violation(f"{self.name}: more handlers than concurrency allows")

    def _advance(self, message: Message, steps: Steps, step: Step | Verdict) -> None:
        if not self.alive:
            return
        if isinstance(step, Verdict):
            self._finish(message, step)
        elif isinstance(step, StoreCall):
            self.world.clock.later(self.world.draw_latency() / 10, lambda: self._ask_store(message, steps, step))
        elif isinstance(step, Turn):
            self._line_up(message, steps, step)
        elif isinstance(step, Parting):
            self._part(message)
        else:
            self._call(message, steps, step)

    def _line_up(self, message: Message, steps: Steps, turn: Turn) -> None:
        if id(message) in self._given_up:
            return
        if turn.last is not None:
            self._note_outcome(message, turn.last)
        self._in_line[message.id] = self._running.pop(message.id), steps
        self.tell(LinedUp((message,), turn.handler, turn.last))

    def _call_batch(self, action: CallBatch) -> None:
        """Call a handler with messages in line, in the place of one."""
        if self._has_outage:
            raise Violation(f"{self.name} calls a batch, and its store is out")
        most = action.handler.options.batch_size
        if most is None or not 0 < len(action.messages) <= most:
            raise Violation(f"{self.name}: a batch of {len(action.messages)} for {action.handler.name}")
        self._run(action.batch)
        self._batches[action.batch.id] = action
        self._note_turn(action.batch, action.handler)
        several = [self._in_line[message.id][1] for message in action.messages]
        steps = self._processor.batch_steps(action.batch, action.handler, several)
        step = steps.take(Result())
        self.world.clock.later(0.0, lambda: self._advance(action.batch, steps, step))

    def _part(self, batch: Message) -> None:
        """Let each message of a batch go on, to its verdict or another line."""
        if id(batch) in self._given_up:
            return
        del self._running[batch.id]
        verdicts, lined_up = [], []
        action = self._batches.pop(batch.id)
        for message in action.messages:
            step = self._in_line[message.id][1].step
            if isinstance(step, Verdict):
                del self._in_line[message.id]
                verdicts.append(step)
                self.world.ledger.note_verdict(self.name, message.id, step.fate)
            elif isinstance(step, Turn):
                lined_up.append(LinedUp([message], step.handler, step.last))
        ends = [each for verdict in verdicts for each in verdict.outcomes if each.handler is action.handler]
        tried = [each.last for each in lined_up if each.last is not None and each.last.handler is action.handler]
        times = self._open_times_of(action.handler)
        told = [*(each for each in ends if each.error is None), *tried]
        telling = (each for each in told if times is not None and times.is_told_by(each))
        if (outcome := next(telling, None)) is not None:
            self._note_outcome(batch, outcome)
        # Together: what became of the call is known before the next one begins.
        self.tell(*([Finished(verdicts)] if verdicts else []), *_join(lined_up))

    def _messages_of(self, message: Message) -> tuple[Message, ...]:
        """Return the messages of a batch, or the one that it is."""
        batch = self._batches.get(message.id)
        return (message,) if batch is None else batch.messages

    def _finish(self, message: Message, verdict: Verdict) -> None:
        if id(message) in self._given_up:
            return
        del self._running[message.id]
        for outcome in verdict.outcomes:
            if outcome.error is None:
                self._note_outcome(message, outcome)
        self.world.ledger.note_verdict(self.name, message.id, verdict.fate)
        self.tell(Finished((verdict,)))

    def _ask_store(self, message: Message, steps: Steps, step: StoreCall) -> None:
        if not self.alive:
            return
        fault = self._client.draw_fault(self.world.weather)
        try:
            if fault is Fault.FAILS:
                raise StoreError("simulated: it fails")
            said = step.run()
            if fault is Fault.ANSWER_LOST:
                raise StoreError("simulated: its answer is lost")
        except StoreError as error:
            self._park(message, steps, error)
        else:
            self._unsaved.discard((message.id, self._ended.pop(message.id, "")))
            self._advance(message, steps, steps.take(Result(said)))

    def _park(self, message: Message, steps: Steps, error: StoreError) -> None:
        if id(message) in self._given_up:
            return
        self._parked[message.id] = steps, error
        self._failures[message.id] = self._failures.get(message.id, 0) + 1
        if message.id in self._ended:
            self._unsaved.add((message.id, self._ended[message.id]))
        self.tell(StoreFailed(message, error))

    def _go_on(self, action: CheckStores | Resume) -> None:
        if isinstance(action, CheckStores):
            self.world.clock.later(self.world.draw_latency(), self._check_stores)
            return
        for message in action.messages:
            self._resume(message, failed=action.failed)

    def _resume(self, message: Message, *, failed: bool) -> None:
        if self._has_outage:
            raise Violation(f"{message.id}: {self.name} goes on with it, and its store is out")
        if message.id in self._in_line:
            _, steps = self._in_line.pop(message.id)
            self._run(message)
            if not failed:
                assert isinstance(steps.step, Turn)
                self._note_turn(message, steps.step.handler)
            step = steps.take(Result(error=lease_lost() if failed else None))
        else:
            steps, error = self._parked.pop(message.id)
            step = steps.step
            if failed:
                if self._failures.pop(message.id, 0) >= MOST_TRIES:
                    self._unsaved = {each for each in self._unsaved if each[0] != message.id}
                step = steps.take(Result(error=error))
        self.world.clock.later(0.0, partial(self._advance, message, steps, step))

    def _note_outcome(self, message: Message, outcome: Outcome) -> None:
        handler, began_at = self._turn_at.get(message.id, (None, 0.0))
        if handler is outcome.handler:
            del self._turn_at[message.id]
            if (times := self._open_times_of(handler)) is not None:
                times.note(handler, outcome, began_at, self.world.clock.now)

    def _open_times_of(self, handler: Handler) -> OpenTimes | None:
        breaker = handler.options.breaker or self.world.settings.breaker
        owner = handler.name if handler.options.breaker else ""
        return None if breaker is None else self._open_times.setdefault(owner, OpenTimes(breaker))

    def _note_turn(self, message: Message, handler: Handler | None) -> None:
        if handler is None:
            return
        rate, now = handler.options.rate, self.world.clock.now
        times = self._open_times_of(handler)
        if times is not None and times.is_open(now):
            raise Violation(f"{message.id}: {handler.name} is called by {self.name}, and its circuit breaker is open")
        self._turn_at[message.id] = handler, now
        turns = self._turns[handler.name]
        turns.append(now)
        if rate is not None and sum(now < turn + rate.seconds for turn in turns) > rate.calls:
            raise Violation(f"{self.name}: more than {rate} calls of {handler.name} begin")

    def _check_stores(self) -> None:
        if self.alive:
            self.tell(check_stores(self._processor.check_stores))

    def _call(self, message: Message, steps: Steps, step: HandlerCall) -> None:
        handler = step.handler
        if handler.options.takes_batches:
            self._call_together(message, steps, handler, [each.id for each in step.message.payload])
            return
        run = Run(self.name, message.id, handler.name)
        if id(message) not in self._given_up:
            self.world.ledger.note_start(run, self._started_at[message.id])
        if (message.id, handler.name) in self._unsaved:
            raise Violation(f"{message.id}: {handler.name} has finished it, and is called again instead of its store")
        self._ended.pop(message.id, None)
        self.world.note(self.name, "calls", f"{handler.name} with {message.id}")
        self._note_call(message, handler, run)
        plan = self.world.draw_plan(handler, message.id)
        if handler.options.timeout is not None:
            self.tell(Called(message, handler, handler.options.timeout))

        def end() -> None:
            if not self.alive:
                return
            self.world.ledger.note_end(run, plan.status)
            if self._calls.get(message.id) is run:
                del self._calls[message.id]
            if not plan.status.keeps:
                self._ended[message.id] = handler.name
            if handler.options.timeout is not None or handler.options.max_concurrency is not None:
                self.tell(Called(message, handler, None))
            self.world.note(self.name, "ends", f"{handler.name} with {message.id}: {plan.said!r}")
            said = plan.said
            result = Result(error=said) if isinstance(said, Exception) else Result(said)
            self._advance(message, steps, steps.take(result))

        self.world.clock.later(plan.seconds, end)

    def _call_together(self, batch: Message, steps: Steps, handler: Handler, ids: Sequence[str]) -> None:
        runs = [Run(self.name, each, handler.name) for each in ids]
        if id(batch) not in self._given_up:
            # What the handler has ended before is in the batch, and it is not called with that once more.
            ended = [each.id for each in self._messages_of(batch) if self.world.ledger.has_ended(each.id, handler.name)]
            for place, run in enumerate(runs):
                self.world.ledger.note_start(run, self._started_at[run.message], together=[*ids[:place], *ended])
        self.world.note(self.name, "calls", f"{handler.name} with {', '.join(ids)}")
        self._note_call(batch, handler, Run(self.name, batch.id, handler.name))
        plan = self.world.draw_batch_plan(handler, ids)
        if handler.options.timeout is not None:
            self.tell(Called(batch, handler, handler.options.timeout))

        def end() -> None:
            if not self.alive:
                return
            for run, status in zip(runs, plan.statuses, strict=True):
                self.world.ledger.note_end(run, status)
            if id(batch) not in self._given_up:
                self._calls.pop(batch.id, None)
            if handler.options.timeout is not None or handler.options.max_concurrency is not None:
                self.tell(Called(batch, handler, None))
            self.world.note(self.name, "ends", f"{handler.name} with {', '.join(ids)}: {plan.said!r}")
            said = plan.said
            result = Result(error=said) if isinstance(said, Exception) else Result(said)
            self._advance(batch, steps, steps.take(result))

        self.world.clock.later(plan.seconds, end)

    def _note_call(self, message: Message, handler: Handler, run: Run) -> None:
        if id(message) not in self._given_up:
            self._calls[message.id] = run
        most = handler.options.max_concurrency
        if most is not None and sum(each.handler == handler.name for each in self._calls.values()) > most:
            raise Violation(f"{self.name}: more than {most} calls of {handler.name} at once")

    # What takes effect in the queue

    def is_unlucky(self, operation: str, entry: Mapping[str, Any]) -> bool:
        return self.world.is_unlucky(self.world.handles[entry["ReceiptHandle"]], operation)

    def note_received(self, answer: Mapping[str, Any]) -> None:
        for raw in answer.get("Messages", ()):
            self.world.handles[raw["ReceiptHandle"]] = self._unstarted[raw["ReceiptHandle"]] = raw["MessageId"]
            self.world.holders[raw["MessageId"]] = self.name

    def note_dead_letter(self, parameters: Mapping[str, Any]) -> None:
        message = self.world.ids[parameters["MessageBody"]]
        self.world.ledger.note_dead_letter(message)

    def note_delete_tried(self, parameters: Mapping[str, Any]) -> None:
        for entry in parameters["Entries"]:
            self.world.ledger.note_delete_tried(self.world.handles[entry["ReceiptHandle"]])

    def note_deleted(self, entry: Mapping[str, Any]) -> None:
        self._unstarted.pop(entry["ReceiptHandle"], None)
        self.world.note_deleted(self.name, entry["ReceiptHandle"])

    def _check_retried(self, receipt_handle: str) -> None:
        if self._is_well:
            self.world.ledger.check_retried(receipt_handle)

    @property
    def _is_well(self) -> bool:
        return self.alive and self.stopped_at == math.inf

    def note_hidden(self, entry: Mapping[str, Any]) -> None:
        if entry["VisibilityTimeout"] == 0:
            self._unstarted.pop(entry["ReceiptHandle"], None)


def _join(lined_up: Sequence[LinedUp]) -> list[LinedUp]:
    """Return the same with those together that have come to the same turn, one after another."""
    joined: list[LinedUp] = []
    for each in lined_up:
        if joined and joined[-1].handler is each.handler and joined[-1].last is each.last is None:
            each = LinedUp([*joined.pop().messages, *each.messages], each.handler)
        joined.append(each)
    return joined
