"""The actions of the core as they come together: in order, with what happened counted and measured beside them."""

from __future__ import annotations

from collections.abc import Iterable

from megaflow.consumer.core.protocol import Action, Measure, Report
from megaflow.messages.message import Message
from megaflow.processing.log_lines import about
from megaflow.telemetry.metrics import Told


class Actions:
    """The actions that the core answers with."""

    def __init__(self) -> None:
        self._actions: list[Action] = []
        self._counts: dict[Told, int] = {}
        self._values: dict[Told, list[float]] = {}

    def add(self, action: Action) -> None:
        """Add an action; they are carried out in this order."""
        self._actions.append(action)

    def count(self, told: Told, amount: int = 1) -> None:
        """Count something that happened, so many times."""
        if amount:
            self._counts[told] = self._counts.get(told, 0) + amount

    def measure(self, told: Told, values: Iterable[float]) -> None:
        """Take note of values that were measured."""
        self._values.setdefault(told, []).extend(values)

    def report(self, level: int, text: str, *values: str | float) -> None:
        """Say something to the people who run this."""
        self.add(Report(level, text, values))

    def report_message(
        self,
        level: int,
        text: str,
        message: Message,
        *values: str | float,
        error: BaseException | None = None,
        **keys: str | float,
    ) -> None:
        """Say something about a message, whose id is the first of the values."""
        self.add(Report(level, text, (message.id, *values), error, about(message, **keys)))

    def take(self) -> list[Action]:
        """Return everything, and begin anew."""
        actions = self._actions
        if self._counts or self._values:
            actions = [Measure(self._counts, self._values), *actions]
            self._counts, self._values = {}, {}
        self._actions = []
        return actions
