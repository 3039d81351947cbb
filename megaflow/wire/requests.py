"""Requests of SQS's JSON protocol, as boto3 would send them, signed."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

from megaflow.wire.control_characters import find_control_character
from megaflow.wire.signing import SignedHeaders, Signer

_TIMESTAMP: Final = "%Y%m%dT%H%M%SZ"
_UNQUOTED: Final = "-=;:+&[]{}\"',"
_PORTS: Final = {"http": 80, "https": 443}


class _Start(NamedTuple):
    """What the requests of one operation begin with during a second: the lines before those of their own."""

    timestamp: str
    token: str | None
    lines: Sequence[str]
    signed: SignedHeaders


class Requests:
    """Writes the requests of one boto3 client. May be used from any thread."""

    def __init__(self, client: Any) -> None:
        signer, model = client._request_signer, client.meta.service_model
        self._signer = Signer(signer.region_name, signer.signing_name)
        self._credentials = signer._credentials
        # What else is in every call differs from version to version; this one needs no parameters.
        sample = client._serializer.serialize_to_request({}, model.operation_model("ListQueues"))
        self._always = {name.lower(): value for name, value in sample["headers"].items()}
        self._always["host"] = _write_host(client.meta.endpoint_url)
        self._unsigned = ("accept-encoding: identity", f"user-agent: {client.meta.config.user_agent}")
        self._is_in_lambda = "AWS_LAMBDA_FUNCTION_NAME" in os.environ
        self._starts: dict[str, _Start] = {}
        """The latest, by target."""

    def write(self, target: str, body: bytes, call_id: str, trial: str) -> bytes:
        """Return the request that calls *target* with *body*: the *trial* of the call *call_id*.

        Raises botocore's own errors where there are no credentials, or they cannot be refreshed; `ConfigurationError`
        where they, or anything else in its lines, hold a line break.
        """
        if self._credentials is None:
            raise _no_credentials()
        credentials = self._credentials.get_frozen_credentials()
        start = self._start(target, credentials.token)
        authorization = self._signer.sign(start.signed, body, start.timestamp, credentials)
        head = (
            *start.lines,
            f"authorization: {authorization}",
            *self._unsigned,
            *(_trace() if self._is_in_lambda else ()),
            f"amz-sdk-invocation-id: {call_id}",
            f"amz-sdk-request: {trial}",
            f"content-length: {len(body)}",
            "",
            "",
        )
        request = "\r\n".join(head)
        if not request.count("\n") == request.count("\r") == len(head) - 1 or "\0" in request:
            raise find_control_character(head)
        return request.encode() + body

    def _start(self, target: str, token: str | None) -> _Start:
        timestamp, start = _write_time(int(time.time())), self._starts.get(target)
        if start is None or start.timestamp != timestamp or start.token != token:
            headers = {**self._always, "x-amz-target": target, "x-amz-date": timestamp}
            if token:
                headers["x-amz-security-token"] = token
            lines = "POST / HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())
            start = self._starts[target] = _Start(timestamp, token, lines, SignedHeaders.of(headers))
        return start


@lru_cache(maxsize=1)
def _write_time(seconds: int) -> str:
    return time.strftime(_TIMESTAMP, time.gmtime(seconds))


def encode_binary(value: object) -> str:
    """Return *value*, which JSON does not know, as SQS takes it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} cannot be sent")


def read_deadline(headers: Mapping[str, str], read_timeout: float) -> str:
    """Return what boto3 says about when it stops waiting for a repeated call, by the clock that answered last."""
    try:
        date = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return ""
    skew = date.replace(tzinfo=UTC) - datetime.now(UTC)
    return (datetime.now(UTC) + skew + timedelta(seconds=read_timeout)).strftime(f"ttl={_TIMESTAMP}; ")


def _write_host(endpoint_url: str) -> str:
    endpoint = urlsplit(endpoint_url)
    host = endpoint.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if endpoint.port in (None, _PORTS.get(endpoint.scheme)) else f"{host}:{endpoint.port}"


def _no_credentials() -> Exception:
    from botocore.exceptions import NoCredentialsError

    error: Exception = NoCredentialsError()
    return error


def _trace() -> tuple[str, ...]:
    """Return how Lambda finds out that functions call each other in a circle."""
    trace = os.environ.get("_X_AMZN_TRACE_ID")
    return (f"x-amzn-trace-id: {quote(trace, safe=_UNQUOTED)}",) if trace else ()
