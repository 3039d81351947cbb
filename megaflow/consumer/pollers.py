"""The threads that ask the queue. Each handles what it has brought itself, as long as that is quick."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from megaflow.consumer.calls import poll_of
from megaflow.consumer.words import Event, Inspect, Receive
from megaflow.consumer.workers import GLANCE, Tell


class Pollers:
    """Ask questions, as many at once as there are. *help_out* handles what waits, and returns when it is not quick."""

    def __init__(self, ask: Callable[[Inspect | Receive], Event], tell: Tell, help_out: Callable[[], None]) -> None:
        self._ask = ask
        self._tell = tell
        self._help_out = help_out
        self._questions: SimpleQueue[Inspect | Receive | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._answered = threading.Condition(self._lock)
        self._asking = 0
        self._polls: set[int] = set()
        """The questions whose answers are waited for."""

        self._pollers = 0
        """The threads that are there for them."""

        self._helping: dict[int, float] = {}
        """Those of the threads that handle messages, and since when."""

    def ask(self, question: Inspect | Receive) -> None:
        """Let a thread ask this, a new one where all others are busy with their questions."""
        with self._lock:
            self._asking += 1
            self._polls.add(poll_of(question))
        self._start_missing()
        self._questions.put(question)

    def abandon(self, poll: int) -> None:
        """Wait no longer for a poll: its thread ends with it, or with the process."""
        with self._lock:
            if poll in self._polls:
                self._polls.remove(poll)
                self._pollers -= 1

    def replace_slow(self) -> None:
        """Let other threads ask in place of those that handle something that is not quick after all."""
        latest = time.perf_counter() - GLANCE
        with self._lock:
            for thread in [thread for thread, since in self._helping.items() if since <= latest]:
                del self._helping[thread]
                self._pollers -= 1
        self._start_missing()

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
        while (question := self._questions.get()) is not None:
            event = self._ask(question)
            with self._lock:
                is_wanted = poll_of(question) in self._polls
                self._polls.discard(poll_of(question))
                if is_wanted:
                    self._helping[threading.get_ident()] = time.perf_counter()
            self._tell(event, helps=is_wanted, settles=is_wanted)
            with self._answered:
                self._asking -= 1
                self._answered.notify_all()
            if not is_wanted or not self._help():
                return

    def _help(self) -> bool:
        """Handle what waits, and tell whether this thread is still there for questions."""
        self._help_out()
        with self._lock:
            return self._helping.pop(threading.get_ident(), None) is not None
