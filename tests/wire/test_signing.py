"""Signatures, beside botocore's own."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from botocore import auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import example, given
from hypothesis import strategies as st

from megaflow.wire.signing import SignedHeaders, Signer

TOKENS = string.ascii_letters + string.digits + "/+="
KEYS = st.text(TOKENS, min_size=1, max_size=40)
CREDENTIALS = st.builds(ReadOnlyCredentials, KEYS, KEYS, st.none() | KEYS)
NAMES = st.sampled_from(["content-type", "x-amz-target", "x-amzn-query-mode", "x-amz-a", "amz-sdk-request", "x-b-c"])
VALUES = st.text(string.printable.replace("\r", "").replace("\n", ""), min_size=1, max_size=30)
REGIONS = st.sampled_from(["us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1"])
MOMENTS = st.datetimes(datetime(2015, 1, 1), datetime(2100, 1, 1))
BODIES = st.binary(max_size=300) | st.integers(2_000, 70_000).map(lambda size: bytes(range(250)) * (size // 250))
HOSTS = st.sampled_from(["sqs.us-east-1.amazonaws.com", "127.0.0.1:4566", "queue.example.com:8443"])


def asking_for_the_time(moment: datetime) -> tuple[str, object]:
    """Return what this version of botocore asks for the time, and what says *moment* instead."""
    if hasattr(auth, "get_current_datetime"):
        return "botocore.auth.get_current_datetime", lambda: moment
    return "botocore.auth.datetime", SimpleNamespace(datetime=SimpleNamespace(utcnow=lambda: moment))


def sign_as_botocore(
    headers: dict[str, str], body: bytes, moment: datetime, credentials: ReadOnlyCredentials, region: str
) -> str:
    host = headers["host"]
    request = AWSRequest("POST", f"https://{host}/", headers={**headers}, data=body)
    with patch(*asking_for_the_time(moment)):
        SigV4Auth(credentials, "sqs", region).add_auth(request)
    return str(request.headers["Authorization"])


@given(st.dictionaries(NAMES, VALUES), BODIES, MOMENTS, CREDENTIALS, REGIONS, HOSTS)
@example(
    {"x-b-c": "  two   spaces\tand a tab "}, b"{}", datetime(2026, 2, 28), ReadOnlyCredentials("a", "b", "c"), "r", "h"
)
def test_signatures_equal_botocores(
    headers: dict[str, str], body: bytes, moment: datetime, credentials: ReadOnlyCredentials, region: str, host: str
) -> None:
    timestamp = moment.strftime("%Y%m%dT%H%M%SZ")
    token = {"x-amz-security-token": credentials.token} if credentials.token else {}
    signed = {**headers, "host": host, "x-amz-date": timestamp, **token}

    signature = Signer(region, "sqs").sign(SignedHeaders.of(signed), body, timestamp, credentials)

    assert signature == sign_as_botocore({**headers, "host": host}, body, moment, credentials, region)


def test_the_derived_key_is_a_new_one_for_each_day_and_each_secret() -> None:
    signer, today = Signer("us-east-1", "sqs"), datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    days = [today, today + timedelta(seconds=1), today]
    keys = [ReadOnlyCredentials("id", secret, None) for secret in ("one", "two", "one")]

    for moment in days:
        for credentials in keys:
            timestamp = moment.strftime("%Y%m%dT%H%M%SZ")
            headers = {"host": "h", "x-amz-date": timestamp}
            naive = moment.replace(tzinfo=None)
            expected = sign_as_botocore({"host": "h"}, b"", naive, credentials, "us-east-1")
            assert signer.sign(SignedHeaders.of(headers), b"", timestamp, credentials) == expected


@pytest.mark.parametrize("secret", ["", "ключ"])
def test_odd_secrets_are_signed_with_as_botocore_does(secret: str) -> None:
    credentials, moment = ReadOnlyCredentials("id", secret, None), datetime(2026, 1, 1)
    headers = {"host": "h", "x-amz-date": "20260101T000000Z"}

    signature = Signer("us-east-1", "sqs").sign(SignedHeaders.of(headers), b"x", "20260101T000000Z", credentials)

    assert signature == sign_as_botocore({"host": "h"}, b"x", moment, credentials, "us-east-1")
