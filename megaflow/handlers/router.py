"""What was registered: `Handler`, and `Router` with the decorators that collect them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self, TypedDict, TypeVar, Unpack

from megaflow.callables import is_async, is_generator
from megaflow.errors import PatternError, RegistrationError
from megaflow.handlers.binding import bind
from megaflow.handlers.dependencies import Need, Providers, Scope
from megaflow.handlers.options import DAY, USUAL, HandlerOptions, Handling, read_options
from megaflow.handlers.status import ProcessStatus
from megaflow.match.conditions import EVERYTHING, Condition, Fields
from megaflow.match.pattern import as_condition
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message
from megaflow.settings import OnInvalid

Function = TypeVar("Function", bound=Callable[..., ProcessStatus | Awaitable[ProcessStatus | None] | None])


class Decorator(Protocol):
    """What registers a function, and returns it."""

    def __call__(self, function: Function, /) -> Function: ...


# https://github.com/mega-distributed/sqs-mega-python: "all supported pattern-matching class attributes"
EVENT_RULES: Final[Mapping[str, tuple[str, str]]] = {
    "event_name": ("event", "name"),
    "event_domain": ("event", "domain"),
    "event_version": ("event", "version"),
    "event_timestamp": ("event", "timestamp"),
    "event_subject": ("event", "subject"),
    "event_publisher": ("event", "publisher"),
    "event_attributes": ("event", "attributes"),
    "object_type": ("object", "type"),
    "object_version": ("object", "version"),
    "object_id": ("object", "id"),
    "object_current": ("object", "current"),
    "object_previous": ("object", "previous"),
}
"""Where in an event each rule looks."""

EVENT_ALIASES: Final[Mapping[str, str]] = {
    "event_name": "name",
    "event_domain": "domain",
    "event_version": "version",
    "event_timestamp": "timestamp",
    "event_subject": "subject",
    "event_publisher": "publisher",
    "event_attributes": "attributes",
    "object_current": "current_object",
    "object_previous": "previous_object",
}


class EventRules(TypedDict, total=False):
    """The rules of `Router.on_event`: any pattern for each; those that are not given are not asked."""

    event_name: object
    event_domain: object
    event_version: object
    event_timestamp: object
    event_subject: object
    event_publisher: object
    event_attributes: object
    object_type: object
    object_version: object
    object_id: object
    object_current: object
    object_previous: object
    name: object
    domain: object
    version: object
    timestamp: object
    subject: object
    publisher: object
    attributes: object
    current_object: object
    previous_object: object
    extra: object


class _EventOptions(EventRules, HandlerOptions, total=False):
    """Rules and options."""


@dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """A function and what it is registered for."""

    name: str
    """``module.qualname`` of the function, or what ``handler_name=`` said."""

    function: Callable[..., Any]
    kind: Kind
    pattern: Condition = field(repr=False)
    where: str
    """The file and line of the function."""

    retry_on: tuple[type[Exception], ...] = field(repr=False)
    call: Callable[..., Any] = field(repr=False)
    """The function, taking what it wants from a message; where it has *needs*, what fills them as well."""

    is_async: bool = field(default=False, repr=False)
    """Whether its function is a coroutine function."""

    timeout: float | None = field(default=None, repr=False)
    """Seconds that it may take; None is as long as it wants."""

    idempotency_key: Callable[[Any], str | None] | None = field(default=None, repr=False)
    """A function of the payload: messages with the same key are handled once within ``idempotent_for`` seconds."""

    idempotent_for: float = field(default=DAY, repr=False)

    needs: Mapping[str, Need] = field(default_factory=dict, repr=False)
    """What else it needs, by the names of its parameters."""

    on_invalid: OnInvalid | None = field(default=None, repr=False)
    """What becomes of a message that is not what its annotations say; None leaves it to the app."""

    @property
    def matches_everything(self) -> bool:
        """Whether it takes every message of its kind."""
        objects = self.kind in (Kind.MEGA, Kind.DATA)
        return self.pattern is EVERYTHING or (objects and isinstance(self.pattern, Fields) and not self.pattern.keys)


class Router:
    """Collects handlers; `App.include` takes those of another file in.

    Every decorator returns the function it got, which can be registered several times and still runs once per message.
    It takes these options:

    - ``retry_on=`` names the exceptions after which a message comes again, ``handler_name=`` the handler in logs.
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

    def on_event(self, **rules: Unpack[_EventOptions]) -> Decorator:
        """Register a function for MEGA events that match *rules*.

        A rule is the pattern for one field of the event: ``domain="cart", attributes={"quantity": gt(0)}``. Its long
        name (``event_domain``) says the same. None is the pattern null. Raises `PatternError` for a wrong pattern, and
        for a name together with its alias.
        """
        options = {name: value for name, value in rules.items() if name in HandlerOptions.__annotations__}
        asked = {name: pattern for name, pattern in rules.items() if name not in options}
        return self._decorator(Kind.MEGA, event_pattern(_resolve_aliases(asked)), options)

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

    def provide(self, type: Any, factory: Callable[..., Any], *, scope: Scope = "process") -> None:
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
        self._providers.include(router._providers)
        for handler in router.handlers:
            self.register(handler)
        return self

    def register(self, handler: Handler) -> None:
        """Add a handler that was made elsewhere, as `make_handler` makes them."""
        self._handlers.append(handler)

    def _decorator(self, kind: Kind, pattern: Condition, options: Mapping[str, Any]) -> Decorator:
        handling = read_options(options)

        def register(function: Function) -> Function:
            self.register(make_handler(function, kind, pattern, handling, self._providers))
            return function

        return register


