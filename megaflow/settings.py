"""Settings: what a user can configure, checked when it is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from megaflow import limits
from megaflow.backoff import Backoff, exponential_backoff
from megaflow.checks import check_choice, check_function, check_seconds, check_whole, refused
from megaflow.errors import ConfigurationError, DependencyError

QUEUE_URL_VARIABLE: Final = "MEGAFLOW_QUEUE_URL"
TOPIC_ARN_VARIABLE: Final = "MEGAFLOW_TOPIC_ARN"

VARIABLES: Final[Mapping[str, str]] = {
    QUEUE_URL_VARIABLE: "URL or ARN of the queue, where an `App`, a publisher or `megaflow publish` is given none",
    TOPIC_ARN_VARIABLE: "ARN of the topic, where an `App`, a publisher or `megaflow publish` is given none",
}
"""The environment variables that megaflow reads itself. boto3 reads its own."""

_FORMS: Final[Mapping[str, str]] = {QUEUE_URL_VARIABLE: "a URL or an ARN", TOPIC_ARN_VARIABLE: "an ARN"}
"""What each variable holds, in an error's few words."""

Unmatched: TypeAlias = Literal["delete", "keep", "dead_letter"]
OnInvalid: TypeAlias = Literal["dead_letter", "keep", "delete"]
RecordErrors: TypeAlias = Literal["text", "type"]
RetryOn: TypeAlias = type[Exception] | Iterable[type[Exception]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreaker:
    """When to wait, as something that handlers need is away, such as a database: ``App(breaker=CircuitBreaker(...))``.

    It opens when a handler has failed so often in a row with one of these errors, each of which is worth another try by
    itself. Once it has been open for a while, it lets one message try, and opens again, or closes, with what comes of
    that. Messages wait meanwhile, in hand: that costs them no delivery. What else a handler raises or asks for, such as
    `RetryLater`, says nothing of it.

    Raises `ConfigurationError` naming what is out of range.
    """

    failures: int = 5
    """After how many failures in a row it opens. They are counted for each handler."""

    seconds: float = 30.0
    """For how long it is open before the next try, 0.1 or more."""

    on: RetryOn = (ConnectionError,)
    """The exceptions that count, one type or several. What a factory of `App.provide` has failed with counts, too, and
    a `HandlerTimeoutError` where `TimeoutError` does.
    """

    def __post_init__(self) -> None:
        """Check what is given."""
        check_whole("failures", self.failures, 1, 10_000)
        check_seconds("seconds", self.seconds, lowest=0.1)
        # What can be read only once would be read by this.
        object.__setattr__(self, "on", read_retry_on(self.on, "on"))
        if not self.types:
            raise ConfigurationError(f"on={self.on!r} must hold exception types: with none of them it never opens")

    def counts(self, error: BaseException) -> bool:
        """Tell whether *error* counts, or one of those that it groups."""
        if isinstance(error, BaseExceptionGroup):
            return any(map(self.counts, error.exceptions))
        if isinstance(error, DependencyError) and error.__cause__ is not None:
            return self.counts(error.__cause__)
        return isinstance(error, self.types)

    @property
    def types(self) -> tuple[type[Exception], ...]:
        """The exceptions that count, several or one."""
        return read_retry_on(self.on, "on") or ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    """How a queue is consumed; times in seconds. Raises `ConfigurationError` naming what is out of range."""

    concurrency: int = 10
    max_number_of_messages: int = 10
    wait_time_seconds: int = 20
    visibility_timeout: int = 30
    max_processing_time: float = limits.VISIBILITY_TIMEOUT
    prefetch: int | None = None
    max_receives: int | None = None
    shutdown_timeout: float = 25.0
    unmatched: Unmatched = "delete"
    dead_letter_queue_url: str | None = None
    record_errors: RecordErrors = "text"
    breaker: CircuitBreaker | None = None
    backoff: Backoff = field(default_factory=exponential_backoff)

    def __post_init__(self) -> None:
        """Check every range, by SQS's own limits where it has them."""
        check_whole("concurrency", self.concurrency, 1, 10_000)
        check_whole("max_number_of_messages", self.max_number_of_messages, 1, limits.RECEIVED_MESSAGES)
        check_whole("wait_time_seconds", self.wait_time_seconds, 0, limits.WAIT_TIME)
        check_whole("visibility_timeout", self.visibility_timeout, 1, limits.VISIBILITY_TIMEOUT)
        check_seconds("max_processing_time", self.max_processing_time, longest=limits.VISIBILITY_TIMEOUT)
        if self.prefetch is not None:
            check_whole("prefetch", self.prefetch, 0, 10_000)
        if self.max_receives is not None:
            check_whole("max_receives", self.max_receives, 1, 1_000)
        check_seconds("shutdown_timeout", self.shutdown_timeout)
        check_choice("unmatched", self.unmatched, get_args(Unmatched))
        check_choice("record_errors", self.record_errors, get_args(RecordErrors))
        check_backoff(self.backoff)
        check_breaker(self.breaker)

    @property
    def records_error_texts(self) -> bool:
        """Whether stores and dead-letter queues hold what errors say, beside their types."""
        return self.record_errors == "text"

    @property
    def received_in_advance(self) -> int:
        """How many messages may wait in hand, where handlers are so quick that they do not wait long."""
        return max(self.concurrency, self.max_number_of_messages) if self.prefetch is None else self.prefetch


def read_retry_on(given: RetryOn | None, name: str = "retry_on") -> tuple[type[Exception], ...] | None:
    """Return the exception types in *given*, one or several, and None where nothing is said.

    Raises `ConfigurationError` for anything else.
    """
    if given is None:
        return None
    types = (given,) if isinstance(given, type | str) else given
    types = tuple(types) if isinstance(types, Iterable) else (types,)
    for each in types:
        if not (isinstance(each, type) and issubclass(each, Exception)):
            raise ConfigurationError(f"{name}={given!r} must hold exception types; {each!r} is none")
    return types


def resolve(parameter: str, value: str | None, variable: str, *, read: Callable[[str, object], str]) -> str:
    """Return *value*, else what the environment *variable* holds, as ``read(name, value)`` makes it.

    Raises `ConfigurationError` where neither is set, and what *read* raises.
    """
    if value:
        return read(parameter, value)
    if found := os.environ.get(variable):
        return read(variable, found)
    raise ConfigurationError(f"{parameter} is not set: give {parameter}=, or set {variable} ({_FORMS[variable]})")


def refuse_both(one: str, value: object, other: str, other_value: object) -> None:
    """Raise `ConfigurationError` where two parameters that say the same thing are both given."""
    if value is not None and other_value is not None:
        raise ConfigurationError(f"{one}={value!r} and {other}={other_value!r} say the same thing twice: give one")


def check_address(parameter: str, value: object, read: Callable[[str, object], str]) -> None:
    """Raise what *read* raises for what is no text; any text is read when it is first needed."""
    if not (value is None or isinstance(value, str)):
        read(parameter, value)


def check_backoff(value: object) -> None:
    """Raise `ConfigurationError` unless *value* is a function of the receive count."""
    check_function("backoff", value, "(receive_count) -> seconds", takes=1)


def check_breaker(value: object) -> None:
    """Raise `ConfigurationError` unless *value* is a circuit breaker, or None."""
    if not (value is None or isinstance(value, CircuitBreaker)):
        raise refused("breaker", value, "a CircuitBreaker: breaker=CircuitBreaker(failures=5)")
