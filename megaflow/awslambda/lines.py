"""Lines: what waits for its turn at handlers of a function. The consumer's core says whose it is."""

from __future__ import annotations

from megaflow.consumer.core.actions import Actions
from megaflow.consumer.core.circuits import Circuits
from megaflow.consumer.core.held_messages import Held, HeldMessages
from megaflow.consumer.core.protocol import CallBatch, LinedUp, Report, Resume
from megaflow.consumer.core.turns import Turns
from megaflow.logs import get_logger
from megaflow.messages.message import Message
from megaflow.processing.steps import Turn
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.settings import CircuitBreaker

log = get_logger(__name__)


class Lines:
    """The lines, made with the first message that comes to one; *breaker* is the app's."""

    def __init__(self, held_messages: HeldMessages, breaker: CircuitBreaker | None, concurrency: int) -> None:
        self._actions = Actions()
        circuits = Circuits(breaker, self._actions)
        # Nothing comes to a batch but what the event has brought.
        self._turns = Turns(held_messages, circuits, self._actions, concurrency, all_is_there=True)

    @property
    def due_at(self) -> float:
        """When the next turn comes, if no call ends before."""
        return self._turns.due_at

    def is_free(self, turn: Turn) -> bool:
        """Tell whether a message may go on at a turn without being in line. May be asked from any thread."""
        return self._turns.is_free(turn)

    def line_up(self, message: Message, turn: Turn, now: float) -> None:
        """Let a message that is at work wait for its turn."""
        self._turns.line_up(LinedUp((message,), turn.handler, turn.last), now, stopping=True)
        self._report(message)

    def give(self, now: float) -> tuple[list[str], list[CallBatch]]:
        """Give the turns that have come, and return the ids of the messages that have them, and the batches."""
        self._turns.give(now)
        actions = self._actions.take()
        resumed = [action for action in actions if isinstance(action, Resume)]
        batches = [action for action in actions if isinstance(action, CallBatch)]
        return [message.id for action in resumed for message in action.messages], batches

    def take_untried(self) -> list[tuple[Held, str]]:
        """Take out the messages that wait for what is away; return them, and whose circuit breaker is open."""
        return [(held, circuit.owner) for held, circuit in self._turns.take_untried()]

    def take_doomed(self) -> list[Held]:
        """Take out the messages before which one of their group comes again."""
        return self._turns.take_doomed()

    def take_all(self) -> None:
        """Take out all messages in line."""
        self._turns.take_all()

    def note_returned(self, message: Message, now: float) -> None:
        """Note that the handler of a message has returned that not all may be in at once."""
        self._turns.note_returned(message.id, now)

    def note_outcome(self, message: Message, outcome: Outcome, now: float) -> None:
        """Note what a handler has made of a message."""
        self._turns.note_outcome(message.id, outcome, now)
        self._report(message)

    def note_verdict(self, verdict: Verdict, now: float) -> None:
        """Note that all handlers of a message have ended."""
        self._turns.note_verdict(verdict, now)
        self._report(verdict.message)

    def _report(self, message: Message) -> None:
        """Say which circuit breakers a message has opened or closed."""
        for report in self._actions.take():
            if isinstance(report, Report):
                log.log(report.level, report.text, *report.values, extra={"queue": message.queue_url})
