"""Protocols: in which of AWS's ways a request is written, and how its answer is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from starlette.types import Scope

from megaflow.local.http import json_protocol, query_protocol
from megaflow.local.http.pages import PREFIX
from megaflow.local.http.query_protocol import QueryProtocol
from megaflow.local.operations.operation import Answer
from megaflow.local.refused import Refused
from megaflow.local.shapes import service_model

Headers = Mapping[bytes, bytes]

_ACTION: Final = re.compile(rb"(?:^|&)Action=(\w+)")
_SNS_VERSION: Final = b"Version=2010-03-31"
_SQS_VERSIONS: Final = re.compile(rb"Version=(2012-11-05|2011-10-01|2009-02-01|2008-01-01)")
"""As a value of some other parameter they would be escaped."""


class Call(NamedTuple):
    """What came over HTTP, all of it."""

    headers: Headers
    path: str
    query: bytes
    body: bytes

    @property
    def form(self) -> bytes:
        """The parameters of a call in Query: those in the URL, then those in the body."""
        return b"&".join(part for part in (self.query, self.body) if part)


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back over HTTP."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


class Spoken(Protocol):
    """One of AWS's ways to write calls and answers."""

    @property
    def service(self) -> str:
        """The service that is spoken so."""

    @property
    def is_form(self) -> bool:
        """Whether calls are forms, as those of web pages are."""

    def unknown_operation(self, operation: str) -> Refused:
        """Make the error for an operation that AWS has, and the embedded service has not."""

    def read(self, call: Call) -> tuple[str, Mapping[str, Any]]:
        """Return which operation is called, and what it is asked."""

    def write(self, operation: str, answer: Answer, request_id: str) -> Reply:
        """Write an answer."""

    def write_error(self, refused: Refused, request_id: str) -> Reply:
        """Write an error."""


class _Json:
    service: Final = "sqs"
    is_form: Final = False
    unknown_operation = staticmethod(json_protocol.unknown_operation)
    _type: Final = (b"content-type", b"application/x-amz-json-1.0")

    def read(self, call: Call) -> tuple[str, Mapping[str, Any]]:
        target = call.headers.get(b"x-amz-target", b"").decode("latin-1")
        prefix, _, operation = target.rpartition(".")
        if prefix != "AmazonSQS":
            raise _wrong_target(target)
        return operation, json_protocol.read(operation, call.body)

    def write(self, operation: str, answer: Answer, request_id: str) -> Reply:
        return Reply(200, json_protocol.write(operation, answer), (self._type, _identified(request_id)))

    def write_error(self, refused: Refused, request_id: str) -> Reply:
        body, headers = json_protocol.write_error(refused)
        further = [(name.encode(), value.encode()) for name, value in headers.items()]
        return Reply(refused.status, body, (self._type, _identified(request_id), *further))


class _Query:
    is_form: Final = True
    _type: Final = (b"content-type", b"text/xml")

    def __init__(self, spoken: QueryProtocol) -> None:
        self._spoken = spoken
        self.service = spoken.service
        self.unknown_operation = spoken.unknown_operation

    def read(self, call: Call) -> tuple[str, Mapping[str, Any]]:
        return self._spoken.read(call.form, call.path)

    def write(self, operation: str, answer: Answer, request_id: str) -> Reply:
        body = self._spoken.write(operation, answer, request_id)
        return Reply(200, body, (self._type, _identified(request_id)))

    def write_error(self, refused: Refused, request_id: str) -> Reply:
        body = self._spoken.write_error(refused, request_id)
        return Reply(refused.status, body, (self._type, _identified(request_id)))


_JSON: Final = _Json()
_SNS: Final = _Query(query_protocol.SNS)
_SQS: Final = _Query(query_protocol.SQS)


def likely_protocol(headers: Headers) -> Spoken:
    """Return the protocol in which a request is refused of which no more than its headers is known."""
    is_json = b"x-amz-target" in headers or b"json" in headers.get(b"content-type", b"")
    return _JSON if is_json else _SNS


def protocol_of(call: Call) -> Spoken:
    """Return the protocol in which a call is written."""
    likely = likely_protocol(call.headers)
    return _SQS if likely is _SNS and _is_for_sqs(call) else likely


def is_call(scope: Scope) -> bool:
    """Tell whether a request calls an operation: by POST, or by GET, as AWS Query may."""
    if scope["path"].startswith(PREFIX):
        return False
    return scope["method"] == "POST" or (scope["method"] == "GET" and _ACTION.search(scope["query_string"]) is not None)


def _is_for_sqs(call: Call) -> bool:
    """Tell by the version, by what the signature is for, or else by the operation's name."""
    form = call.form
    if _SNS_VERSION in form:
        return False
    if _SQS_VERSIONS.search(form) or b"/sqs/aws4_request" in call.headers.get(b"authorization", b""):
        return True
    found = _ACTION.search(form)
    action = found[1].decode() if found else ""
    knows_sqs, knows_sns = (action in service_model(service).operation_names for service in ("sqs", "sns"))
    return knows_sqs and not (knows_sns and b"TopicArn=" in form)


def _identified(request_id: str) -> tuple[bytes, bytes]:
    return (b"x-amzn-requestid", request_id.encode())


def _wrong_target(target: str) -> Refused:
    called = f"no operation {target}" if target else "no operation without the header X-Amz-Target"
    return Refused(
        "UnknownOperationException",
        f"There is {called} here: SQS is spoken as AmazonSQS.SendMessage, say, and SNS in the Query protocol.",
    )
