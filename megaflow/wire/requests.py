"""Requests of SQS's JSON protocol, as boto3 would send them, signed."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from megaflow.wire.signing import Signer

_TIMESTAMP: Final = "%Y%m%dT%H%M%SZ"
_PORTS: Final = {"http": 80, "https": 443}


class Requests:
    """Writes the requests of one boto3 client. May be used from any thread."""

    def __init__(self, client: Any) -> None:
        signer, model = client._request_signer, client.meta.service_model
        self._signer = Signer(signer.region_name, signer.signing_name)
        self._credentials = signer._credentials
        self._host = _write_host(client.meta.endpoint_url)
        self._content_type = f"application/x-amz-json-{model.metadata['jsonVersion']}"
        self._query_mode = {"x-amzn-query-mode": "true"} if "awsQueryCompatible" in model.metadata else {}
        self._user_agent = client.meta.config.user_agent

    def write(self, target: str, body: bytes, call_id: str, trial: str) -> bytes:
        """Return the request that calls *target* with *body*: the *trial* of the call *call_id*.

        Raises botocore's own errors where there are no credentials, or they cannot be refreshed.
        """
        from botocore.exceptions import NoCredentialsError

        if self._credentials is None:
            raise NoCredentialsError()
        credentials = self._credentials.get_frozen_credentials()
        timestamp = time.strftime(_TIMESTAMP, time.gmtime())
        signed = {
            "host": self._host,
            "x-amz-target": target,
            "content-type": self._content_type,
            "x-amz-date": timestamp,
            **self._query_mode,
        }
        if credentials.token:
            signed["x-amz-security-token"] = credentials.token
        headers = {
            **signed,
            "authorization": self._signer.sign(signed, body, timestamp, credentials),
            "accept-encoding": "identity",
            "user-agent": self._user_agent,
            **_trace(),
            "amz-sdk-invocation-id": call_id,
            "amz-sdk-request": trial,
            "content-length": str(len(body)),
        }
        head = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body


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


def _trace() -> Mapping[str, str]:
    """Return how Lambda finds out that functions call each other in a circle."""
    trace = os.environ.get("_X_AMZN_TRACE_ID")
    if not trace or "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
        return {}
    return {"x-amzn-trace-id": quote(trace, safe="-=;:+&[]{}\"',")}
