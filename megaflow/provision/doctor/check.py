"""Checks and findings: what a check looks for, and what it says where it finds that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from megaflow.provision.doctor.facts import Facts


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Messages are lost, or do not come, or nothing works."""

    WARNING = "warning"
    """It will cost something one day."""

    NOTE = "note"
    """It may well be meant."""


class Symptom(NamedTuple):
    """What a check has found, and of which queue, topic or handler."""

    name: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that is looked for. *find* gives a symptom for each time that it is there."""

    name: str
    severity: Severity
    looks_at: str
    cost: str
    remedy: str
    page: str
    """The page of the docs that says more."""

    find: Callable[[Facts], Iterable[Symptom]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A symptom of an app, and the check that has found it."""

    target: str
    check: Check
    symptom: Symptom

    def as_dict(self) -> dict[str, str]:
        """Return it as the command shows it to programs."""
        return {
            "target": self.target,
            "check": self.check.name,
            "severity": self.check.severity.value,
            "name": self.symptom.name,
            "found": self.symptom.said,
            "cost": self.check.cost,
            "remedy": self.check.remedy,
            "page": self.check.page,
        }


def find_all(facts: Facts, checks: Iterable[Check]) -> Iterator[Finding]:
    """Give what *checks* find in *facts*, in their order."""
    return (Finding(facts.target, check, symptom) for check in checks for symptom in check.find(facts))
