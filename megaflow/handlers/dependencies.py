"""Dependencies: what `App.provide` makes for handlers, once for the process or for each message, and closes again."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import (
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args
from weakref import WeakKeyDictionary

from megaflow.callables import is_async, is_generator
from megaflow.checks import show
from megaflow.errors import DependencyError, RegistrationError
from megaflow.forks import renew_in_child
from megaflow.handlers.annotations import UNRESOLVED_REMEDY, Unresolved
from megaflow.handlers.parameters import is_optional, read_parameters
from megaflow.handlers.status import Reject, RetryLater
from megaflow.logs import get_logger

log = get_logger(__name__)

ProviderScope: TypeAlias = Literal["process", "message"]
Given: TypeAlias = Mapping[str, Any]
"""What a function needs, by the names of its parameters."""

_TIME_TO_CLOSE: Final = 2.0
"""Seconds that an event loop has to close what was made in it."""


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

    def add(self, type_: Any, factory: Callable[..., Any], scope: ProviderScope) -> None:
        """Let *factory* make *type_*; raise `RegistrationError` where that cannot work."""
        if scope not in get_args(ProviderScope):
            raise RegistrationError(f"scope={scope!r} must be one of {', '.join(map(repr, get_args(ProviderScope)))}")
        if not callable(factory):
            raise RegistrationError(f"what makes {name_of(type_)} is a function or a class, not {factory!r}")
        self.take(self._make(type_, factory, scope))

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
    def replaced(self, factories: Mapping[Any, Callable[..., Any]]) -> Iterator[None]:
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

    def _make(self, type_: Any, factory: Callable[..., Any], scope: ProviderScope) -> Provider:
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


class Dependencies:
    """What was made of what *providers* provide. May be used from any thread and any event loop.

    What is made once for a process is made once for each event loop, where it has to be awaited.
    """

    def __init__(self, providers: Providers) -> None:
        self._providers = providers
        self._lock = threading.RLock()
        self._made: dict[Any, Any] = {}
        self._exits = ExitStack()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopsOwn] = WeakKeyDictionary()
        renew_in_child(self)

    @contextmanager
    def given(self, needs: Mapping[str, Need]) -> Iterator[Given]:
        """Give what a function needs; what is made for a message is closed at the end, and told of its error."""
        with ExitStack() as exits:
            made: dict[Any, Any] = {}
            yield {name: self._find(need.type, made, exits) for name, need in self._wanted(needs)}

    @asynccontextmanager
    async def agiven(self, needs: Mapping[str, Need]) -> AsyncIterator[Given]:
        """Do what `given` does for an async function, in its event loop."""
        async with AsyncExitStack() as exits:
            made: dict[Any, Any] = {}
            yield {name: await self._afind(need.type, made, exits) for name, need in self._wanted(needs)}

    def close(self) -> None:
        """Close what was made once, last things first; what belongs to an event loop that runs elsewhere, there."""
        with self._lock:
            elsewhere = [(loop, own) for loop, own in self._loops.items() if loop.is_running() and not _is_here(loop)]
        for loop, own in elsewhere:
            self._loops.pop(loop, None)
            _close_in(loop, own)
        with self._lock:
            exits, self._exits, self._made = self._exits, ExitStack(), {}
        exits.close()

    async def aclose(self) -> None:
        """Close what was made in the event loop that runs."""
        with self._lock:
            own = self._loops.pop(asyncio.get_running_loop(), None)
        if own is not None:
            await own.exits.aclose()

    @property
    def has_loops(self) -> bool:
        """Whether something belongs to an event loop."""
        return bool(self._loops)

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self._lock = threading.RLock()

    def _wanted(self, needs: Mapping[str, Need]) -> Iterable[tuple[str, Need]]:
        return ((name, need) for name, need in needs.items() if need.type in self._providers)

    def _find(self, type_: Any, made: dict[Any, Any], exits: ExitStack) -> Any:
        provider = self._providers[type_]
        if provider.scope == "process":
            with self._lock:
                return _once(type_, self._made, lambda: self._make(provider, self._made, self._exits))
        return _once(type_, made, lambda: self._make(provider, made, exits))

    def _make(self, provider: Provider, made: dict[Any, Any], exits: ExitStack) -> Any:
        needs = {name: self._find(need.type, made, exits) for name, need in self._wanted(provider.needs)}
        with _named(provider):
            said = _call_factory(provider.factory, needs)
            return exits.enter_context(said) if hasattr(said, "__enter__") else said

    async def _afind(self, type_: Any, made: dict[Any, Any], exits: AsyncExitStack) -> Any:
        provider = self._providers[type_]
        if provider.scope == "process":
            return await self._afind_once(provider)
        if type_ not in made:
            made[type_] = await self._amake(provider, made, exits)
        return made[type_]

    async def _afind_once(self, provider: Provider) -> Any:
        if not provider.is_async:
            return self._find(provider.type, {}, ExitStack())
        with self._lock:
            own = self._loops.setdefault(asyncio.get_running_loop(), _LoopsOwn())
        async with own.lock_of(provider):
            if provider.type not in own.made:
                own.made[provider.type] = await self._amake(provider, own.made, own.exits)
            return own.made[provider.type]

    async def _amake(self, provider: Provider, made: dict[Any, Any], exits: AsyncExitStack) -> Any:
        needs = {name: await self._afind(need.type, made, exits) for name, need in self._wanted(provider.needs)}
        with _named(provider):
            said = _call_factory(provider.factory, needs)
            if inspect.isawaitable(said):
                said = await said
            if hasattr(said, "__aenter__"):
                return await exits.enter_async_context(said)
            return exits.enter_context(said) if hasattr(said, "__enter__") else said


class _LoopsOwn:
    """What was made in one event loop."""

    def __init__(self) -> None:
        self.made: dict[Any, Any] = {}
        self.exits = AsyncExitStack()
        self._locks: dict[Any, asyncio.Lock] = {}

    def lock_of(self, provider: Provider) -> asyncio.Lock:
        """Return what keeps two from being made of the same; each has its own, for one may need another."""
        return self._locks.setdefault(provider.type, asyncio.Lock())


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


def _call_factory(factory: Callable[..., Any], needs: Given) -> Any:
    if not is_generator(factory):
        return factory(**needs)
    return (asynccontextmanager if is_async(factory) else contextmanager)(factory)(**needs)


def _once(type_: Any, made: dict[Any, Any], make: Callable[[], Any]) -> Any:
    if type_ not in made:
        made[type_] = make()
    return made[type_]


@contextmanager
def _named(provider: Provider) -> Iterator[None]:
    """Say what could not be made: that is no failure of the handler's."""
    try:
        yield
    except (DependencyError, Reject, RetryLater):
        raise
    except Exception as error:
        raise DependencyError(f"{name_of(provider.type)} could not be made: {type(error).__name__}: {error}") from error


def _is_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _close_in(loop: asyncio.AbstractEventLoop, own: _LoopsOwn) -> None:
    try:
        asyncio.run_coroutine_threadsafe(own.exits.aclose(), loop).result(_TIME_TO_CLOSE)
    except Exception:
        log.exception("what was made in an event loop could not be closed")
