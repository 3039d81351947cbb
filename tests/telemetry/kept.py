"""A user's own metrics that keep what they are told."""

from __future__ import annotations

from typing import NamedTuple

from megaflow.telemetry.metrics import Labels


class Told(NamedTuple):
    name: str
    value: float
    labels: dict[str, str]


class KeptMetrics:
    """Keeps everything in the order told."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def count(self, name: str, amount: int, labels: Labels) -> None:
        self.told.append(Told(name, amount, dict(labels)))

    def observe(self, name: str, value: float, labels: Labels) -> None:
        self.told.append(Told(name, value, dict(labels)))

    def gauge(self, name: str, value: float, labels: Labels) -> None:
        self.told.append(Told(name, value, dict(labels)))

    def observed(self, name: str, **labels: str) -> list[float]:
        """Return the values told of *name* with these labels, among others."""
        return [each.value for each in self.told if each.name == name and labels.items() <= each.labels.items()]

    def counted(self, name: str, **labels: str) -> int:
        return int(sum(self.observed(name, **labels)))
