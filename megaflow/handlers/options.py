"""Options of a handler, as its decorator takes them: ``retry_on``, ``timeout``, ``rate`` and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypedDict, get_args

from megaflow.backoff import Backoff
from megaflow.checks import check_choice, check_function, check_seconds, check_time, check_whole
from megaflow.errors import ConfigurationError
from megaflow.handlers.rate import Rate, read_rate
from megaflow.keywords import check_keywords
from megaflow.settings import (
    CircuitBreaker,
    OnInvalid,
    RetryOn,
    check_backoff,
    check_breaker,
    read_retry_on,
)

DAY: Final = 86_400.0

MOST_IN_BATCH: Final = 10_000
"""Messages that one call of a handler may get."""

FindKey: TypeAlias = Callable[[Any], str | int | None]
"""Finds the idempotency key of a payload; None is that it has none, and is handled each time."""


class HandlerOptions(TypedDict, total=False):
    """What every decorator takes beside the pattern."""

    retry_on: RetryOn | None
    """Exceptions after which the message comes again, besides those of the app. ``()`` is none, not even those."""

    backoff: Backoff | None
    """How long a message that the handler keeps stays hidden, in place of what the app says. Where several handlers
    keep a message, the longest time holds.
    """

    handler_name: str
    """The name in logs, explanations and stores; by default ``module.qualname`` of the function."""

    timeout: float | None
    """How many seconds the handler may take. An async handler is then cancelled. Another one cannot be stopped: its
    thread is left alone and replaced. Either way the message comes again.
    """

    idempotency_key: FindKey | None
    """A function of the payload that returns a text or a whole number, 7 being the same key as ``"7"``: of messages
    with the same key the handler gets one. None as the key is no key. What the function raises is read as an error of
    the handler's own. The app needs a store for that, or the handler an `Inbox`.
    """

    idempotent_for: float
    """For how many seconds after it has run; a day by default. An `Inbox` has its own time."""

    on_invalid: OnInvalid | None
    """What becomes of a message that is not what the annotations say, in place of what the app says."""

    max_concurrency: int | None
    """How many calls of the handler may run at once, in each process. A message that has to wait for that, or for the
    *rate*, is in hand: its visibility timeout is extended, and it holds neither a thread nor a place of *concurrency*.
    Handlers without such limits get it first.
    """

    rate: str | None
    """How many calls of the handler may begin within any second, minute or hour, in each process: ``"10/s"``,
    ``"100/m"``, ``"1000/h"``.
    """

    breaker: CircuitBreaker | None
    """When messages wait for the handler, in hand, as it fails again and again for want of something that is away. It
    takes the place of what the app says. Other handlers go on.
    """

    batch_size: int | None
    """How many messages the handler gets at most in one call, as a list; up to 10,000. Its first parameter is annotated
    ``list[View]``, ``list[dict]``, ``list[Payload]`` or ``list[Message]``. It is called when so many wait, when the
    first has waited *batch_seconds*, or when nothing more can come.
    """

    batch_seconds: float
    """How many seconds a message waits at most for others to share its batch; 1 by default. The app's
    *max_processing_time* has to be longer.
    """


@dataclass(frozen=True, slots=True)
class Options:
    """The same without the name, checked; times in seconds."""

    retry_on: tuple[type[Exception], ...] | None = None
    """After which exceptions, besides the app's, its message comes again; () is after none, None says nothing."""

    backoff: Backoff | None = None
    """How long a message that it keeps stays hidden; None leaves it to the app."""

    timeout: float | None = None
    """How long it may take; None is as long as it wants."""

    idempotency_key: FindKey | None = None
    """A function of the payload: messages with the same key are handled once within ``idempotent_for``."""

    idempotent_for: float = DAY

    on_invalid: OnInvalid | None = None
    """What becomes of a message that is not what the annotations say; None leaves it to the app."""

    max_concurrency: int | None = None
    """How many calls may run at once; None is as many as there are."""

    rate: Rate | None = None
    """How many calls may begin within a time; None is as many as there are."""

    breaker: CircuitBreaker | None = None
    """When messages wait as it fails; None leaves it to the app."""

    batch_size: int | None = None
    """How many messages it gets at most in one call; None is that it gets one, and no list."""

    batch_seconds: float = 1.0
    """How long a message waits at most for others to share its batch."""

    @property
    def has_turns(self) -> bool:
        """Whether a message may have to wait for its turn before the handler is called."""
        return self.has_limits or self.breaker is not None

    @property
    def has_limits(self) -> bool:
        """Whether a message may have to wait for that although nothing is away."""
        return self.max_concurrency is not None or self.rate is not None or self.takes_batches

    @property
    def takes_batches(self) -> bool:
        """Whether it gets several messages in one call."""
        return self.batch_size is not None


DEFAULTS: Final = Options()


def read_options(given: Mapping[str, Any]) -> Options:
    """Return *given* checked.

    Raises `TypeError` for an unknown option, `ConfigurationError` for a value that cannot work.
    """
    check_keywords("the decorator of a handler", given, HandlerOptions.__annotations__)
    named = {option: value for option, value in given.items() if option != "handler_name"}
    name = given.get("handler_name")
    if name is not None and not (isinstance(name, str) and name):
        raise ConfigurationError(f"handler_name={name!r} must be a text that says what the handler is called")
    rate = given.get("rate")
    read = {"retry_on": read_retry_on(given.get("retry_on")), "rate": None if rate is None else read_rate(rate)}
    options = Options(**named | read)
    if options.backoff is not None:
        check_backoff(options.backoff)
    if options.timeout is not None:
        check_time("timeout", options.timeout)
    if options.on_invalid is not None:
        check_choice("on_invalid", options.on_invalid, get_args(OnInvalid))
    if options.max_concurrency is not None:
        check_whole("max_concurrency", options.max_concurrency, 1, 10_000)
    check_breaker(options.breaker)
    if options.batch_size is not None:
        check_whole("batch_size", options.batch_size, 1, MOST_IN_BATCH)
    check_seconds("batch_seconds", options.batch_seconds)
    if "batch_seconds" in given and options.batch_size is None:
        raise ConfigurationError(
            f"batch_seconds={options.batch_seconds!r} says how long a batch is waited for, and there is none: give "
            "batch_size= too, or leave it out"
        )
    check_seconds("idempotent_for", options.idempotent_for)
    if "idempotent_for" in given and "idempotency_key" not in given:
        raise ConfigurationError(
            f"idempotent_for={options.idempotent_for!r} says how long an idempotency key is remembered, and there is "
            "none: give idempotency_key= too, or leave it out"
        )
    if options.idempotency_key is not None:
        check_function("idempotency_key", options.idempotency_key, "(payload) -> key", takes=1)
    return options
