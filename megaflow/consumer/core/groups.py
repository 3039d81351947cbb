"""Message groups of a FIFO queue: what of each is begun and has not ended, in order, and what may join a batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from megaflow.handlers.handler import Handler

if TYPE_CHECKING:
    from megaflow.consumer.core.held_messages import Held


class Groups:
    """Knows what is begun of each group.

    One message of a group is at work at a time, unless all before it are in line for one batch, which it may join.
    """

    def __init__(self) -> None:
        self._begun: dict[str, list[Held]] = {}
        self._joined: dict[str, Handler] = {}
        """For which handler's batch messages are in line, by their ids."""

        self._changed: set[str] = set()
        """Groups of which something has ended, or come into line, and something else is begun."""

        self.doomed: set[str] = set()
        """What is begun and has to be given back, as one before it comes again, by message id."""

    def begin(self, held: Held) -> None:
        """Note that a message is at work."""
        self._begun.setdefault(held.group, []).append(held)

    def join(self, held: Held, handler: Handler) -> None:
        """Note that a message is in line for a batch, which those behind it may have come to before."""
        self._joined[held.id] = handler
        if self._begun.get(held.group, ())[-1:] != [held]:
            self._changed.add(held.group)

    def part(self, held: Held) -> None:
        """Note that a message is in line for no batch any more."""
        self._joined.pop(held.id, None)

    def end(self, held: Held) -> None:
        """Note that a message has ended."""
        self.doomed.discard(held.id)
        begun = self._begun.get(held.group, [])
        if held in begun:
            begun.remove(held)
        if begun:
            self._changed.add(held.group)
        else:
            self._begun.pop(held.group, None)

    def are_open(self, group: str) -> bool:
        """Tell whether the next message of a group may be begun."""
        joined = {self._joined.get(held.id) for held in self._begun.get(group, ())}
        return not joined or (len(joined) == 1 and None not in joined)

    def is_next(self, held: Held) -> bool:
        """Tell whether all that is before this message is in line for the same batch, if there is any."""
        handler = self._joined.get(held.id)
        for each in self._begun.get(held.group, ()):
            if each is held:
                return True
            if handler is None or self._joined.get(each.id) is not handler:
                return False
        return True

    def behind(self, held: Held) -> list[Held]:
        """Return what is begun behind this message; behind one that has ended that is all there is."""
        begun = self._begun.get(held.group, [])
        return begun[begun.index(held) + 1 :] if held in begun else list(begun)

    def doom(self, several: Iterable[Held]) -> None:
        """Let messages be given back as soon as nobody is at work on them."""
        self.doomed.update(held.id for held in several)

    def take_changed(self) -> list[Held]:
        """Return what is begun of the groups that have changed since this was last asked, in order."""
        if not self._changed:
            return []
        changed, self._changed = self._changed, set()
        return [held for group in changed for held in self._begun.get(group, ())]
