"""The threads that ask the queue. Each handles what it has brought itself, as long as that is quick.

What it is to ask next is under way meanwhile, and so is what it settles: no other thread has to be woken for that.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeAlias

from megaflow.consumer.core.protocol import Inspect, Inspected, Receive, Received
from megaflow.consumer.threads.calls import Answered
from megaflow.consumer.threads.workers import GLANCE, Tell
from megaflow.wire.pending import Pending

Question: TypeAlias = Inspect | Receive


@dataclass(slots=True)
class _Helping:
    """A thread that handles messages, since when, and the question that it has under way."""

    since: float
    begun: Pending[Answered] | None = None


class Pollers:
    """Ask questions, as many at once as there are.

    *help_out* handles what waits as long as that is quick, and tells whether something is finished. *before_waiting* is
    called by a thread that is about to wait for an answer.
    """

    def __init__(
        self,
        begin: Callable[[Question], Pending[Answered]],
        tell: Tell,
        *,
        help_out: Callable[[], bool],
        before_waiting: Callable[[], None],
    ) -> None:
        self._begin = begin
        self._tell = tell
        self._help_out = help_out
        self._before_waiting = before_waiting
        self._questions: SimpleQueue[Question | Pending[Answered] | None] = SimpleQueue()
        self._next: deque[Question] = deque()
        """What the thread that tells the core asks itself."""

        self._lock = threading.Lock()
        self._answered = threading.Condition(self._lock)
        self._asking = 0
        self._polls: set[int] = set()
        """The questions whose answers are waited for."""

        self._pollers = 0
        """The threads that are there for them."""

        self._helping: dict[int, _Helping] = {}
        """Those of the threads that handle messages."""

    def ask(self, question: Question) -> None:
        """Let a thread ask this: the one that calls, if it is one of these, else one that is free, or a new one."""
        with self._lock:
            self._asking += 1
            self._polls.add(_poll_of(question))
            asks_itself = threading.get_ident() in self._helping
            if asks_itself:
                self._next.append(question)
        self._start_missing()
        if not asks_itself:
            self._questions.put(question)

    def abandon(self, poll: int) -> None:
        """Wait no longer for a poll: its thread ends with it, or with the process."""
        with self._lock:
            if poll in self._polls:
                self._polls.remove(poll)
                self._pollers -= 1

    def replace_slow(self) -> bool:
        """Let other threads ask in place of those that handle something that is not quick after all; tell of any."""
        latest = time.perf_counter() - GLANCE
        with self._lock:
            slow = [thread for thread, helping in self._helping.items() if helping.since <= latest]
            for thread in slow:
                helping = self._helping.pop(thread)
                self._pollers -= 1
                if helping.begun is not None:
                    self._questions.put(helping.begun)
            if slow:
                self._share_next()
        self._start_missing()
        return bool(slow)

    def wait(self, seconds: float) -> None:
        """Wait at most so long until every question is answered."""
        with self._answered:
            self._answered.wait_for(lambda: self._asking == 0, seconds)

    def close(self) -> None:
        """Let the threads go, as soon as they have their answers."""
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
        begun = self._take_question()
        while begun is not None and (helping := self._bring(begun)) is not None:
            begun = helping.begun or self._take_question()
        self._before_waiting()

    def _take_question(self) -> Pending[Answered] | None:
        self._before_waiting()
        question = self._questions.get()
        return self._begin(question) if isinstance(question, Inspect | Receive) else question

    def _bring(self, begun: Pending[Answered]) -> _Helping | None:
        """Wait for an answer, tell it, and handle what it brought; None is that this thread is not wanted any more."""
        if not begun.is_answered:
            self._before_waiting()
        began = time.perf_counter()
        event = begun.result()
        poll = _poll_of(event)
        if isinstance(event, Received):
            event = Received(event.messages, event.poll, time.perf_counter() - began)
        own = threading.get_ident()
        with self._lock:
            is_wanted = poll in self._polls
            self._polls.discard(poll)
            if is_wanted:
                self._helping[own] = _Helping(time.perf_counter())
        self._tell(event, helps=is_wanted, is_poller=is_wanted)
        with self._answered:
            self._asking -= 1
            self._answered.notify_all()
        if not is_wanted:
            return None
        if isinstance(event, Received) and len(event.messages) > 1:
            # There may be more: the queue looks for it while these are handled.
            self._begin_next()
        # What is finished is told together with the next answer, where that is there already.
        while self._help_out() and not self._has_answer():
            self._tell(None, helps=True, is_poller=True)
        self._begin_next()
        with self._lock:
            return self._helping.pop(own, None)

    def _has_answer(self) -> bool:
        """Tell whether what this thread has begun to ask is answered."""
        with self._lock:
            helping = self._helping.get(threading.get_ident())
        return helping is not None and helping.begun is not None and helping.begun.is_answered

    def _begin_next(self) -> None:
        """Begin to ask what this thread is to ask next, unless another one has taken its place."""
        with self._lock:
            helping = self._helping.get(threading.get_ident())
            if helping is None or helping.begun is not None or not self._next:
                return
            question = self._next.popleft()
            self._share_next()
        begun = self._begin(question)
        with self._lock:
            if self._helping.get(threading.get_ident()) is helping:
                helping.begun = begun
                return
        self._questions.put(begun)

    def _share_next(self) -> None:
        """Let others ask what is to be asked next."""
        while self._next:
            self._questions.put(self._next.popleft())


def _poll_of(told: Question | Answered) -> int:
    """Return the number by which a question, or its answer, is known."""
    return 0 if isinstance(told, Inspect | Inspected) else told.poll
