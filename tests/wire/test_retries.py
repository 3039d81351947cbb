"""Trying again: beside botocore's standard mode, and as it shows in what arrives."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.retries import quota, standard
from hypothesis import given
from hypothesis import strategies as st

from megaflow.wire.client import WireClient
from megaflow.wire.retries import THROTTLED_CODES, TRANSIENT_CODES, TRANSIENT_STATUSES, CallFailure, Quota, Retries
from tests.wire.scripted import BOTOCORE, QUEUE_URL, Scripted, answer, hang_up, scripted

BUSY = answer(b"", status="503 Service Unavailable")


def failed(code: str, status: str = "400 Bad Request", **headers: str) -> bytes:
    return answer(f'{{"__type": "com.amazonaws.sqs#{code}"}}'.encode(), status=status, **headers)


def wire(server: Scripted, waited: list[float], **retries: Any) -> WireClient:
    config = Config(retries={"mode": "standard", **retries})
    return WireClient(server.client(config=config), sleep=waited.append)


def receive(client: WireClient) -> Any:
    return client.receive_message(QueueUrl=QUEUE_URL)


# Beside botocore

MODELED = SimpleNamespace(metadata={"error": {"code": "QueueDoesNotExist"}}, name="QueueDoesNotExist")
OPERATION: Any = SimpleNamespace(
    error_shapes=[MODELED], name="ReceiveMessage", service_model=SimpleNamespace(service_name="sqs")
)
CODES = st.sampled_from(
    [*sorted(THROTTLED_CODES | TRANSIENT_CODES), "QueueDoesNotExist", "AccessDenied", "InternalError", "503"]
)
STATUSES = st.sampled_from([301, 400, 403, 404, 429, 500, 501, 502, 503, 504])
WAITS = st.none() | st.sampled_from(["0", "1500", "60000", "-1", "soon", "9" * 20, ""])


class Botocore:
    """Its standard mode, without the waiting."""

    def __init__(self, random: float) -> None:
        adapter = standard.RetryEventAdapter()
        detector = standard.ThrottlingErrorDetector(adapter)
        self.quota = quota.RetryQuota()
        self.checker = standard.RetryQuotaChecker(self.quota, detector)
        self.waited: list[float] = []
        backoff = standard.ExponentialBackoff(service_name="sqs", throttling_detector=detector, random=lambda: random)
        self.handler = standard.RetryHandler(
            standard.RetryPolicy(standard.StandardRetryConditions(max_attempts=3), backoff),
            adapter,
            self.checker,
            service_name="sqs",
            sleep=self.waited.append,
        )

    def wait_after(self, failure: CallFailure, attempt: int, context: dict[str, Any]) -> tuple[float, bool]:
        response, caught = None, None
        if failure.status:
            answered = SimpleNamespace(status_code=failure.status, headers=failure.headers)
            response = (answered, {"Error": {"Code": failure.code}})
        else:
            caught = ConnectionClosedError(endpoint_url="x")
        delay = self.handler.needs_retry(
            response=response,
            operation=OPERATION,
            attempts=attempt,
            caught_exception=caught,
            request_dict={"context": context},
        )
        if delay is None or delay is False:
            return (self.waited.pop() if self.waited else 0.0), False
        return delay, True


@pytest.mark.skipif(BOTOCORE < (1, 44), reason="the standard mode of this botocore is another one")
@given(
    st.lists(st.lists(st.tuples(CODES, STATUSES, WAITS) | st.none(), max_size=3), max_size=60),
    st.floats(0, 1),
)
def test_it_tries_and_waits_and_saves_as_botocore_does(
    calls: list[list[tuple[str, int, str | None] | None]], random: float
) -> None:
    botocore, ours = Botocore(random), Quota()

    for attempts in calls:
        retries, context = Retries(ours, max_attempts=3, is_poll=True, randomness=lambda: random), dict[str, Any]()
        for number, said in enumerate(attempts, 1):
            failure = failure_of(said)
            waited, again = retries.wait_after(failure)

            assert (waited, again) == botocore.wait_after(failure, number, context)
            if not again:
                break
        else:
            retries.note_success()
            botocore.checker.release_retry_quota(context, SimpleNamespace(status_code=200))
        assert ours._left == botocore.quota.available_capacity


def failure_of(said: tuple[str, int, str | None] | None) -> CallFailure:
    if said is None:
        return CallFailure()
    code, status, wait = said
    headers = {} if wait is None else {"x-amz-retry-after": wait}
    return CallFailure(status, code, headers, is_modeled=code == "QueueDoesNotExist")


def test_the_codes_are_botocores() -> None:
    assert set(standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES) == THROTTLED_CODES
    assert set(standard.TransientRetryableChecker._TRANSIENT_ERROR_CODES) == TRANSIENT_CODES
    assert set(standard.TransientRetryableChecker._TRANSIENT_STATUS_CODES) == TRANSIENT_STATUSES


# As it shows


@pytest.mark.parametrize(
    "trouble", [BUSY, hang_up, failed("RequestThrottled"), failed("InternalError", "500 Internal Server Error")]
)
def test_what_passes_is_tried_again(trouble: Any) -> None:
    waited: list[float] = []
    with scripted(trouble, trouble, answer()) as server:
        answered = receive(wire(server, waited))

    assert answered["ResponseMetadata"]["RetryAttempts"] == 2
    assert len(waited) == 2
    assert len({request.headers["amz-sdk-invocation-id"] for request in server.requests}) == 1
    trials = [re.sub("ttl=[^;]*; ", "", request.headers["amz-sdk-request"]) for request in server.requests]
    assert trials == ["attempt=1; max=3", "attempt=2; max=3", "attempt=3; max=3"]


def test_a_repeated_call_says_how_long_it_waits_by_the_clock_of_the_server() -> None:
    said = answer(b"", status="503 Busy", date="Wed, 25 Nov 2026 10:00:00 GMT")
    with scripted(said, answer()) as server:
        config = Config(retries={"mode": "standard"}, read_timeout=3_600)
        receive(WireClient(server.client(config=config), sleep=lambda seconds: None))

    assert re.match(r"ttl=20261125T1100\d\dZ; attempt=2", server.requests[1].headers["amz-sdk-request"])


def test_the_last_error_is_raised_and_says_how_often_it_was_tried() -> None:
    with scripted(BUSY, BUSY, BUSY) as server, pytest.raises(ClientError, match="reached max retries: 2") as raised:
        receive(wire(server, []))

    assert raised.value.response["ResponseMetadata"]["RetryAttempts"] == 2


@pytest.mark.parametrize("trouble", [failed("QueueDoesNotExist"), failed("AccessDenied"), failed("x", "404 Not Found")])
def test_what_does_not_pass_is_not_tried_again(trouble: bytes) -> None:
    with scripted(trouble) as server, pytest.raises(ClientError):
        receive(wire(server, []))

    assert len(server.requests) == 1


def test_it_is_tried_as_often_as_the_client_says() -> None:
    with scripted(*[BUSY] * 9) as server, pytest.raises(ClientError):
        receive(wire(server, [], total_max_attempts=5))

    assert len(server.requests) == 5


def test_calls_that_fail_all_the_time_are_not_tried_again_for_ever() -> None:
    waited: list[float] = []
    with scripted(*[BUSY] * 200) as server:
        client = wire(server, waited)
        for _ in range(30):
            with pytest.raises(ClientError):
                client.delete_message(QueueUrl=QUEUE_URL, ReceiptHandle="r")

    assert len(server.requests) == 30 + 500 // 14


def test_signatures_are_made_anew_with_the_credentials_of_the_moment() -> None:
    with scripted(BUSY, answer()) as server:
        boto3 = server.client()
        turns = iter(["first", "second"])
        credentials = boto3._request_signer._credentials
        credentials.get_frozen_credentials = lambda: SimpleNamespace(access_key=next(turns), secret_key="s", token="t")

        receive(WireClient(boto3, sleep=lambda seconds: None))

    assert ["Credential=first" in server.requests[0].headers["authorization"]] == [True]
    assert ["Credential=second" in server.requests[1].headers["authorization"]] == [True]


def test_credentials_that_cannot_be_had_are_botocores_own_error() -> None:
    from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

    def refuse() -> None:
        raise CredentialRetrievalError(provider="x", error_msg="the role is gone")

    with scripted() as server:
        boto3 = server.client()
        boto3._request_signer._credentials.get_frozen_credentials = refuse
        with pytest.raises(CredentialRetrievalError, match="the role is gone"):
            receive(WireClient(boto3))
        boto3._request_signer._credentials = None
        with pytest.raises(NoCredentialsError):
            receive(WireClient(boto3))

    assert server.requests == []
