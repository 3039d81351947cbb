"""What a user can configure: ranges, environment variables, exceptions to retry on."""

from __future__ import annotations

from typing import Any

import pytest

from megaflow.errors import ConfigurationError
from megaflow.settings import QUEUE_URL_VARIABLE, TOPIC_ARN_VARIABLE, ConsumerSettings, read_retry_on, resolve

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
        ("record_errors", "text"),
        ("record_errors", "type"),
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


@pytest.mark.parametrize("value", ["none", "", None, True])
def test_record_errors_is_one_of_two_words(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^record_errors=.* must be one of 'text', 'type'$"):
        ConsumerSettings(record_errors=value)


def test_a_backoff_is_a_function() -> None:
    with pytest.raises(ConfigurationError, match=r"^backoff=30 must be a function \(receive_count\) -> seconds$"):
        ConsumerSettings(backoff=30)  # type: ignore[arg-type]


# Environment variables.


def test_the_variables_are_those_of_the_documentation() -> None:
    assert (QUEUE_URL_VARIABLE, TOPIC_ARN_VARIABLE) == ("MEGAFLOW_QUEUE_URL", "MEGAFLOW_TOPIC_ARN")


def read(name: str, value: object) -> str:
    return f"{name} is {value}"


def test_a_parameter_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEGAFLOW_QUEUE_URL", "theirs")

    assert resolve("queue_url", "ours", QUEUE_URL_VARIABLE, read=read) == "queue_url is ours"


def test_a_variable_stands_in_for_its_parameter_and_is_named_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEGAFLOW_QUEUE_URL", "theirs")

    assert resolve("queue_url", None, QUEUE_URL_VARIABLE, read=read) == "MEGAFLOW_QUEUE_URL is theirs"


@pytest.mark.parametrize("variable", [None, ""])
@pytest.mark.parametrize("value", [None, ""])
def test_with_neither_the_error_names_both(
    monkeypatch: pytest.MonkeyPatch, value: str | None, variable: str | None
) -> None:
    monkeypatch.delenv("MEGAFLOW_TOPIC_ARN", raising=False)
    if variable is not None:
        monkeypatch.setenv("MEGAFLOW_TOPIC_ARN", variable)

    said = r"^topic_arn is not set: give topic_arn=, or set MEGAFLOW_TOPIC_ARN \(an ARN\)$"
    with pytest.raises(ConfigurationError, match=said):
        resolve("topic_arn", value, TOPIC_ARN_VARIABLE, read=read)


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
    "given_types", ["ConnectionError", ("ConnectionError",), (int,), FlakyError(), 7, KeyboardInterrupt, (None,)]
)
def test_retry_on_takes_nothing_but_exception_types(given_types: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^retry_on=.* must hold exception types; .* is none$"):
        read_retry_on(given_types)
