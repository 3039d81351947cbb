"""Store outages: whether the stores answer, when they are asked again, and the messages that wait for that.

While a store fails, nothing is received and nothing begun: what handlers did could not be remembered. What is in hand
stays there, as to give it back would raise its receive count. A call that failed is made again, without the handlers
before it. Where it fails again and again although the stores are well, the message itself must be the reason.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from megaflow.consumer.core.actions import Actions
from megaflow.consumer.core.held_messages import Held, HeldMessages
from megaflow.consumer.core.protocol import CheckStores, Resume, StoreFailed, StoresChecked
from megaflow.errors import ConfigurationError, text_of

MOST_TRIES: Final = 6
"""Failures of a message's calls, each with the stores found well after it, after which it is not tried again."""


@dataclass(slots=True)
class _Parked:
    """A message at work, whose call to a store has failed so often, and when to make it again."""

    held: Held
    tries: int
    not_before: float


class StoreOutages:
    """Knows whether the stores are well, where *has_stores* says that there are any.

    *pause* is how long to wait after so many checks, or calls of one message, that failed.
    """

    def __init__(
        self, held_messages: HeldMessages, actions: Actions, pause: Callable[[int], float], *, has_stores: bool
    ) -> None:
        self._held_messages = held_messages
        self._actions = actions
        self._pause = pause
        self._parked: dict[str, _Parked] = {}
        self._tries: dict[str, int] = {}
        """How often calls of messages that went on have failed before."""

        self._failures = 0
        """Checks that failed, in a row."""

        self._began_at = 0.0
        self._has_answered = not has_stores
        self.refusal: ConfigurationError | None = None
        """Why nothing will ever be begun: a store was found to be set up wrongly before it was ever found well."""

        self.problem = "the stores have not answered yet" if has_stores else ""
        """Why nothing is to be received or begun; ``""`` where nothing is in the way."""

        self.due_at = -math.inf if has_stores else math.inf
        """When `tend` has something to do again."""

    @property
    def parked(self) -> Mapping[str, object]:
        """The messages that wait for a store, by their ids."""
        return self._parked

    def note(self, told: StoreFailed | StoresChecked, now: float) -> None:
        """Take note that a store has failed, or of what a check has come to."""
        if isinstance(told, StoreFailed):
            held = self._held_messages.running.get(told.message.id)
            if held is not None:
                self._note_failed(held, told.error, now)
            return
        if isinstance(told.error, ConfigurationError) and not self._has_answered:
            self.refusal = told.error
        elif told.error is not None:
            self._note_outage(told.error, now)
        else:
            self._note_well(now)

    def tend(self, now: float) -> None:
        """Check the stores, or go on with the messages whose time has come."""
        if self.problem:
            # The next one follows what this one comes to.
            self._actions.add(CheckStores())
            self.due_at = math.inf
            return
        due = [parked for parked in self._parked.values() if parked.not_before <= now]
        for parked in due:
            del self._parked[parked.held.id]
            self._tries[parked.held.id] = parked.tries
        for failed in (False, True):
            messages = tuple([each.held.message for each in due if (each.tries >= MOST_TRIES) is failed])
            if messages:
                self._actions.add(Resume(messages, failed))
        self.due_at = self._next_at()

    def take_parked(self) -> list[Held]:
        """Take out what waits for a store."""
        parked, self._parked = self._parked, {}
        return [each.held for each in parked.values()]

    def _note_failed(self, held: Held, error: BaseException, now: float) -> None:
        self._actions.count(("failed_store_calls",))
        tries = self._tries.pop(held.id, 0) + 1
        self._parked[held.id] = _Parked(held, tries, now + self._pause(tries))
        self._tries = {each: tries for each, tries in self._tries.items() if each in self._held_messages.running}
        if not self.problem:
            # Until the stores are found well, nobody knows whether it is their fault.
            self.problem, self.due_at = _describe(error), now

    def _note_outage(self, error: BaseException, now: float) -> None:
        self._failures += 1
        self.problem, self.due_at = _describe(error), now + self._pause(self._failures)
        if self._failures == 1:
            self._began_at = now
            text = "nothing is received or begun until the store is well, which is checked again and again: %s"
            self._actions.report(logging.ERROR, text, text_of(error))

    def _note_well(self, now: float) -> None:
        was_out, self._failures = self._failures > 0, 0
        self._has_answered, self.problem = True, ""
        if was_out:
            self._actions.report(logging.WARNING, "the store is well again, after %.0f s", now - self._began_at)
        for parked in self._parked.values() if was_out else ():
            parked.tries, parked.not_before = 0, now
        self.due_at = self._next_at()

    def _next_at(self) -> float:
        return min([parked.not_before for parked in self._parked.values()], default=math.inf)


def _describe(error: BaseException) -> str:
    return f"a store fails, so nothing is received: {text_of(error)}"
