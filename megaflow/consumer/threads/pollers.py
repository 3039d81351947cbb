"""Pollers: the threads that poll the queue. Each handles itself what it has received, as long as handlers are quick.

Its next poll is under way meanwhile, and so is what it settles: no other thread has to be woken for that.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final, TypeAlias

from megaflow.consumer.core.protocol import AskFailed, Input, Inspect, Inspected, Receive, Received
from megaflow.consumer.threads.caller import Caller
from megaflow.consumer.threads.calls import Answered
from megaflow.errors import UsageError
from megaflow.wire.pending import Pending

Question: TypeAlias = Inspect | Receive

_AT_ONCE: Final = 0.001
"""Seconds: an answer that comes within these is told together with what is finished."""

_SOON: Final = 0.002
"""Seconds that a poller waits for its answer between two looks for others."""

_A_WHILE: Final = 0.1
"""Seconds for which it looks for them."""

_LOOK_AGAIN: Final = 0.002
"""Seconds between two looks at what was abandoned: it ends within one way to the queue and back."""


@dataclass(slots=True)
class _Handling:
    """Since when a poller handles what it has received, and the question that it has under way meanwhile."""

    since: float
    pending: Pending[Answered] | None = None


class Pollers:
    """Ask questions, as many at once as there are; *tell* tells the core, and whether that was not left to others.

    *handle_while_quick* handles what waits as long as handlers are quick, and tells whether something is finished that
    nobody has told. *looks* tells whether there are other answers that a thread looks for as long as it waits a little
    for its own; *before_waiting* is called by one that is about to wait for longer.
    """

    def __init__(
        self,
        begin: Callable[[Question], Pending[Answered]],
        tell: Callable[[Input | None, Caller], bool],
        *,
        handle_while_quick: Callable[[], bool],
        looks: Callable[[], bool],
        before_waiting: Callable[[], None],
    ) -> None:
        self._begin = begin
        self._tell = tell
        self._handle_while_quick = handle_while_quick
        self._looks = looks
        self._before_waiting = before_waiting
        self._questions: SimpleQueue[Question | Pending[Answered] | None] = SimpleQueue()
        self._next: deque[Question] = deque()
        """What a poller that handles asks itself, as soon as it has told the core what it has to tell."""

        self._lock = threading.Lock()
        self._answered = threading.Condition(self._lock)
        self._asking = 0
        self._polls: set[int] = set()
        """The questions whose answers are waited for."""

        # These two without the lock: each step is one.
        self._under_way: dict[int, Pending[Answered]] = {}
        self._abandoned: dict[int, Pending[Answered]] = {}
        """What was under way, and nobody waits for any more, until it has ended."""

        self._pollers = 0
        """The threads that are there for them."""

        self._handling: dict[int, _Handling] = {}
        """Those of the threads that handle messages, and are not replaced."""

    def ask(self, question: Question) -> None:
        """Let a thread ask this: the one that calls, if it is one of these, else one that is free, or a new one."""
        with self._lock:
            self._asking += 1
            self._polls.add(_poll_of(question))
            asks_itself = threading.get_ident() in self._handling
            if asks_itself:
                self._next.append(question)
        self._start_missing()
        if not asks_itself:
            self._questions.put(question)

    def abandon(self, poll: int) -> None:
        """Wait no longer for a poll, and hang up: its thread ends with it, or with the process."""
        with self._lock:
            if poll in self._polls:
                self._polls.remove(poll)
                self._pollers -= 1
        if (pending := self._under_way.get(poll)) is not None:
            self._hang_up(poll, pending)

    def abandon_all(self) -> None:
        """Wait no longer for any poll."""
        for poll in tuple(self._polls):
            self.abandon(poll)

    @property
    def are_hanging_up(self) -> bool:
        """Whether something was abandoned that has not ended yet."""
        return bool(self._abandoned)

    def wait_for_abandoned(self, seconds: float) -> None:
        """Wait at most so long until what was abandoned takes no message any more.

        Not for the threads that have asked: one of them may be the calling one.
        """
        deadline = time.monotonic() + seconds
        while any(not each.is_answered for each in tuple(self._abandoned.values())) and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN)

    def replace_slow(self, seconds: float) -> bool:
        """Let other threads ask in place of those that have handled messages for so long; tell of any."""
        latest = time.perf_counter() - seconds
        with self._lock:
            slow = [thread for thread, handling in self._handling.items() if handling.since <= latest]
            for thread in slow:
                handling = self._handling.pop(thread)
                self._pollers -= 1
                if handling.pending is not None:
                    self._questions.put(handling.pending)
            if slow:
                self._let_others_ask()
        self._start_missing()
        return bool(slow)

    def wait(self, seconds: float) -> None:
        """Wait at most so long until every question is answered."""
        with self._answered:
            self._answered.wait_for(lambda: self._asking == 0, seconds)

    def close(self) -> None:
        """Wait no longer for any poll, and let the threads go, as soon as they have their answers."""
        self.abandon_all()
        # Without the lock: the core has ended, so their number changes no more.
        for _ in range(self._pollers):
            self._questions.put(None)

    def _start_missing(self) -> None:
        while True:
            with self._lock:
                if len(self._polls) <= self._pollers:
                    return
                self._pollers += 1
            threading.Thread(target=self._ask_forever, name="megaflow-poller", daemon=True).start()

    def _ask_forever(self) -> None:
        pending = self._take_question()
        while pending is not None and (handling := self._bring(pending)) is not None:
            pending = handling.pending or self._take_question()
        self._before_waiting()

    def _take_question(self) -> Pending[Answered] | None:
        self._before_waiting()
        question = self._questions.get()
        return self._begin_asking(question) if isinstance(question, Inspect | Receive) else question

    def _begin_asking(self, question: Question) -> Pending[Answered]:
        poll = _poll_of(question)
        if poll not in self._polls:
            return _unasked(poll)
        pending = self._under_way[poll] = self._begin(question)
        if poll not in self._polls:
            # Whoever has abandoned it meanwhile may not have seen it.
            self._hang_up(poll, pending)
        return pending

    def _hang_up(self, poll: int, pending: Pending[Answered]) -> None:
        if pending.is_under_way:
            self._abandoned[poll] = pending
            pending.abandon()
            if poll not in self._under_way:
                # It has ended in the meantime.
                self._abandoned.pop(poll, None)

    def _bring(self, pending: Pending[Answered]) -> _Handling | None:
        """Wait for an answer, tell it, and handle what it brought; None is that this thread is not wanted any more."""
        began = time.perf_counter()
        if pending.is_visible:
            while self._looks() and not pending.is_answered_within(_SOON) and time.perf_counter() - began < _A_WHILE:
                self._tell(None, Caller.WAITING_POLLER)
        if not pending.is_answered:
            self._before_waiting()
        answer = pending.result()
        poll = _poll_of(answer)
        if isinstance(answer, Received):
            answer = Received(answer.messages, answer.poll, time.perf_counter() - began, answer.took)
        own = threading.get_ident()
        with self._lock:
            is_wanted = poll in self._polls
            self._polls.discard(poll)
            if is_wanted:
                self._handling[own] = _Handling(time.perf_counter())
        if is_wanted or not isinstance(answer, AskFailed):
            self._tell(answer, Caller.POLLER if is_wanted else Caller.ABANDONED_POLLER)
        # Not before it is told: whoever stops meanwhile waits for what it has brought.
        self._under_way.pop(poll, None)
        self._abandoned.pop(poll, None)
        with self._answered:
            self._asking -= 1
            self._answered.notify_all()
        if not is_wanted:
            return None
        if isinstance(answer, Received) and len(answer.messages) > 1:
            # There may be more: the queue looks for it while these are handled.
            self._begin_next()
        # What is finished is told together with the next answer, where that is there already.
        # Where another thread tells the core, it tells this as well.
        while self._handle_while_quick() and not self._has_answer() and self._tell(None, Caller.POLLER):
            pass
        self._begin_next()
        with self._lock:
            return self._handling.pop(own, None)

    def _has_answer(self) -> bool:
        """Tell whether what this thread has begun to ask is answered, or is so at once."""
        with self._lock:
            handling = self._handling.get(threading.get_ident())
        # Without the lock: where another thread has taken it over meanwhile, and waits, a look takes nothing from it.
        return handling is not None and handling.pending is not None and handling.pending.is_answered_within(_AT_ONCE)

    def _begin_next(self) -> None:
        """Begin to ask what this thread is to ask next, unless another one has taken its place."""
        with self._lock:
            handling = self._handling.get(threading.get_ident())
            if handling is None or handling.pending is not None or not self._next:
                return
            question = self._next.popleft()
            self._let_others_ask()
        pending = self._begin_asking(question)
        with self._lock:
            if self._handling.get(threading.get_ident()) is handling:
                handling.pending = pending
                return
        self._questions.put(pending)

    def _let_others_ask(self) -> None:
        """Let others ask what is to be asked next."""
        while self._next:
            self._questions.put(self._next.popleft())


def _poll_of(told: Question | Answered) -> int:
    """Return the number by which a question, or its answer, is known."""
    return 0 if isinstance(told, Inspect | Inspected) else told.poll


def _unasked(poll: int) -> Pending[Answered]:
    """Return the answer to what was abandoned before it was asked."""
    error = UsageError("nobody waits for it any more")
    return Pending(lambda: AskFailed(error, refused=False, over_limit=False, poll=poll))
