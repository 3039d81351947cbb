"""How a handler is to be run, as its decorator says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict, get_args

from megaflow.errors import ConfigurationError
from megaflow.settings import OnInvalid, RetryOn, check_choice, check_seconds, read_retry_on

DAY: Final = 86_400.0


class HandlerOptions(TypedDict, total=False):
    """What every decorator takes besides the pattern; see `Router`."""

    retry_on: RetryOn
    handler_name: str
    timeout: float | None
    idempotency_key: Callable[[Any], str | None] | None
    idempotent_for: float
    on_invalid: OnInvalid | None


@dataclass(frozen=True, slots=True)
class Handling:
    """The same, checked; times in seconds."""

    retry_on: tuple[type[Exception], ...] = ()
    name: str = ""
    timeout: float | None = None
    idempotency_key: Callable[[Any], str | None] | None = None
    idempotent_for: float = DAY
    on_invalid: OnInvalid | None = None
    """What becomes of a message that does not validate; None leaves it to the app."""


USUAL: Final = Handling()


def read_options(given: Mapping[str, Any]) -> Handling:
    """Return *given* checked.

    Raises `TypeError` for an unknown option, `ConfigurationError` for a value that cannot work.
    """
    unknown = given.keys() - HandlerOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"there is no option {min(unknown)!r}; there are {', '.join(HandlerOptions.__annotations__)}")
    options = {("name" if option == "handler_name" else option): value for option, value in given.items()}
    options["retry_on"] = read_retry_on(given.get("retry_on", ()))
    handling = Handling(**options)
    if handling.timeout is not None:
        check_seconds("timeout", handling.timeout)
    if handling.on_invalid is not None:
        check_choice("on_invalid", handling.on_invalid, get_args(OnInvalid))
    check_seconds("idempotent_for", handling.idempotent_for)
    if handling.idempotency_key is not None and not callable(handling.idempotency_key):
        raise ConfigurationError(f"idempotency_key={handling.idempotency_key!r} must be a function of the payload")
    return handling
