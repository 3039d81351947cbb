"""Routers: the decorators that register handlers, and what collects them."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Never, Protocol, Self, TypeAlias, TypeVar, Unpack

from megaflow.callables import read_signature
from megaflow.errors import PatternError, RegistrationError
from megaflow.handlers.event_rules import EventRules, event_pattern, resolve_aliases
from megaflow.handlers.handler import Handler, make_handler
from megaflow.handlers.inboxes import AnyInbox
from megaflow.handlers.options import DEFAULTS, HandlerOptions, read_options
from megaflow.handlers.providers import Providers, ProviderScope
from megaflow.handlers.status import ProcessStatus
from megaflow.keywords import check_keywords
from megaflow.match.conditions import EVERYTHING, Condition
from megaflow.match.pattern import as_condition
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message

Said: TypeAlias = ProcessStatus | Sequence[ProcessStatus | None] | None
"""What a handler returns: a status or nothing, and one that gets batches perhaps one for each message."""

Function = TypeVar("Function", bound=Callable[..., Said | Awaitable[Said]])


class Decorator(Protocol):
    """What registers a function, and returns it."""

    def __call__(self, function: Function, /) -> Function: ...


class _EventOptions(EventRules, HandlerOptions, total=False):
    """Rules and options."""


@dataclass(slots=True, eq=False)
class _Made:
    """A decorator that was made, and whether it has got a function."""

    method: str
    where: str
    asked: str
    """The function of yours that is its pattern; ``""`` where there is none."""

    thread: int
    """The thread that made it."""

    is_applied: bool = False

    def __str__(self) -> str:
        """Say in one line what is missing."""
        if self.asked:
            return (
                f"{self.where}: {self.method} has got {self.asked} as its pattern, and no handler: is "
                f"{self.asked} the handler, and are the parentheses missing? write @app.{self.method}()"
            )
        return f"{self.where}: {self.method}() has got no handler: write it with an @ above a function"


class Router:
    """Collects the handlers of one file, for `App.include`. `App` is a router as well.

    Decorators return the function that they got. It can be registered several times, and still runs once per message.
    Every decorator takes the options in `HandlerOptions`.
    """

    def __init__(self) -> None:
        self._handlers: list[Handler] = []
        self._made: dict[_Made, None] = {}
        """Decorators that have got no function yet, in order."""

        self._providers = Providers()

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """The handlers in order of registration."""
        return tuple(self._handlers)

    def on_event(self, *_misplaced: Never, **rules: Unpack[_EventOptions]) -> Decorator:
        """Register a function for MEGA events that match *rules*; without any, for all events.

        A rule is the pattern for one field of the event: ``domain="cart", attributes={"quantity": gt(0)}``. None is the
        pattern for null.

        Args:
            rules: ``name``, ``domain``, ``version``, ``timestamp``, ``subject``, ``publisher`` and ``attributes``, each
                also with ``event_`` before it; ``object_type``, ``object_id``, ``object_version``, ``object_current``
                and ``object_previous``, the last two also as ``current_object`` and ``previous_object``; ``extra``. And
                the options in `HandlerOptions`.

        Raises:
            PatternError: A pattern is wrong, one field has two rules, or a rule has no name.
            RegistrationError: Nobody can fill a parameter of the function.
            TypeError: A name is neither a rule nor an option.
        """
        _refuse_misplaced("on_event", _misplaced, "the rules of on_event() have names")
        check_keywords("on_event()", rules, {**EventRules.__annotations__, **HandlerOptions.__annotations__})
        options = {name: value for name, value in rules.items() if name in HandlerOptions.__annotations__}
        asked = {name: pattern for name, pattern in rules.items() if name not in options}
        return self._decorator(Kind.MEGA, event_pattern(resolve_aliases(asked)), options)

    def on_data(self, pattern: object = None, **options: Unpack[HandlerOptions]) -> Decorator:
        """Register a function for data objects, from JSON or BSON, that match *pattern*; by default for all of them."""
        return self._decorator(Kind.DATA, data_pattern(pattern), options, asked=pattern)

    def on_text(self, pattern: object = None, **options: Unpack[HandlerOptions]) -> Decorator:
        """Register a function for text messages that match *pattern*; by default for all of them."""
        return self._decorator(Kind.TEXT, _pattern_or_everything(pattern), options, asked=pattern)

    def on_binary(self, *_misplaced: Never, **options: Unpack[HandlerOptions]) -> Decorator:
        """Register a function for messages that are bytes."""
        _refuse_misplaced("on_binary", _misplaced, "on_binary() takes no pattern")
        return self._decorator(Kind.BINARY, EVERYTHING, options)

    def on_message(
        self, predicate: Callable[[Message], bool] | None = None, **options: Unpack[HandlerOptions]
    ) -> Decorator:
        """Register a function that gets each `Message`, of any kind, for which *predicate* returns something true."""
        if predicate is not None and not callable(predicate):
            raise PatternError(f"on_message() takes a function of the message, not {type(predicate).__qualname__}")
        return self._decorator(Kind.ANY, _pattern_or_everything(predicate), options, asked=predicate)

    def provide(self, type: Any, factory: Callable[..., Any] | AnyInbox, *, scope: ProviderScope | None = None) -> None:
        """Let *factory* make what handlers get in a parameter that is annotated *type*.

        Args:
            type: The annotation.
            factory: A function or class, sync or async. Its parameters get what is provided, by their annotations. A
                generator yields what it makes, and goes on to close it; a context manager is entered and left. Or an
                `Inbox`, in whose transaction the handler then runs.
            scope: ``"process"``, the default, makes one when it is first needed, and closes it when `App.run` ends.
                ``"message"``, which an `Inbox` always means, makes one for each call of a handler, and closes it after
                the call; it sees what the handler raised.

        Raises:
            RegistrationError: *type* is provided already, or nobody provides what *factory* needs.
        """
        self._providers.add(type, factory, scope)

    def include(self, router: Router) -> Self:
        """Add the handlers that *router* has now, in its order, and what it provides; return this router."""
        if not isinstance(router, Router) or router is self:
            raise RegistrationError(f"include() takes another Router, not {router!r}")
        self._providers.include(router._providers)
        self._made |= router._made
        for handler in router.handlers:
            self.register(handler)
        return self

    def register(self, handler: Handler) -> None:
        """Add a handler of another router."""
        self._handlers.append(handler)

    def _decorator(
        self, kind: Kind, pattern: Condition, given: Mapping[str, Any], *, asked: object = None
    ) -> Decorator:
        options, name = read_options(given) if given else DEFAULTS, given.get("handler_name", "")
        made = _note_made(asked)
        self._made[made] = None

        def register(function: Function) -> Function:
            made.is_applied = True
            self._made.pop(made, None)
            handler = make_handler(function, kind, pattern, name=name, options=options, providers=self._providers)
            self.register(handler)
            return function

        return register


def check_decorators(router: Router, *, by: int | None = None) -> None:
    """Raise `RegistrationError` where a decorator was made and got no function, as without its parentheses.

    Those of another thread may be about to get theirs: *by* names the one thread to look at.
    """
    decorators = tuple(router._made)  # noqa: SLF001 - an app is a router
    if unused := [str(made) for made in decorators if not made.is_applied and by in {None, made.thread}]:
        raise RegistrationError("; ".join(unused))


def data_pattern(pattern: object) -> Condition:
    """Return the condition for a data object; raise `PatternError` for what never is one."""
    if pattern is None or isinstance(pattern, dict | Condition) or callable(pattern):
        return _pattern_or_everything(pattern)
    raise PatternError(f"a pattern for data objects is a dict, not {type(pattern).__qualname__}")


def _pattern_or_everything(pattern: object) -> Condition:
    if pattern is None:
        return EVERYTHING
    condition = as_condition(pattern)
    # `@app.on_data` without parentheses makes the handler its own pattern: what returns no bool is found at once.
    returns = str(read_signature(pattern).return_annotation) if inspect.isfunction(pattern) else ""
    if returns == "None" or ProcessStatus.__name__ in returns:
        raise PatternError(
            f"{getattr(pattern, '__qualname__', pattern)} returns {returns}, no bool: is it the handler, and are the "
            "parentheses missing?"
        )
    return condition


def _refuse_misplaced(method: str, misplaced: tuple[object, ...], why: str) -> None:
    """Raise `PatternError` where *method* got something without a name, such as the handler itself."""
    for each in misplaced:
        if inspect.isroutine(each):
            raise PatternError(
                f"{method} has got {_name(each)} in place of rules or options: is it the handler, and are the "
                f"parentheses missing? write @app.{method}()"
            )
        named = ", ".join(f"{key}=..." for key in each) if isinstance(each, dict) else ""
        hint = f": write {method}({named})" if named else ""
        raise PatternError(f"{why}, and it got one value without a name, of type {type(each).__name__}{hint}")


def _note_made(asked: object) -> _Made:
    """Note for which method of a router a decorator is made, and where in the user's code."""
    method = sys._getframe(2)  # noqa: SLF001 - as `warnings` finds it
    caller = method.f_back or method
    where = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    is_named = inspect.isfunction(asked) and asked.__name__ != "<lambda>"
    return _Made(method.f_code.co_name, where, _name(asked) if is_named else "", threading.get_ident())


def _name(function: object) -> str:
    return getattr(function, "__qualname__", repr(function))
