"""One call: its request, sent as often as it takes, and its answer, which may be waited for later."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from megaflow.wire.answers import Operation
from megaflow.wire.connections import ConnectError, Connections, Sent
from megaflow.wire.http import Answer, BrokenAnswerError
from megaflow.wire.requests import Requests, encode_binary, read_deadline
from megaflow.wire.retries import Failure, Quota, Retries
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
    quota: Quota
    sleep: Callable[[float], None]


class Exchange:
    """A call whose request is sent, once, when it is made. For one thread at a time."""

    def __init__(self, line: Line, operation: Operation, parameters: Mapping[str, Any]) -> None:
        self._line = line
        self._operation = operation
        self._body = _encode(parameters).encode()
        self._id = _make_id()
        self._timeout = _timeout_for(operation, parameters, line.read_timeout)
        self._retries = Retries(line.quota, max_attempts=line.max_attempts, is_poll=operation.is_poll)
        self._sent: Sent | Exception
        self._is_answered = False
        self._send("")

    @property
    def is_under_way(self) -> bool:
        """Whether the request was sent, and only the answer is missing."""
        return isinstance(self._sent, Sent)

    @property
    def is_answered(self) -> bool:
        """Whether to ask for the answer takes no waiting, unless it is an error."""
        if not self._is_answered:
            self._is_answered = isinstance(self._sent, Sent) and self._sent.is_answered
        return self._is_answered

    def answer(self) -> Mapping[str, Any]:
        """Return the answer, as boto3 would, after as many tries as boto3 would take; raises botocore's own errors."""
        line, retries = self._line, self._retries
        while True:
            answer = self._receive()
            if not isinstance(answer, Exception) and answer.status < 300:
                retries.note_success()
                return self._operation.read(answer, retries.metadata)
            failure = Failure() if isinstance(answer, Exception) else self._operation.read_failure(answer)
            wait, again = retries.wait_after(failure)
            if wait:
                line.sleep(wait)
            if not again:
                lost = answer if isinstance(answer, Exception) else None
                raise lost or self._operation.make_error(failure, retries.metadata)
            self._send(read_deadline(failure.headers, line.read_timeout))

    def _send(self, deadline: str) -> None:
        line = self._line
        trial = f"{deadline}attempt={self._retries.attempt}; max={line.max_attempts}"
        request = line.requests.write(self._operation.target, self._body, self._id, trial)
        try:
            self._sent = line.connections.send(request, self._timeout)
        except (ConnectError, OSError) as error:
            self._sent = translate_error(error, line.endpoint_url)

    def _receive(self) -> Answer | Exception:
        if isinstance(self._sent, Exception):
            return self._sent
        try:
            return self._line.connections.receive(self._sent)
        except (ConnectError, BrokenAnswerError, OSError) as error:
            return translate_error(error, self._line.endpoint_url)


class WholeCall:
    """A call of a client that sends and waits in one: it is made when its answer is asked for."""

    is_under_way: Final = False
    is_answered: Final = False

    def __init__(self, method: Callable[..., Mapping[str, Any]], parameters: Mapping[str, Any]) -> None:
        self._method = method
        self._parameters = parameters

    def answer(self) -> Mapping[str, Any]:
        """Make it, and return the answer; raises what the client raises."""
        return self._method(**self._parameters)


Call: TypeAlias = Exchange | WholeCall
"""A call that was begun, as far as its client can do that."""


def _timeout_for(operation: Operation, parameters: Mapping[str, Any], read_timeout: float) -> float:
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
