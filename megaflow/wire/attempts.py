"""The attempts of one call: its request is sent as often as it takes, and its answer may be waited for later."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from megaflow.wire.answers import WireOperation
from megaflow.wire.connections import ConnectError, Connections, SentRequest
from megaflow.wire.http import BrokenAnswerError, HttpAnswer
from megaflow.wire.pending import Pending
from megaflow.wire.requests import Requests, encode_binary, read_deadline
from megaflow.wire.retries import CallFailure, Quota, Retries
from megaflow.wire.sockets import translate_error

_LONGEST_POLL: Final = 20
_POLL_GRACE: Final = 5.0
"""Seconds beyond its wait that a long poll has to answer."""

_VERSION_BITS: Final = 0xF << 76 | 0x3 << 62
_VERSION_4: Final = 0x4 << 76 | 0x2 << 62
"""https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-4"""

_encode: Final = json.JSONEncoder(default=encode_binary).encode


@dataclass(frozen=True, slots=True)
class Line:
    """What the calls of one client share."""

    requests: Requests
    connections: Connections
    endpoint_url: str
    read_timeout: float
    max_attempts: int
    patience: float
    quota: Quota
    sleep: Callable[[float], None]


class Attempts:
    """The attempts of one call, until *until* by the monotonic clock. For one thread at a time."""

    def __init__(
        self, line: Line, operation: WireOperation, parameters: Mapping[str, Any], until: float = math.inf
    ) -> None:
        self._line = line
        self._operation = operation
        self._body = _encode(parameters).encode()
        self._id = _make_id()
        self._timeout = _timeout_for(operation, parameters, line.read_timeout)
        # A poll that hangs is given up by whoever has asked.
        self._until = until if operation.is_poll else min(until, time.monotonic() + line.patience)
        self._retries = Retries(line.quota, max_attempts=line.max_attempts, is_poll=operation.is_poll)
        self._begun: SentRequest | None = None
        """What was sent first: whoever abandons the call knows it."""

    def begin(self) -> Pending[Mapping[str, Any]]:
        """Send the request, once; its result is the answer, as boto3 would give it, or raises botocore's own errors.

        To come to it takes as many attempts as boto3 would take.
        """
        sent = self._send("")
        self._begun = sent if isinstance(sent, SentRequest) else None
        return Pending(partial(self._finish, sent), self._begun)

    def _finish(self, sent: SentRequest | Exception) -> Mapping[str, Any]:
        line, retries = self._line, self._retries
        while True:
            answer = self._receive(sent)
            if not isinstance(answer, Exception) and answer.status < 300:
                retries.note_success()
                return self._operation.read(answer, retries.metadata)
            failure = CallFailure() if isinstance(answer, Exception) else self._operation.read_failure(answer)
            wait, again = 0.0, False
            if not (self._begun and self._begun.is_abandoned):
                wait, again = retries.wait_after(failure, self._until - time.monotonic())
            if wait:
                line.sleep(wait)
            if not again:
                lost = answer if isinstance(answer, Exception) else None
                raise lost or self._operation.make_error(failure, retries.metadata)
            sent = self._send(read_deadline(failure.headers, line.read_timeout))
            if self._begun and isinstance(sent, SentRequest):
                self._begun.go_on_over(sent.connection)

    def _send(self, deadline: str) -> SentRequest | Exception:
        line = self._line
        trial = f"{deadline}attempt={self._retries.attempt}; max={line.max_attempts}"
        request = line.requests.write(self._operation.target, self._body, self._id, trial)
        try:
            return line.connections.send(request, self._timeout, self._until)
        except (ConnectError, OSError) as error:
            return translate_error(error, line.endpoint_url)

    def _receive(self, sent: SentRequest | Exception) -> HttpAnswer | Exception:
        if isinstance(sent, Exception):
            return sent
        try:
            return self._line.connections.receive(sent)
        except (ConnectError, BrokenAnswerError, OSError) as error:
            return translate_error(error, self._line.endpoint_url)


def _timeout_for(operation: WireOperation, parameters: Mapping[str, Any], read_timeout: float) -> float:
    if not operation.is_poll:
        return read_timeout
    # Without a wait, it is the queue's own.
    wait: int = parameters.get("WaitTimeSeconds", _LONGEST_POLL)
    return max(read_timeout, wait + _POLL_GRACE)


def _make_id() -> str:
    """Return an id for a call, a UUID; to ask the system for randomness lets other threads in, which costs more."""
    bits = random.getrandbits(128) & ~_VERSION_BITS | _VERSION_4
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
