"""Messages that go straight to a batch: one handler gets them, and nothing is asked or remembered around its call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from megaflow.dispatch.table import Selection
from megaflow.handlers.handler import Handler
from megaflow.messages.message import Message
from megaflow.processing.steps import BatchTurn, Result, Step, Steps, is_lost
from megaflow.processing.verdict import Outcome, Verdict


class Straight:
    """Knows the *handlers* to which messages go straight, where no other one gets them, and the ways on from there.

    *decide* decides about a message by what its handlers have made of it; *begin_anew* gives the steps that any message
    takes, from their beginning.
    """

    def __init__(
        self,
        handlers: Iterable[Handler],
        decide: Callable[[Message, Sequence[Outcome]], Verdict],
        begin_anew: Callable[[Message, Selection], Steps],
    ) -> None:
        self._handlers = frozenset(handlers)
        self.decide = decide
        self.begin_anew = begin_anew

    def find(self, message: Message, selection: Selection) -> StraightToBatch | None:
        """Return the steps of a message that goes straight to a batch; None where it does not."""
        if len(selection.matched) != 1 or selection.raised or selection.matched[0] not in self._handlers:
            return None
        return None if is_lost(message) else StraightToBatch(message, selection.matched[0], self)


class StraightToBatch(Steps):
    """The steps of a message that waits for its batch, and for nothing else: thousands of these may be in hand.

    Where anything comes of its *turn* but what the batch has made of it, it goes on with the steps of any message.
    """

    __slots__ = ("_rest", "_ways", "turn")

    def __init__(self, message: Message, handler: Handler, ways: Straight) -> None:
        self.turn = BatchTurn(handler, message=message)
        self.step: Step | Verdict = self.turn
        self._ways = ways
        self._rest: Steps | None = None

    def take(self, result: Result) -> Step | Verdict:
        """Take what came of the step, and return what comes next."""
        outcome, rest = result.returned, self._rest
        if rest is not None:
            self.step = rest.take(result)
        elif isinstance(outcome, Outcome):
            self.step = self._ways.decide(self.turn.message, (outcome,))
        else:
            rest = self._rest = self._ways.begin_anew(self.turn.message, Selection((self.turn.handler,), {}))
            # A verdict is that its lease is lost by now.
            self.step = rest.step if isinstance(rest.step, Verdict) else rest.take(result)
        return self.step
