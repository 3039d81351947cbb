"""Faults on request: calls that fail, lose their answer, come late or twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from random import Random
from threading import Lock
from typing import Any, Final

from megaflow.errors import ConfigurationError
from megaflow.local.fault import ALLOWED, ERRORS, EVERY, Fault, FaultKind
from megaflow.local.refused import Refused


@dataclass(frozen=True, slots=True)
class Strike:
    """The faults that strike one call; whoever carries the call out asks them, on the way there and on the way back."""

    faults: tuple[Fault, ...]
    random: Random
    """For what they leave to chance."""

    def has(self, kind: FaultKind) -> bool:
        """Tell whether a fault of this kind is among them."""
        return any(fault.kind is kind for fault in self.faults)

    def fail_before(self) -> None:
        """Raise ``Refused`` where the call is to have no effect."""
        self._fail(FaultKind.FAIL_BEFORE)

    def fail_after(self) -> None:
        """Raise ``Refused`` where the call took effect and is to fail all the same."""
        self._fail(FaultKind.FAIL_AFTER)

    def failures(self, count: int) -> dict[int, Refused]:
        """Return which of *count* entries fail, by their place, and how; there is at least one entry."""
        return {
            place: _error_of(fault)
            for fault in self.faults
            if fault.kind is FaultKind.FAIL_ENTRIES
            for place in sorted(fault.entries or self._some(count))
            if place < count
        }

    @property
    def seconds(self) -> float:
        """How late the answer is, an error too."""
        return sum(fault.seconds for fault in self.faults)

    @property
    def loses_answer(self) -> bool:
        """Whether the answer never comes, not even an error."""
        return self.has(FaultKind.LOST)

    def _fail(self, kind: FaultKind) -> None:
        for fault in self.faults:
            if fault.kind is kind:
                raise _error_of(fault)

    def _some(self, count: int) -> list[int]:
        return self.random.sample(range(count), self.random.randint(1, count))


NO_STRIKE: Final = Strike((), Random(0))
"""What becomes of most calls."""


@dataclass(slots=True)
class _Aim:
    """A fault, with the calls it has seen and those it has struck."""

    fault: Fault
    seen: int = 0
    struck: int = 0

    def strikes(self, operation: str, target: str, random: Callable[[], float]) -> bool:
        fault = self.fault
        if self.struck == fault.times or not fault.concerns(operation, target):
            return False
        self.seen += 1
        strikes = self.seen > fault.skip and (fault.chance == 1 or random() < fault.chance)
        self.struck += strikes
        return strikes


class Faults:
    """All that goes wrong with the calls of an account: ``account.faults = Faults([...])``, at any time.

    They hold for calls that begin from then on. More than one fault can strike a call. Over HTTP, boto3 itself tries
    again what fails or gets lost, unless its ``Config(retries=...)`` says otherwise.

    Args:
        faults: The faults.
        seed: Decides all that is left to chance, together with how many calls of the same operation came before.

    Example:
        >>> from megaflow.local import Account, Fault, FaultKind, Faults
        >>> account = Account()
        >>> account.faults = Faults([Fault("SendMessage", FaultKind.LOST, skip=2, times=1)])
        >>> account.faults = Faults.by_seed(7, {FaultKind.FAIL_BEFORE: 0.02, FaultKind.DUPLICATE: 0.1})
    """

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int = 0) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise ConfigurationError(f"seed={seed!r} is not allowed: give a whole number")
        self.faults: Final = tuple(faults)
        """The faults."""

        self.seed: Final = seed
        """What decides all that is left to chance."""

        self._aims = [_Aim(fault) for fault in self.faults]
        self._streams: dict[tuple[str, str], Random] = {}
        self._lock = Lock()

    @classmethod
    def by_seed(
        cls, seed: int, rates: Mapping[FaultKind, float], *, seconds: float = 1.0, script: Iterable[Fault] = ()
    ) -> Faults:
        """Return faults that strike any call by these *rates*, from 0 to 1, along with those of a *script*.

        *seconds* is how late slow answers are.
        """
        slow = {FaultKind.SLOW: seconds}
        by_chance = [Fault(EVERY, kind, chance=rate, seconds=slow.get(kind, 0.0)) for kind, rate in rates.items()]
        return cls([*by_chance, *script], seed=seed)

    @classmethod
    def from_json(cls, document: object) -> Faults:
        """Return the faults that a document describes, as ``json.loads`` gives it.

        It has a ``seed`` and a list of ``faults``, each with ``operation``, ``kind`` and any other field of a fault.

        Raises:
            ConfigurationError: where in the document something is wrong, and why.
        """
        members = _read_object(document, "the document", required=(), allowed=("seed", "faults"))
        faults = members.get("faults", [])
        if not isinstance(faults, list):
            raise ConfigurationError(f"faults={faults!r} is not allowed: give a list")
        return cls(
            [_read_fault(raw, f"faults[{place}]") for place, raw in enumerate(faults)], seed=members.get("seed", 0)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the document that describes them, without what is as usual."""
        return {"seed": self.seed, "faults": [_write_fault(fault) for fault in self.faults]}

    @property
    def struck(self) -> tuple[int, ...]:
        """How many calls each of them has struck so far."""
        return tuple(aim.struck for aim in self._aims)

    def strike(self, operation: str, ask: Mapping[str, Any]) -> Strike:
        """Count a call of *operation*, and return what strikes it."""
        return self._strike(operation, _target_of(ask)) if self._aims else NO_STRIKE

    def _strike(self, operation: str, target: str) -> Strike:
        with self._lock:
            struck = tuple(
                aim.fault
                for aim in self._aims
                if aim.strikes(operation, target, self._stream(aim.fault.kind.value, operation))
            )
            return Strike(struck, Random(self._stream("strike", operation)())) if struck else NO_STRIKE

    def _stream(self, purpose: str, operation: str) -> Callable[[], float]:
        # Apart from each other: what one kind does to one operation leaves all else as it was.
        key = (purpose, operation)
        if key not in self._streams:
            self._streams[key] = Random(f"{self.seed} {purpose} {operation}")
        return self._streams[key].random


