"""Providers: how what `App.provide` was told of is made, by type, and whether that can work."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from megaflow.callables import is_async
from megaflow.checks import show
from megaflow.errors import RegistrationError
from megaflow.handlers.annotations import UNRESOLVED_REMEDY, Unresolved
from megaflow.handlers.inboxes import AnyInbox, is_inbox
from megaflow.handlers.parameters import is_optional, read_parameters

ProviderScope: TypeAlias = Literal["process", "message"]


@dataclass(frozen=True, slots=True)
class Need:
    """What a parameter is to be filled with; one that is *optional* only where somebody provides it."""

    type: Any
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Provider:
    """How something is made, and for how long."""

    type: Any
    factory: Callable[..., Any]
    scope: ProviderScope
    needs: Mapping[str, Need] = field(default_factory=dict)
    is_async: bool = False
    """Whether it, or something that it needs, has to be awaited."""

    inbox: AnyInbox | None = None
    """What opens the transaction of which it is given; then *factory* is not called."""


class Providers:
    """What is provided, by type."""

    def __init__(self) -> None:
        self._providers: dict[Any, Provider] = {}

    def __contains__(self, type_: object) -> bool:
        """Tell whether somebody provides *type_*."""
        try:
            return type_ in self._providers
        except TypeError:  # an annotation that has no hash is nothing that was provided
            return False

    def has_named(self, names: Collection[str]) -> bool:
        """Tell whether somebody provides a type of one of these names."""
        return any(name_of(type_).rpartition(".")[2] in names for type_ in self._providers)

    def __getitem__(self, type_: object) -> Provider:
        """Return how *type_* is made."""
        return self._providers[type_]

    def add(self, type_: Any, factory: Callable[..., Any] | AnyInbox, scope: ProviderScope | None) -> None:
        """Let *factory* make *type_*; raise `RegistrationError` where that cannot work."""
        if scope not in (None, *get_args(ProviderScope)):
            raise RegistrationError(f"scope={scope!r} must be one of {', '.join(map(repr, get_args(ProviderScope)))}")
        if is_inbox(factory) and scope == "process":
            raise RegistrationError(
                f"{name_of(type_)} comes of an inbox, with a transaction for each call of a handler: leave scope= "
                "out, or give scope='message'"
            )
        if not (callable(factory) or is_inbox(factory)):
            raise RegistrationError(f"what makes {name_of(type_)} is a function or a class, not {factory!r}")
        self.take(self._make(type_, factory, scope or "process"))

    def take(self, provider: Provider) -> None:
        """Add one that was made elsewhere; a second one for its type is refused."""
        known = self._providers.setdefault(provider.type, provider)
        if known is not provider:
            raise RegistrationError(f"{name_of(provider.type)} is provided already: give it once")

    def include(self, others: Providers) -> None:
        """Take in what *others* provide."""
        for provider in others._providers.values():
            self.take(provider)

    @contextmanager
    def replaced(self, factories: Mapping[Any, Callable[..., Any] | AnyInbox]) -> Iterator[None]:
        """Let others make what is provided within a ``with``."""
        if not isinstance(factories, Mapping):
            raise RegistrationError(f"factories={show(factories)} must be what makes each type: {{Bank: FakeBank}}")
        before = dict(self._providers)
        try:
            for type_, factory in factories.items():
                if type_ not in self:
                    raise RegistrationError(f"{name_of(type_)} is not provided, so nobody can take its place")
                self._providers[type_] = self._make(type_, factory, self[type_].scope)
            yield
        finally:
            self._providers = before

    def check(self, who: str, needs: Mapping[str, Need], *, is_async: bool) -> None:
        """Raise `RegistrationError` where somebody needs what nobody provides, or what only async functions can get."""
        for parameter, need in needs.items():
            if need.type not in self:
                if need.optional:
                    continue
                raise RegistrationError(
                    f"{who}: nobody can fill the parameter {parameter!r}: give app.provide({name_of(need.type)}, …) "
                    "before it is registered; a handler gets the payload, the Message, and what is provided"
                )
            if self[need.type].is_async and not is_async:
                raise RegistrationError(
                    f"{who} is not async, and {name_of(need.type)} has to be awaited: make it async def"
                )
        inboxes = self._find_inboxes(needs)
        if len(inboxes) > 1:
            raise RegistrationError(f"{who} would run in {len(inboxes)} transactions, of one inbox each: give it one")
        if is_async and any(not inbox.is_async for inbox in inboxes):
            raise RegistrationError(
                f"{who} is async, and the transaction of its inbox is not: what waits for the database would hold up "
                "the event loop. Make the inbox of an async_sessionmaker or an AsyncEngine, or make it a plain def"
            )

    def inbox_of(self, needs: Mapping[str, Need]) -> AnyInbox | None:
        """Return the inbox in whose transaction whoever has these *needs* is called; None where there is none."""
        return next(iter(self._find_inboxes(needs)), None)

    def _find_inboxes(self, needs: Mapping[str, Need]) -> list[AnyInbox]:
        found: dict[int, AnyInbox] = {}
        for provider in (self[need.type] for need in needs.values() if need.type in self):
            inboxes = self._find_inboxes(provider.needs) if provider.inbox is None else [provider.inbox]
            found.update((id(inbox), inbox) for inbox in inboxes)
        return list(found.values())

    def _make(self, type_: Any, factory: Any, scope: ProviderScope) -> Provider:
        if is_inbox(factory):
            factory.check_gives(type_)
            return Provider(type_, _call_nothing, "message", is_async=factory.is_async, inbox=factory)
        needs = _read_needs(factory)
        for parameter, need in needs.items():
            if isinstance(need.type, Unresolved):
                raise RegistrationError(
                    f"what makes {name_of(type_)} takes {parameter!r}, whose annotation {need.type.text!r} cannot be "
                    f"resolved ({need.type.reason}): {UNRESOLVED_REMEDY}"
                )
            if need.type not in self:
                raise RegistrationError(
                    f"what makes {name_of(type_)} takes {parameter!r}, which nobody provides: "
                    "annotate it, and provide that first"
                )
            if scope == "process" and self[need.type].scope == "message":
                raise RegistrationError(
                    f"{name_of(type_)} is made once, and needs {name_of(need.type)}, which is made for each message"
                )
        awaited = (
            is_async(factory) or _is_async_manager(factory) or any(self[each.type].is_async for each in needs.values())
        )
        return Provider(type_, factory, scope, needs, awaited)


def _call_nothing() -> None:
    """Stand where a function is wanted, and none is called."""


def name_of(type_: Any) -> str:
    """Return the name of a type, as people write it."""
    return getattr(type_, "__qualname__", str(type_))


def _read_needs(factory: Callable[..., Any]) -> dict[str, Need]:
    try:
        parameters = read_parameters(factory)
    except ValueError:  # a built-in function does not tell
        return {}
    return {each.name: Need(each.annotation) for each in parameters if not is_optional(each)}


def _is_async_manager(factory: Callable[..., Any]) -> bool:
    # What `asynccontextmanager` has made of a generator is a plain function to look at.
    if not inspect.isclass(factory) and inspect.isasyncgenfunction(inspect.unwrap(factory)):
        return True
    return inspect.isclass(factory) and hasattr(factory, "__aenter__") and not hasattr(factory, "__enter__")
