"""A fault: what goes wrong, and with which calls; checked when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from functools import cache
from typing import Any, Final

from megaflow.errors import ConfigurationError
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

EVERY: Final = "*"
"""The operation of a fault that can strike any."""

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
        for name, (is_allowed, allowed) in ALLOWED.items():
            value = getattr(self, name)
            if not is_allowed(value):
                raise ConfigurationError(f"{name}={value!r} is not allowed: give {allowed}")
        _check_together(self)

    def concerns(self, operation: str, target: str) -> bool:
        """Tell whether it can strike calls of *operation* on the queue or topic *target*."""
        if self.target not in (None, target):
            return False
        return self.operation in (EVERY, operation) and operation in _ONLY_FOR.get(self.kind, {operation})


@cache
def _operations() -> frozenset[str]:
    return frozenset({EVERY, *service_model("sqs").operation_names, *service_model("sns").operation_names})


def _is_whole(value: object, least: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


ALLOWED: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
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
"""What the fields of a fault may be: a test, and its words."""


def _check_together(fault: Fault) -> None:
    word, only_for = fault.kind.value, _ONLY_FOR.get(fault.kind, {fault.operation})
    if fault.operation not in {EVERY, *only_for}:
        names = ", ".join(sorted(only_for))
        raise ConfigurationError(f"operation={fault.operation!r} cannot have a fault {word}, which is for {names}")
    if fault.kind is FaultKind.SLOW and not fault.seconds:
        raise ConfigurationError("slow needs seconds: say how late the answer is")
    if fault.entries and fault.kind is not FaultKind.FAIL_ENTRIES:
        raise ConfigurationError(f"entries={fault.entries!r} has no meaning for {word}: give it to fail_entries")
    if fault.error != _USUAL_ERROR and fault.kind not in _FAILING:
        names = ", ".join(sorted(kind.value for kind in _FAILING))
        raise ConfigurationError(f"error={fault.error!r} has no meaning for {word}: give it to one of {names}")
