"""Handlers: a function, what it is registered for, and how it is to be run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from megaflow.callables import is_async, is_generator, name_of
from megaflow.errors import RegistrationError
from megaflow.handlers.binding import bind as bind_one
from megaflow.handlers.binding import take_nothing
from megaflow.handlers.binding_batches import bind_batch
from megaflow.handlers.options import DEFAULTS, Options
from megaflow.handlers.providers import Need, Providers
from megaflow.match.conditions import EVERYTHING, Condition
from megaflow.match.containers import Fields
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Handler:
    """A function and what it is registered for. Decorators make handlers; `App.handlers` has them."""

    name: str
    """``module.qualname`` of the function, or what ``handler_name=`` says.

    The module of a script is called as it is when it is imported: ``orders`` for ``python orders.py``.
    """

    function: Callable[..., Any]
    """The function that was registered."""

    kind: Kind
    """The kind of message that it takes; `Kind.ANY` for `App.on_message`."""

    pattern: Condition = field(repr=False)
    """Its pattern, as a `Condition`."""

    where: str
    """File and line of the function."""

    bound: Callable[..., Any] = field(repr=False)
    """The function as megaflow calls it: with a message, and with what the app provides where it needs something."""

    take: Callable[[Message], Mapping[str, Any]] = field(default=take_nothing, repr=False)
    """Where it gets batches, what it takes of one message, by the names of its parameters."""

    needs: Mapping[str, Need] = field(default_factory=dict, repr=False)
    """What the app has to provide for it, by the names of its parameters."""

    is_async: bool = field(default=False, repr=False)
    """Whether it is a coroutine function."""

    options: Options = field(default=DEFAULTS, repr=False)
    """The options of its decorator, each as an attribute: ``handler.options.timeout``."""

    @property
    def matches_everything(self) -> bool:
        """Whether it takes every message of its kind."""
        objects = self.kind in (Kind.MEGA, Kind.DATA)
        return self.pattern is EVERYTHING or (objects and isinstance(self.pattern, Fields) and not self.pattern.keys)


def make_handler(
    function: Callable[..., Any],
    kind: Kind,
    pattern: Condition,
    *,
    name: str = "",
    options: Options = DEFAULTS,
    providers: Providers | None = None,
) -> Handler:
    """Return *function* as a handler, by default of its own name; raise `RegistrationError` where it cannot be one."""
    if not callable(function):
        raise RegistrationError(f"a handler is a function, not {type(function).__qualname__}")
    if inspect.isclass(function):
        raise RegistrationError(f"the class {function.__qualname__} is no handler: register a function")
    name = name or _name(function)
    plain = inspect.unwrap(_without_partial(function))
    if is_generator(plain):
        raise RegistrationError(f"{name} is a generator: calling it runs nothing of it, so it cannot be a handler")
    bind = bind_batch if options.takes_batches else bind_one
    binding = bind(function, name, kind, Providers() if providers is None else providers)
    return Handler(
        name=name,
        function=function,
        kind=kind,
        pattern=pattern,
        where=_where(plain),
        bound=binding.bound,
        take=binding.take,
        needs=binding.needs,
        is_async=is_async(function),
        options=options,
    )


def _without_partial(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _name(function: Callable[..., Any]) -> str:
    named = _without_partial(function)
    if not hasattr(named, "__qualname__"):
        named = type(named)
    return name_of(named)


def _where(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None) or getattr(getattr(function, "__call__", None), "__code__", None)  # noqa: B004
    return f"{code.co_filename}:{code.co_firstlineno}" if code else "unknown"
