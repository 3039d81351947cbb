"""Routers: the decorators that register handlers, and what collects them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, Self, TypeVar, Unpack

from megaflow.callables import read_signature
from megaflow.errors import PatternError, RegistrationError
from megaflow.handlers.dependencies import Providers, ProviderScope
from megaflow.handlers.event_rules import EventRules, event_pattern, resolve_aliases
from megaflow.handlers.handler import Handler, make_handler
from megaflow.handlers.options import HandlerOptions, read_options
from megaflow.handlers.status import ProcessStatus
from megaflow.keywords import check_keywords
from megaflow.match.conditions import EVERYTHING, Condition
from megaflow.match.pattern import as_condition
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message

Function = TypeVar("Function", bound=Callable[..., ProcessStatus | Awaitable[ProcessStatus | None] | None])


class Decorator(Protocol):
    """What registers a function, and returns it."""

    def __call__(self, function: Function, /) -> Function: ...


class _EventOptions(EventRules, HandlerOptions, total=False):
    """Rules and options."""


class Router:
    """Collects handlers; `App.include` takes those of another file in.

    Every decorator returns the function it got, which can be registered several times and still runs once per message.
    It takes these options:

    - ``retry_on=`` names exceptions after which a message comes again, besides those that the app names; ``()`` says
      that none is worth another try, whatever the app names.
    - ``handler_name=`` names the handler in logs.
    - ``timeout=`` is how many seconds the handler may take. One that is async is then cancelled, and its message comes
      again. One that is not cannot be stopped: its thread is left alone and replaced, and its message comes again.
    - ``idempotency_key=`` is a function of the payload that returns a text: of messages with the same one, the handler
      gets one within ``idempotent_for=`` seconds (a day), in whatever process; the app needs a store for that.
    - ``on_invalid=`` says for this handler what it says for the `App`.
    """

    def __init__(self) -> None:
        self._handlers: list[Handler] = []
        self._providers = Providers()

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """The handlers in order of registration."""
        return tuple(self._handlers)

    @property
    def providers(self) -> Providers:
        """What `provide` was given, by type."""
        return self._providers

    def on_event(self, **rules: Unpack[_EventOptions]) -> Decorator:
        """Register a function for MEGA events that match *rules*.

        A rule is the pattern for one field of the event: ``domain="cart", attributes={"quantity": gt(0)}``. Its long
        name (``event_domain``) says the same. None is the pattern null. Raises `PatternError` for a wrong pattern, and
        for a name together with its alias; `TypeError` for what is neither a rule nor an option.
        """
        check_keywords("on_event()", rules, {**EventRules.__annotations__, **HandlerOptions.__annotations__})
        options = {name: value for name, value in rules.items() if name in HandlerOptions.__annotations__}
        asked = {name: pattern for name, pattern in rules.items() if name not in options}
        return self._decorator(Kind.MEGA, event_pattern(resolve_aliases(asked)), options)

    def on_data(self, pattern: object = None, **options: Unpack[HandlerOptions]) -> Decorator:
        """Register a function for data objects that match *pattern*, by default for all of them."""
        return self._decorator(Kind.DATA, data_pattern(pattern), options)

    def on_text(self, pattern: object = None, **options: Unpack[HandlerOptions]) -> Decorator:
        """Register a function for text that matches *pattern*, by default for all of it."""
        return self._decorator(Kind.TEXT, _pattern_or_everything(pattern), options)

    def on_binary(self, **options: Unpack[HandlerOptions]) -> Decorator:
        """Register a function for bytes."""
        return self._decorator(Kind.BINARY, EVERYTHING, options)

    def on_message(
        self, predicate: Callable[[Message], bool] | None = None, **options: Unpack[HandlerOptions]
    ) -> Decorator:
        """Register a function for messages of any kind for which *predicate* holds; it gets the `Message`."""
        if predicate is not None and not callable(predicate):
            raise PatternError(f"on_message() takes a function of the message, not {type(predicate).__qualname__}")
        return self._decorator(Kind.ANY, _pattern_or_everything(predicate), options)

    def provide(self, type: Any, factory: Callable[..., Any], *, scope: ProviderScope = "process") -> None:
        """Let *factory* make what handlers ask for in a parameter annotated *type*.

        It is a function or a class that takes nothing but what is provided as well, sync or async. A generator
        function yields what is provided, and is gone on with to close it; a context manager is entered, and left.
        What the ``scope="process"`` is for is made once, when it is first needed, and closed when `App.run` ends; with
        ``"message"``, for each call of a handler, and closed right after it, being told of what the handler raised.
        Where it cannot be made the message comes again. Raises `RegistrationError` for what cannot work.
        """
        self._providers.add(type, factory, scope)

    def include(self, router: Router) -> Self:
        """Take in the handlers that *router* has now, in its order, and what it provides."""
        if not isinstance(router, Router) or router is self:
            raise RegistrationError(f"include() takes another Router, not {router!r}")
        self._providers.include(router.providers)
        for handler in router.handlers:
            self.register(handler)
        return self

    def register(self, handler: Handler) -> None:
        """Add a handler that was made elsewhere, as `make_handler` makes them."""
        self._handlers.append(handler)

    def _decorator(self, kind: Kind, pattern: Condition, given: Mapping[str, Any]) -> Decorator:
        options, name = read_options(given), given.get("handler_name", "")

        def register(function: Function) -> Function:
            handler = make_handler(function, kind, pattern, name=name, options=options, providers=self._providers)
            self.register(handler)
            return function

        return register


def data_pattern(pattern: object) -> Condition:
    """Return the condition for a data object; raise `PatternError` for what never is one."""
    if pattern is None or isinstance(pattern, dict | Condition) or callable(pattern):
        return _pattern_or_everything(pattern)
    raise PatternError(f"a pattern for data objects is a dict, not {type(pattern).__qualname__}")


def _pattern_or_everything(pattern: object) -> Condition:
    if pattern is None:
        return EVERYTHING
    condition = as_condition(pattern)
    # `@app.on_data` without parentheses makes the handler its own pattern, and nothing would be registered.
    returns = str(read_signature(pattern).return_annotation) if inspect.isfunction(pattern) else ""
    if returns == "None" or ProcessStatus.__name__ in returns:
        raise PatternError(
            f"{getattr(pattern, '__qualname__', pattern)} returns {returns}, no bool: is it the handler, and are the "
            "parentheses missing?"
        )
    return condition
