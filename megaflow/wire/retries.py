"""Retries of a call, and the waits before them: botocore's ``standard`` mode.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from megaflow.forks import renew_in_child

MAX_ATTEMPTS: Final = 3
TRANSIENT_CODES: Final = frozenset({"RequestTimeout", "RequestTimeoutException", "PriorRequestNotComplete"})
TRANSIENT_STATUSES: Final = frozenset({500, 502, 503, 504})
THROTTLED_CODES: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)

_CAPACITY: Final = 500
_COST: Final = 14
_THROTTLED_COST: Final = 5
_GAIN: Final = 1
_FIRST_WAIT: Final = 0.05
_FIRST_THROTTLED_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 20.0
_LONGEST_ADDED_WAIT: Final = 5.0


@dataclass(frozen=True, slots=True)
class CallFailure:
    """What came of one attempt: a *status* and AWS's *code*, or neither where there was no answer.

    *is_modeled* says that the operation's own description names the code; *parsed* is the whole error.
    """

    status: int = 0
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_modeled: bool = False
    parsed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_throttled(self) -> bool:
        """Whether it says that there were too many requests."""
        return self.code in THROTTLED_CODES or (self.status == 429 and not self.is_modeled)

    @property
    def is_passing(self) -> bool:
        """Whether trying again may help."""
        if not self.status:
            return True
        return self.is_throttled or self.code in TRANSIENT_CODES or self.status in TRANSIENT_STATUSES


class Quota:
    """How much all the calls of a client may spend on trying again; a call that works gives some back."""

    def __init__(self) -> None:
        self._left = _CAPACITY
        self._lock = threading.Lock()
        renew_in_child(self)

    def acquire(self, amount: int) -> bool:
        """Take so much, if there is so much left."""
        with self._lock:
            if amount > self._left:
                return False
            self._left -= amount
            return True

    def release(self, amount: int) -> None:
        """Give so much back, to what it was at most."""
        if self._left == _CAPACITY:
            return
        with self._lock:
            self._left = min(_CAPACITY, self._left + amount)

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self._lock = threading.Lock()


class Retries:
    """How one call is tried: told what came of each attempt, it says whether there is one more."""

    def __init__(
        self, quota: Quota, *, max_attempts: int, is_poll: bool, randomness: Callable[[], float] = random.random
    ) -> None:
        self.attempt = 1
        self._quota = quota
        self._max_attempts = max_attempts
        self._is_poll = is_poll
        self._randomness = randomness
        self._paid = _GAIN
        self._is_short = False

    @property
    def metadata(self) -> dict[str, Any]:
        """What boto3 says of the attempts in its answers and errors."""
        said: dict[str, Any] = {"RetryAttempts": self.attempt - 1}
        if self.attempt >= self._max_attempts:
            said["MaxAttemptsReached"] = True
        if self._is_short:
            said["RetryQuotaReached"] = True
        return said

    def wait_after(self, failure: CallFailure, left: float = math.inf) -> tuple[float, bool]:
        """Return how many seconds to wait, and whether to try again after that, where *left* seconds are left."""
        if self.attempt >= self._max_attempts or not failure.is_passing:
            return 0.0, False
        wait = self._wait_after(failure)
        if wait >= left:
            return 0.0, False
        cost = _THROTTLED_COST if failure.is_throttled else _COST
        if not self._quota.acquire(cost):
            self._is_short = True
            # A poll that ends at once is repeated at once.
            return (wait if self._is_poll else 0.0), False
        self._paid = cost
        self.attempt += 1
        return wait, True

    def note_success(self) -> None:
        """Give back what the last attempt has cost."""
        self._quota.release(self._paid)

    def _wait_after(self, failure: CallFailure) -> float:
        first = _FIRST_THROTTLED_WAIT if failure.is_throttled else _FIRST_WAIT
        wait = self._randomness() * min(first * 2.0 ** (self.attempt - 1), _LONGEST_WAIT)
        return max(wait, min(_read_wait(failure.headers), wait + _LONGEST_ADDED_WAIT))


def _read_wait(headers: Mapping[str, str]) -> float:
    """Return how many seconds the other side asks to wait, 0 where it does not, or not in numbers."""
    try:
        return int(headers.get("x-amz-retry-after", "0")) / 1000
    except (ValueError, OverflowError):
        return 0.0
