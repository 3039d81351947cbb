"""Answers of SQS's JSON protocol: read column by column, and the parameters that each operation takes.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests-json.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import responses
from typing import Any, Final

from megaflow.logs import get_logger
from megaflow.wire.http import HttpAnswer
from megaflow.wire.retries import CallFailure
from megaflow.wire.shapes import Fits, compile_fits, compile_plain

log = get_logger(__name__)

_SHOWN: Final = 500
"""Characters that are shown of an error that is not JSON."""

_NEEDED: Final = ("MessageId", "ReceiptHandle", "Body")
"""What a message is of no use without: it could be neither handled nor deleted."""


class WireOperation:
    """An operation of SQS, by botocore's description of it: its *service_model*; *exceptions* are the client's."""

    def __init__(self, service_model: Any, name: str, exceptions: Any) -> None:
        from botocore.parsers import ResponseParserFactory

        self._service_model = service_model
        self._exceptions = exceptions
        self._model = service_model.operation_model(name)
        self._parser = ResponseParserFactory().create_parser("json")
        self.name: Final = name
        self.is_poll: Final = name == "ReceiveMessage"
        self.target: Final = f"{service_model.metadata['targetPrefix']}.{name}"
        self.takes: Final = compile_fits(self._model.input_shape)
        """Whether parameters can be sent as they are; others are for boto3 to refuse, or to convert."""

        self._is_plain: Fits | None = None
        if self._model.output_shape is not None:
            self._is_plain = compile_plain(self._model.output_shape)
        self._known_errors = frozenset(
            shape.metadata.get("error", {}).get("code") or shape.name for shape in self._model.error_shapes
        )

    def read(self, answer: HttpAnswer, tries: Mapping[str, Any]) -> dict[str, Any]:
        """Return what boto3 would; raise `ResponseParserError` for what is not SQS's JSON, or not all of it.

        *tries* is what it says of the attempts.
        """
        given: dict[str, Any] = {}
        if self._is_plain is not None:
            given = self._read_json(answer)
            if not self._is_plain(given):
                given = self._parse(answer, given)
            self._check(given)
        given["ResponseMetadata"] = _describe(answer.status, answer.headers, tries)
        return given

    def read_failure(self, answer: HttpAnswer) -> CallFailure:
        """Return what an answer that is an error says."""
        parsed = self._parse_error(answer)
        code = parsed["Error"]["Code"]
        return CallFailure(answer.status, code, answer.headers, code in self._known_errors, parsed)

    def make_error(self, failure: CallFailure, tries: Mapping[str, Any]) -> Exception:
        """Return the error that boto3 raises for this one."""
        parsed = {**failure.parsed, "ResponseMetadata": _describe(failure.status, failure.headers, tries)}
        # SQS names its exceptions by what they are called in JSON, and their codes by what they were before.
        kind = self._exceptions.from_code(parsed["Error"].get("QueryErrorCode") or failure.code)
        error: Exception = kind(parsed, self.name)
        return error

    def _read_json(self, answer: HttpAnswer) -> dict[str, Any]:
        try:
            given = json.loads(answer.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise self._not_understood(f"it is not JSON: {error}") from error
        if not isinstance(given, dict):
            raise self._not_understood("it is not an object of JSON")
        return given

    def _parse(self, answer: HttpAnswer, given: Mapping[str, Any]) -> dict[str, Any]:
        """Leave it to botocore, which knows what may be left out, and drops what it does not know."""
        try:
            body = json.dumps(given).encode()
            parsed = self._parser.parse(_response(answer, answer.status, body), self._model.output_shape)
        except Exception as error:
            raise self._not_understood(f"{type(error).__name__}: {error}") from error
        return dict(parsed)

    def _check(self, given: Mapping[str, Any]) -> None:
        if self.name == "SendMessage" and not isinstance(given.get("MessageId"), str):
            raise self._not_understood("there is no MessageId")
        for name in ("Messages", "Successful", "Failed"):
            entries = given.get(name, [])
            if not (isinstance(entries, list) and all(isinstance(each, dict) for each in entries)):
                raise self._not_understood(f"{name} is not a list of objects")
        for message in given.get("Messages", ()):
            for name in _NEEDED:
                if type(message.get(name)) is not str:
                    raise self._not_understood(f"there is a message without {name}")

    def _parse_error(self, answer: HttpAnswer) -> dict[str, Any]:
        try:
            body = answer.body if isinstance(json.loads(answer.body), dict) else b"{}"
        except (ValueError, RecursionError):
            body = answer.body[:_SHOWN].decode("utf-8", "replace").encode()
        parsed: dict[str, Any] = {}
        try:
            # What is below, botocore takes for no error.
            response = _response(answer, max(answer.status, 301), body)
            parsed = self._parser.parse(response, None)
            if shape := self._service_model.shape_for_error_code(parsed["Error"]["Code"]):
                parsed.update(self._parser.parse(response, shape))
        except Exception:
            log.debug("the error of %s could not be read", self.name, exc_info=True)
        said = parsed.get("Error", {})
        if not said.get("Code") or not all(isinstance(each, str) for each in said.values()):
            parsed["Error"] = {"Code": str(answer.status), "Message": responses.get(answer.status, "")}
        return parsed

    def _not_understood(self, problem: str) -> Exception:
        from botocore.parsers import ResponseParserError

        error: Exception = ResponseParserError(f"the answer to {self.name} is not what SQS says: {problem}")
        return error


def _response(answer: HttpAnswer, status: int, body: bytes) -> dict[str, Any]:
    return {"status_code": status, "headers": answer.headers, "body": body}


def _describe(status: int, headers: Mapping[str, str], tries: Mapping[str, Any]) -> dict[str, Any]:
    """Return boto3's ``ResponseMetadata``."""
    described = {"HTTPStatusCode": status, "HTTPHeaders": headers, **tries}
    request_id = headers.get("x-amzn-requestid")
    return described if request_id is None else {"RequestId": request_id, **described}
