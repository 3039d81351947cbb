"""What a user can configure: ranges, environment variables, secrets, backoff."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.backoff import exponential_backoff
from megaflow.errors import ConfigurationError
from megaflow.settings import QUEUE_URL_VARIABLE, TOPIC_ARN_VARIABLE, ConsumerSettings, read_retry_on, resolve
from megaflow.transport.session import AwsSettings

KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/EXAMPLEKEY"}
ADDRESSES = {
    "sqs": "https://sqs.eu-central-1.amazonaws.com/424566909325/orders",
    "sns": "arn:aws:sns:eu-central-1:424566909325:orders",
}
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE"


# How a queue is consumed.


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings = ConsumerSettings()

    assert settings.concurrency == 10
    assert settings.max_number_of_messages == 10
    assert settings.wait_time_seconds == 20
    assert settings.visibility_timeout == 30
    assert settings.shutdown_timeout == 25
    assert settings.unmatched == "delete"
    assert settings.dead_letter_queue_url is None
    assert 0 <= settings.backoff(1) <= 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", 1),
        ("concurrency", 10_000),
        ("max_number_of_messages", 1),
        ("max_number_of_messages", 10),
        ("wait_time_seconds", 0),
        ("wait_time_seconds", 20),
        ("visibility_timeout", 1),
        ("visibility_timeout", 43_200),
        ("shutdown_timeout", 0),
        ("shutdown_timeout", 0.5),
        ("unmatched", "delete"),
        ("unmatched", "keep"),
        ("unmatched", "dead_letter"),
    ],
)
def test_every_value_in_range_is_taken(name: str, value: Any) -> None:
    assert getattr(ConsumerSettings(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("concurrency", 0, "1 to 10,000"),
        ("concurrency", 10_001, "1 to 10,000"),
        ("max_number_of_messages", 0, "1 to 10"),
        ("max_number_of_messages", 11, "1 to 10"),
        ("wait_time_seconds", -1, "0 to 20"),
        ("wait_time_seconds", 21, "0 to 20"),
        ("visibility_timeout", 0, "1 to 43,200"),
        ("visibility_timeout", 43_201, "1 to 43,200"),
        ("visibility_timeout", 30.0, "1 to 43,200"),
        ("visibility_timeout", "30", "1 to 43,200"),
        ("visibility_timeout", None, "1 to 43,200"),
        ("visibility_timeout", True, "1 to 43,200"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_range(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ConsumerSettings(**{name: value})

    assert str(caught.value) == f"{name}={value!r} must be a whole number from {allowed}"


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan"), "25", None, True])
def test_a_shutdown_timeout_is_a_number_of_seconds(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^shutdown_timeout=.* must be a number of seconds, 0 or more$"):
        ConsumerSettings(shutdown_timeout=value)


@pytest.mark.parametrize("value", ["drop", "", None, ["delete"]])
def test_unmatched_is_one_of_three_words(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^unmatched=.* must be one of 'delete', 'keep', 'dead_letter'$"):
        ConsumerSettings(unmatched=value)


def test_a_backoff_is_a_function() -> None:
    with pytest.raises(ConfigurationError, match=r"^backoff=30 must be a function \(receive_count\) -> seconds$"):
        ConsumerSettings(backoff=30)  # type: ignore[arg-type]


# Backoff.


@pytest.mark.parametrize(
    ("receive_count", "longest"),
    [(1, 1), (2, 2), (3, 4), (5, 16), (10, 512), (11, 900), (60, 900), (1_000, 900), (100_000, 900)],
)
def test_a_backoff_doubles_from_a_second_to_a_quarter_of_an_hour(receive_count: int, longest: float) -> None:
    backoff = exponential_backoff(randomness=lambda: 1.0)

    assert backoff(receive_count) == longest


def test_all_of_a_backoff_is_jitter() -> None:
    drawn = iter([0.0, 0.25, 1.0])
    backoff = exponential_backoff(randomness=lambda: next(drawn))

    assert [backoff(5), backoff(5), backoff(5)] == [0.0, 4.0, 16.0]


def test_a_backoff_begins_and_ends_where_it_is_told() -> None:
    backoff = exponential_backoff(first=10, longest=60, randomness=lambda: 1.0)

    assert [backoff(count) for count in (1, 2, 3, 4, 5)] == [10, 20, 40, 60, 60]


@given(receive_count=st.integers(1, 10**9))
def test_a_backoff_is_never_negative_nor_longer_than_its_longest(receive_count: int) -> None:
    assert 0 <= exponential_backoff()(receive_count) <= 900


# AWS.


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda settings: f"{settings!r}"])
def test_secrets_never_show(show: Callable[[AwsSettings], str]) -> None:
    settings = AwsSettings(**KEYS, aws_session_token=TOKEN, region_name="us-west-2")

    shown = show(settings)

    assert "us-west-2" in shown
    assert not any(secret in shown for secret in (*KEYS.values(), TOKEN))


@pytest.mark.parametrize("given_key", list(KEYS))
def test_half_a_pair_of_keys_is_refused_without_showing_it(given_key: str) -> None:
    missing = next(key for key in KEYS if key != given_key)

    with pytest.raises(ConfigurationError) as caught:
        AwsSettings(**{given_key: KEYS[given_key]})

    assert str(caught.value) == f"{given_key} was given without {missing}; give both, or neither"


def test_aws_settings_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        AwsSettings().region_name = "us-west-2"  # type: ignore[misc]


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take away what boto3 would find around here."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize("service", ["sqs", "sns"])
def test_a_client_is_made_as_it_is_told(service: str) -> None:
    settings = AwsSettings(**KEYS, region_name="eu-central-1", endpoint_url="http://127.0.0.1:4566")

    client = settings.create_client(service, ADDRESSES[service])

    assert client.meta.service_model.service_name == service
    assert client.meta.region_name == "eu-central-1"
    assert client.meta.endpoint_url == "http://127.0.0.1:4566"


@pytest.mark.usefixtures("no_aws")
def test_what_is_not_given_is_left_to_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")

    client = AwsSettings().create_client("sqs", "http://127.0.0.1:4566/1/orders")

    assert client.meta.region_name == "sa-east-1"


@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize(
    ("service", "address", "region"),
    [
        ("sqs", "https://sqs.us-east-2.amazonaws.com/424566909325/sqs-mega-test", "us-east-2"),
        ("sqs", "https://sqs.cn-north-1.amazonaws.com.cn/424566909325/orders", "cn-north-1"),
        ("sns", "arn:aws:sns:us-east-2:424566909325:sqs-mega-test", "us-east-2"),
        ("sns", "arn:aws-cn:sns:cn-north-1:424566909325:orders", "cn-north-1"),
        ("sqs", "https://sqs.us-east-2.example.com/424566909325/orders", "us-west-2"),
        ("sqs", "http://127.0.0.1:4566/424566909325/orders", "us-west-2"),
        ("sqs", "https://sqs.us-west-2.amazonaws.com/424566909325/orders", "us-west-2"),
        ("sqs", "orders", "us-west-2"),
    ],
)
def test_the_region_in_an_address_of_awss_own_wins(service: str, address: str, region: str) -> None:
    client = AwsSettings(**KEYS, region_name="us-west-2").create_client(service, address)

    assert client.meta.region_name == region


@pytest.mark.usefixtures("no_aws")
def test_without_a_region_the_error_says_how_to_set_one() -> None:
    settings = AwsSettings(**KEYS)

    with pytest.raises(
        ConfigurationError, match=r"no AWS region for sqs: give region_name=\S*, or set AWS_DEFAULT_REGION"
    ):
        settings.create_client("sqs", ADDRESSES["sqs"])


@pytest.mark.usefixtures("no_aws")
def test_an_unknown_profile_is_named() -> None:
    settings = AwsSettings(profile_name="staging", region_name="us-west-2")

    with pytest.raises(ConfigurationError, match=r"^profile_name='staging': .*; see 'aws configure list-profiles'$"):
        settings.create_client("sns", ADDRESSES["sns"])


@pytest.mark.usefixtures("no_aws")
def test_what_boto3_cannot_use_is_a_configuration_error_that_keeps_the_secrets() -> None:
    settings = AwsSettings(**KEYS, aws_session_token=TOKEN, region_name="us-west-2", endpoint_url="nowhere")

    with pytest.raises(ConfigurationError, match="nowhere") as caught:
        settings.create_client("sqs", ADDRESSES["sqs"])

    assert not any(secret in str(caught.value) for secret in (*KEYS.values(), TOKEN))


# Environment variables.


def test_the_variables_are_those_of_the_documentation() -> None:
    assert (QUEUE_URL_VARIABLE, TOPIC_ARN_VARIABLE) == ("MEGAFLOW_QUEUE_URL", "MEGAFLOW_TOPIC_ARN")


def test_a_parameter_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEGAFLOW_QUEUE_URL", "https://from.the.environment")

    assert resolve("queue_url", "https://given", QUEUE_URL_VARIABLE, start="http") == "https://given"


def test_a_variable_stands_in_for_its_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEGAFLOW_QUEUE_URL", "https://from.the.environment")

    assert resolve("queue_url", None, QUEUE_URL_VARIABLE, start="http") == "https://from.the.environment"


@pytest.mark.parametrize("variable", [None, ""])
@pytest.mark.parametrize("value", [None, ""])
def test_with_neither_the_error_names_both(
    monkeypatch: pytest.MonkeyPatch, value: str | None, variable: str | None
) -> None:
    monkeypatch.delenv("MEGAFLOW_TOPIC_ARN", raising=False)
    if variable is not None:
        monkeypatch.setenv("MEGAFLOW_TOPIC_ARN", variable)

    with pytest.raises(ConfigurationError, match=r"^topic_arn is not set: give topic_arn=, or set MEGAFLOW_TOPIC_ARN$"):
        resolve("topic_arn", value, TOPIC_ARN_VARIABLE, start="arn:")


# Exceptions to retry on.


class FlakyError(Exception):
    """One of the user's own."""


@pytest.mark.parametrize(
    ("given_types", "read"),
    [
        ((), ()),
        (FlakyError, (FlakyError,)),
        ((ConnectionError, FlakyError), (ConnectionError, FlakyError)),
        ([TimeoutError], (TimeoutError,)),
        ({OSError}, (OSError,)),
        ((each for each in (OSError,)), (OSError,)),
    ],
)
def test_retry_on_takes_one_type_or_several(given_types: Any, read: tuple[type[Exception], ...]) -> None:
    assert read_retry_on(given_types) == read


@pytest.mark.parametrize(
    "given_types", [None, "ConnectionError", ("ConnectionError",), (int,), FlakyError(), 7, KeyboardInterrupt, (None,)]
)
def test_retry_on_takes_nothing_but_exception_types(given_types: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^retry_on=.* must hold exception types; .* is none$"):
        read_retry_on(given_types)
