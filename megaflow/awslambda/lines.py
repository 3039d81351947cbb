"""Lines: what waits for its turn at handlers of a function that have limits. The consumer's core says whose it is."""

from __future__ import annotations

from typing import Final

from megaflow.consumer.core.held_messages import HeldMessages
from megaflow.consumer.core.protocol import Actions, Resume
from megaflow.consumer.core.turns import Turns


class Lines:
    """The lines, made with the first message that comes to one."""

    def __init__(self, held_messages: HeldMessages, concurrency: int) -> None:
        self._actions = Actions()
        self.turns: Final = Turns(held_messages, self._actions, concurrency)

    def give(self, now: float) -> list[str]:
        """Give the turns that have come, and return the ids of the messages that have them."""
        self.turns.give(now)
        resumed = [action for action in self._actions.take() if isinstance(action, Resume)]
        return [message.id for action in resumed for message in action.messages]