def make_handler(
    function: Callable[..., Any],
    kind: Kind,
    pattern: Condition,
    handling: Handling = USUAL,
    providers: Providers | None = None,
) -> Handler:
    """Return *function* as a handler; raise `RegistrationError` where it cannot be one."""
    if not callable(function):
        raise RegistrationError(f"a handler is a function, not {type(function).__qualname__}")
    if inspect.isclass(function):
        raise RegistrationError(f"the class {function.__qualname__} is no handler: register a function")
    name = handling.name or _name(function)
    plain = inspect.unwrap(_without_partial(function))
    if is_generator(plain):
        raise RegistrationError(f"{name} is a generator: calling it runs nothing of it, so it cannot be a handler")
    binding = bind(function, name, kind, Providers() if providers is None else providers)
    return Handler(
        name,
        function,
        kind,
        pattern,
        _where(plain),
        handling.retry_on,
        binding.call,
        is_async(function),
        handling.timeout,
        handling.idempotency_key,
        handling.idempotent_for,
        binding.needs,
        handling.on_invalid,
    )


def event_pattern(rules: Mapping[str, object]) -> Condition:
    """Return the condition for *rules*, by their long names; its paths are those of the event."""
    pattern: dict[str, Any] = {}
    for rule, wanted in rules.items():
        if rule == "extra":
            pattern["extra"] = wanted
        else:
            section, key = EVENT_RULES[rule]
            pattern.setdefault(section, {})[key] = wanted
    return as_condition(pattern)


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
    returns = str(getattr(pattern, "__annotations__", {}).get("return", bool)) if inspect.isfunction(pattern) else ""
    if returns == "None" or ProcessStatus.__name__ in returns:
        raise PatternError(
            f"{getattr(pattern, '__qualname__', pattern)} returns {returns}, no bool: is it the handler, and are the "
            "parentheses missing?"
        )
    return condition


def _resolve_aliases(given: Mapping[str, object]) -> dict[str, object]:
    long_names = {alias: rule for rule, alias in EVENT_ALIASES.items()}
    rules: dict[str, object] = {}
    for name, pattern in given.items():
        rule = long_names.get(name, name)
        if rule not in EVENT_RULES and rule != "extra":
            raise TypeError(f"on_event() has no rule {name!r}; it has {', '.join(EventRules.__annotations__)}")
        if rule in rules:
            raise PatternError(f"on_event() got both {rule!r} and its alias {EVENT_ALIASES[rule]!r}; give one")
        rules[rule] = pattern
    return rules


def _without_partial(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _name(function: Callable[..., Any]) -> str:
    named = _without_partial(function)
    if not hasattr(named, "__qualname__"):
        named = type(named)
    module = getattr(named, "__module__", None)  # methods of built-in types have none
    return f"{module}.{named.__qualname__}" if module else named.__qualname__


def _where(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None) or getattr(getattr(function, "__call__", None), "__code__", None)  # noqa: B004
    return f"{code.co_filename}:{code.co_firstlineno}" if code else "unknown"