def _target_of(ask: Mapping[str, Any]) -> str:
    """Return the name of the queue or topic that is asked for, ``""`` where none is."""
    named = (str(ask[key]) for key in ("QueueUrl", "QueueName", "TopicArn", "TargetArn", "Name") if key in ask)
    return next(named, "").replace(":", "/").rpartition("/")[2]


def _error_of(fault: Fault) -> Refused:
    return Refused(fault.error, "This is a fault on request.", status=ERRORS[fault.error])


def _read_fault(raw: object, where: str) -> Fault:
    members = _read_object(raw, where, required=("operation", "kind"), allowed=ALLOWED)
    kinds = {kind.value: kind for kind in FaultKind}
    if isinstance(members["kind"], str):
        members["kind"] = kinds.get(members["kind"], members["kind"])
    if isinstance(members.get("entries"), list):
        members["entries"] = tuple(members["entries"])
    try:
        return Fault(**members)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def _read_object(raw: object, where: str, *, required: Iterable[str], allowed: Iterable[str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{where} is {raw!r}: give an object")
    for name in required:
        if name not in raw:
            raise ConfigurationError(f"{where} lacks {name}")
    for name in raw:
        if name not in allowed:
            raise ConfigurationError(f"{where} has {name!r}, which means nothing: give any of {', '.join(allowed)}")
    return dict(raw)


def _write_fault(fault: Fault) -> dict[str, Any]:
    said = {**asdict(fault), "kind": fault.kind.value, "entries": list(fault.entries)}
    usual = {field.name: field.default for field in fields(fault)} | {"entries": []}
    return {name: value for name, value in said.items() if value != usual[name]}
