"""Dependencies: what `App.provide` makes for handlers, once for the process or for each message, and closes again."""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import (
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from megaflow.callables import is_async, is_generator
from megaflow.errors import DependencyError
from megaflow.forks import renew_in_child
from megaflow.handlers.inboxes import AnyInbox, give_open
from megaflow.handlers.providers import Need, Provider, Providers, name_of
from megaflow.handlers.status import Reject, RetryLater
from megaflow.logs import get_logger
from megaflow.loops import get_running_loop, is_running_here

if TYPE_CHECKING:
    import asyncio

log = get_logger(__name__)

Given: TypeAlias = Mapping[str, Any]
"""What a function needs, by the names of its parameters."""

_TIME_TO_CLOSE: Final = 2.0
"""Seconds that an event loop has to close what was made in it."""


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
            elsewhere = [
                (loop, own) for loop, own in self._loops.items() if loop.is_running() and not is_running_here(loop)
            ]
        for loop, own in elsewhere:
            self._loops.pop(loop, None)
            _close_in(loop, own)
        with self._lock:
            exits, self._exits, self._made = self._exits, ExitStack(), {}
        exits.close()

    async def aclose(self) -> None:
        """Close what was made in the event loop that runs."""
        with self._lock:
            own = self._loops.pop(get_running_loop(), None)
        if own is not None:
            await own.exits.aclose()

    def inbox_of(self, needs: Mapping[str, Need]) -> AnyInbox | None:
        """See `Providers.inbox_of`."""
        return self._providers.inbox_of(needs)

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
        if provider.inbox is not None:
            return give_open(provider.inbox, type_)
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
        if provider.inbox is not None:
            return give_open(provider.inbox, type_)
        if type_ not in made:
            made[type_] = await self._amake(provider, made, exits)
        return made[type_]

    async def _afind_once(self, provider: Provider) -> Any:
        if not provider.is_async:
            return self._find(provider.type, {}, ExitStack())
        with self._lock:
            own = self._loops.setdefault(get_running_loop(), _LoopsOwn())
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
        import asyncio

        return self._locks.setdefault(provider.type, asyncio.Lock())


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


def _close_in(loop: asyncio.AbstractEventLoop, own: _LoopsOwn) -> None:
    import asyncio

    try:
        asyncio.run_coroutine_threadsafe(own.exits.aclose(), loop).result(_TIME_TO_CLOSE)
    except Exception:
        log.exception("what was made in an event loop could not be closed")
