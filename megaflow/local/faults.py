"""Faults on request: calls that fail, lose their answer, come late or twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, fields
from enum import Enum
from functools import cache
from math import inf
from random import Random
from threading import Lock
from typing import Any, Final

from megaflow.errors import ConfigurationError
from megaflow.local.refused import Refused
from megaflow.local.shapes import service_model


class FaultKind(Enum):
    """What goes wrong. The values are the words of the JSON document."""

    FAIL_BEFORE = "fail_before"
    """Nothing takes effect, and the answer is ``error``."""

    FAIL_AFTER = "fail_after"
    """It takes effect, and the answer is ``error`` all the same."""

    SLOW = "slow"
    """It takes effect at once, and the answer comes ``seconds`` later."""

    LOST = "lost"
    """It takes effect, and the connection closes without an answer."""

    FAIL_ENTRIES = "fail_entries"
    """Some ``entries`` of a batch fail with ``error``, which the service blames on itself; the others take effect."""

    DUPLICATE = "duplicate"
    """What a receive hands out is handed out once more, by other receipt handles; not by a FIFO queue."""

    REORDER = "reorder"
    """A receive hands out the next messages in random order, which may be those after them; not of a FIFO queue."""


BATCHES: Final[Mapping[str, str]] = {
    "SendMessageBatch": "Entries",
    "DeleteMessageBatch": "Entries",
    "ChangeMessageVisibilityBatch": "Entries",
    "PublishBatch": "PublishBatchRequestEntries",
}
"""The operations with entries, and what boto3 calls these there."""

ERRORS: Final[Mapping[str, int]] = {
    "InternalError": 500,
    "InternalFailure": 500,
    "ServiceUnavailable": 503,
    "ThrottlingException": 400,
    "RequestThrottled": 400,
    "Throttled": 429,
}
"""The errors a fault can answer, and their HTTP status. ``RequestThrottled`` is only SQS's, ``Throttled`` only SNS's.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
"""

_EVERY: Final = "*"
_DAY: Final = 86_400
_USUAL_ERROR: Final = "InternalError"
_FAILING: Final = frozenset({FaultKind.FAIL_BEFORE, FaultKind.FAIL_AFTER, FaultKind.FAIL_ENTRIES})
_ONLY_FOR: Final[Mapping[FaultKind, frozenset[str]]] = {
    FaultKind.FAIL_ENTRIES: frozenset(BATCHES),
    FaultKind.DUPLICATE: frozenset({"ReceiveMessage"}),
    FaultKind.REORDER: frozenset({"ReceiveMessage"}),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, and with which calls. A fault counts the calls that it could strike, and then strikes as it
    says. Raises `ConfigurationError` for a value that is not allowed, or that means nothing for this kind.
    """

    operation: str
    """The operation by AWS's own name, such as ``SendMessageBatch``, or ``*`` for all."""

    kind: FaultKind
    """What goes wrong."""

    _: KW_ONLY
    target: str | None = None
    """The name of the one queue or topic; None is all."""

    skip: int = 0
    """How many calls pass first."""

    times: int | None = None
    """How many calls it strikes; None is without end."""

    chance: float = 1.0
    """With which chance it strikes a call, 0 to 1."""

    seconds: float = 0.0
    """How late the answer is; any kind of fault can have it."""

    error: str = _USUAL_ERROR
    """The error code of the answer, such as ``ServiceUnavailable``."""

    entries: tuple[int, ...] = ()
    """Which places of a batch fail, from 0; where you leave it out, some at random."""

    def __post_init__(self) -> None:
        """Refuse what could never strike, or not as it says."""
        for name, (is_allowed, allowed) in _ALLOWED.items():
            value = getattr(self, name)
            if not is_allowed(value):
                raise ConfigurationError(f"{name}={value!r} is not allowed: give {allowed}")
        _check_together(self)

    def concerns(self, operation: str, target: str) -> bool:
        """Tell whether it can strike calls of *operation* on the queue or topic *target*."""
        if self.target not in (None, target):
            return False
        return self.operation in (_EVERY, operation) and operation in _ONLY_FOR.get(self.kind, {operation})


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
        if not _is_whole(seed, -inf):
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
        by_chance = [Fault(_EVERY, kind, chance=rate, seconds=slow.get(kind, 0.0)) for kind, rate in rates.items()]
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


@cache
def _operations() -> frozenset[str]:
    return frozenset({_EVERY, *service_model("sqs").operation_names, *service_model("sns").operation_names})


def _is_whole(value: object, least: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


_ALLOWED: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "operation": (
        lambda value: isinstance(value, str) and value in _operations(),
        "an operation of SQS or SNS by AWS's own name, such as SendMessageBatch, or *",
    ),
    "target": (
        lambda value: value is None or (isinstance(value, str) and value != ""),
        "the name of a queue or topic, or leave it out for all",
    ),
    "kind": (
        lambda value: isinstance(value, FaultKind),
        f"a FaultKind (in JSON, one of {', '.join(kind.value for kind in FaultKind)})",
    ),
    "skip": (lambda value: _is_whole(value, 0), "a whole number of calls, 0 or more"),
    "times": (
        lambda value: value is None or _is_whole(value, 1),
        "a whole number of calls, 1 or more, or leave it out for no end",
    ),
    "chance": (lambda value: _is_number(value, 1), "a number from 0 to 1"),
    "seconds": (lambda value: _is_number(value, _DAY), f"a number of seconds, from 0 to {_DAY}"),
    "error": (lambda value: isinstance(value, str) and value in ERRORS, f"one of {', '.join(ERRORS)}"),
    "entries": (
        lambda value: isinstance(value, tuple) and all(_is_whole(place, 0) for place in value),
        "places in the batch, from 0, as a tuple (in JSON, a list)",
    ),
}


def _check_together(fault: Fault) -> None:
    word, only_for = fault.kind.value, _ONLY_FOR.get(fault.kind, {fault.operation})
    if fault.operation not in {_EVERY, *only_for}:
        names = ", ".join(sorted(only_for))
        raise ConfigurationError(f"operation={fault.operation!r} cannot have a fault {word}, which is for {names}")
    if fault.kind is FaultKind.SLOW and not fault.seconds:
        raise ConfigurationError("slow needs seconds: say how late the answer is")
    if fault.entries and fault.kind is not FaultKind.FAIL_ENTRIES:
        raise ConfigurationError(f"entries={fault.entries!r} has no meaning for {word}: give it to fail_entries")
    if fault.error != _USUAL_ERROR and fault.kind not in _FAILING:
        names = ", ".join(sorted(kind.value for kind in _FAILING))
        raise ConfigurationError(f"error={fault.error!r} has no meaning for {word}: give it to one of {names}")


def _error_of(fault: Fault) -> Refused:
    return Refused(fault.error, "This is a fault on request.", status=ERRORS[fault.error])


def _read_fault(raw: object, where: str) -> Fault:
    members = _read_object(raw, where, required=("operation", "kind"), allowed=_ALLOWED)
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
