"""The record of a `TestClient`: what has become of messages, each as it was received."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from megaflow.consumer.core.protocol import DeadLetter, Delete, Settled
from megaflow.errors import describe_error
from megaflow.messages.message import Message
from megaflow.processing.dead_letters import why_not_kept
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.testing.seen import Handled


@dataclass
class Record:
    """What has become of messages."""

    received: dict[str, Message] = field(default_factory=dict)
    handled: list[Handled] = field(default_factory=list)
    kept: list[Message] = field(default_factory=list)
    deleted: list[Message] = field(default_factory=list)
    dead_lettered: list[Message] = field(default_factory=list)
    became: dict[str, list[str]] = field(default_factory=dict)
    """What became of a message each time, in words."""

    in_line: dict[str, str] = field(default_factory=dict)
    """The handlers at which messages wait for their turn, by name; each at its message's id."""

    _is_dead: set[str] = field(default_factory=set)

    def note_received(self, messages: Sequence[Message]) -> None:
        """Note messages as they are before a handler does something to their payloads."""
        self.received |= {each.id: each.with_own_payload() for each in messages}

    def note_fetched(self, message: Message) -> None:
        """Note a message whose payload lay outside of it, with what it has now, or with why it has none."""
        self.received[message.id] = message.with_own_payload()

    def note_handled(self, message_id: str, outcome: Outcome) -> None:
        """Note what a handler made of a message."""
        message = self.received[message_id].with_own_payload()
        self.handled.append(Handled(outcome.handler.name, message.payload, outcome.status, outcome.error, message))

    def note_verdict(self, verdict: Verdict, max_receives: int | None) -> None:
        """Note what is to become of a message."""
        message = verdict.message
        self._note_end(message, str(verdict), *_describe_errors(verdict))
        is_given_up = message.lease is not None and message.lease.is_given_up
        if verdict.keeps and not is_given_up and not why_not_kept(verdict, max_receives):
            self.kept.append(self.received[message.id])

    def note_settled(self, settled: Settled) -> None:
        """Note what was deleted and dead-lettered."""
        asked = settled.asked
        done = [each for each in asked.messages if each.id not in settled.problems]
        if isinstance(asked, DeadLetter) and done:
            self.dead_lettered += [self.received.get(each.id, each) for each in done]
            self._is_dead.add(asked.message.id)
            if problem := json.loads(asked.origin).get("problem"):
                self._note_end(asked.message, f"dead-lettered: {problem}")
        elif isinstance(asked, Delete):
            gone = [each for each in done if each.id not in self._is_dead]
            self.deleted += [self.received.get(each.id, each) for each in gone]

    def note_moved(self, message_id: str, said: str) -> None:
        """Note a message that is in the dead-letter queue, without the consumer's doing."""
        message = self.received.get(message_id)
        if message is not None and message_id not in self._is_dead:
            self._is_dead.add(message_id)
            self.dead_lettered.append(message)
            self._note_end(message, said)

    def _note_end(self, message: Message, *said: str) -> None:
        self.became.setdefault(message.id, []).extend(said)


def _describe_errors(verdict: Verdict) -> list[str]:
    errors = [(each.handler.name, each.error) for each in verdict.outcomes if each.error is not None]
    return [f"    {name}: {describe_error(error)}" for name, error in errors]
