"""The assembly of an app: its handlers, middleware, dependencies and stores, compiled to the processor of messages."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeAlias, get_args

from megaflow.checks import check_choice
from megaflow.errors import RegistrationError, UsageError
from megaflow.forks import renew_in_child
from megaflow.handlers.dependencies import Dependencies
from megaflow.handlers.handler import Handler
from megaflow.handlers.inboxes import AnyInbox
from megaflow.handlers.providers import Providers
from megaflow.handlers.router import Router, check_decorators
from megaflow.logs import get_logger
from megaflow.loops import get_running_loop
from megaflow.messages.message import Message, message_with, open_message
from megaflow.messages.payloads import Payloads, check_payloads
from megaflow.processing.around import Around, check_around
from megaflow.processing.fetching import Fetching
from megaflow.processing.idempotency import Idempotency
from megaflow.processing.log_lines import about, log_verdict
from megaflow.processing.middleware import Middleware
from megaflow.processing.once import Rows, check_once
from megaflow.processing.processor import Processor
from megaflow.processing.progress import Progress
from megaflow.processing.steps import wait_in
from megaflow.processing.verdict import Verdict
from megaflow.settings import CircuitBreaker, OnInvalid, RetryOn, Unmatched, read_retry_on
from megaflow.stores.store import Store, check_is_store, close_store
from megaflow.telemetry.current import NOTHING_GIVEN, current
from megaflow.telemetry.propagation import Propagation
from megaflow.telemetry.tracing import Tracing

Watcher: TypeAlias = Callable[[Verdict], object]
"""Is told of a verdict. May be called from any thread."""

log = get_logger(__name__)

Factories: TypeAlias = Mapping[Any, Callable[..., Any] | AnyInbox]
"""What makes what the app provides, by type."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of an app: for progress; for idempotency keys, which without one are with progress; for payloads."""

    progress: Store | None
    idempotency: Store | None
    payloads: Payloads | None = None

    def __post_init__(self) -> None:
        """Refuse what is no store: what it raises at its use would be taken for an outage."""
        check_is_store("progress", self.progress)
        check_is_store("idempotency", self.idempotency)
        check_payloads(self.payloads)

    @property
    def keys(self) -> Store | None:
        """Where idempotency keys are."""
        return self.progress if self.idempotency is None else self.idempotency

    def replaced(self, by: Stores) -> Stores:
        """Return the same with those that *by* has in place of these."""
        pairs = ((getattr(by, each.name), getattr(self, each.name)) for each in fields(self))
        return Stores(*(mine if theirs is None else theirs for theirs, mine in pairs))

    def close(self) -> None:
        """Close them; where one cannot be, that is logged."""
        for store in (self.progress, self.idempotency, self.payloads):
            try:
                if store is not None:
                    close_store(store)
            except Exception:
                log.warning("%s could not be closed", type(store).__name__, exc_info=True)


class Assembly:
    """The processor for the handlers of *router*, what its *providers* make, and what else was added, as they are now.

    Where *is_running* says so, what cannot work is refused when it is added, and not message by message. *find_queue*
    gives the address of the app's queue, or ``""``. May be used from any thread. For the rest see `App`.
    """

    def __init__(
        self,
        router: Router,
        providers: Providers,
        *,
        retry_on: RetryOn | None,
        unmatched: Unmatched,
        on_invalid: OnInvalid,
        breaker: CircuitBreaker | None,
        stores: Stores,
        max_receives: int | None,
        max_processing_time: float,
        visibility_timeout: float,
        with_error_texts: bool,
        find_queue: Callable[[], str],
        is_running: Callable[[], bool],
        propagation: Propagation,
        tracing: Tracing,
    ) -> None:
        check_choice("on_invalid", on_invalid, get_args(OnInvalid))
        self._make_processor = partial(
            Processor,
            retry_on=read_retry_on(retry_on),
            unmatched=unmatched,
            on_invalid=on_invalid,
            breaker=breaker,
            max_receives=max_receives,
            max_processing_time=max_processing_time,
            rows=Rows(visibility_timeout, find_queue),
            propagation=propagation,
            tracing=tracing,
        )
        self._propagation = propagation
        self._log_verdict = log_verdict if max_receives is None else partial(log_verdict, max_receives=max_receives)
        self._tracing = tracing
        self._visibility_timeout = visibility_timeout
        self._with_error_texts = with_error_texts
        self._find_queue = find_queue
        self._remember_in(stores)
        self._router = router
        self._is_running = is_running
        self._middleware: tuple[Middleware, ...] = ()
        self._arounds: tuple[Around, ...] = ()
        self._watchers: tuple[Watcher, ...] = ()
        self._providers = providers
        self._dependencies = Dependencies(providers)
        # Reentrant: a middleware, or a signal handler, may add something while something is being added.
        self._changing = threading.RLock()
        self._version = 0
        self._processor: Processor | None = None
        renew_in_child(self)

    def processor(self) -> Processor:
        """Return the processor; raise `RegistrationError` where something cannot work."""
        processor = self._processor
        if processor is None and not self._is_running():
            check_decorators(self._router, by=threading.get_ident())
        while processor is None:
            version = self._version
            # Outside the lock: a middleware may ask the app something while it is being asked itself.
            made = self._make()
            with self._changing:
                if version == self._version:
                    self._processor = processor = made
        return processor

    def processor_to_run(self) -> Processor:
        """Return the processor; raise `RegistrationError` where there is no handler, too."""
        check_decorators(self._router)
        processor = self.processor()
        if not processor.table.handlers:
            raise RegistrationError("no handler is registered, so every message would be unmatched: register one first")
        return processor

    @contextmanager
    def adding(self, handler: Handler) -> Iterator[None]:
        """Add *handler* to the router within a ``with``; raise `RegistrationError` before that where it cannot work."""
        self._check_needs(handler)
        with self._changing:
            if self._is_running():
                self._make(handlers=(*self._router.handlers, handler))
            yield
            self._outdate()

    def use(self, middleware: Middleware) -> None:
        """Add *middleware*, inside of what was added before; raise `RegistrationError` where it cannot work."""
        if not callable(middleware):
            raise RegistrationError(f"a middleware is a function (call_next) -> call, not {middleware!r}")
        with self._changing:
            if self._is_running():
                self._make(middleware=(*self._middleware, middleware))
            self._middleware = (*self._middleware, middleware)
            self._outdate()

    def around(self, around: Around) -> None:
        """Add *around*, inside of what was added before; raise `RegistrationError` where it cannot work."""
        check_around(around)
        with self._changing:
            if self._is_running():
                self._make(arounds=(*self._arounds, around))
            self._arounds = (*self._arounds, around)
            self._outdate()

    def watch(self, watcher: Watcher) -> None:
        """Tell *watcher* of each verdict, too."""
        if not callable(watcher):
            raise RegistrationError(f"on_verdict takes a function (verdict) -> None, not {watcher!r}")
        with self._changing:
            self._watchers = (*self._watchers, watcher)
            self._outdate()

    @contextmanager
    def replacing(self, factories: Factories, others: Stores) -> Iterator[None]:
        """Let other *factories* make what the router provides within a ``with``, and close what they made.

        Where there are *others* among the stores, they remember meanwhile.
        """
        before, stores_before = self._dependencies, self.stores
        stores = stores_before.replaced(others)
        with self._providers.replaced(factories):
            for handler in self._router.handlers:
                self._check_needs(handler)
            self._depend_on(Dependencies(self._providers), stores)
            try:
                yield
            finally:
                self._dependencies.close()
                self._depend_on(before, stores_before)

    def process(self, body: object) -> Verdict:
        """Take one body through the handlers in this thread, and return the verdict; see `App.process`."""
        try:
            get_running_loop()
        except RuntimeError:
            pass
        else:
            raise UsageError("process() cannot wait inside a running event loop: await app.aprocess(body)")
        import asyncio

        self._tracing.look()
        with asyncio.Runner() as loop:
            verdict = copy_context().run(self.processor().process, _open(body), partial(wait_in, loop))
            if self._dependencies.has_loops:
                loop.run(self._dependencies.aclose())
        return _raise_interruption(verdict)

    async def aprocess(self, body: object) -> Verdict:
        """Take one body through the handlers in this event loop, and return the verdict; see `App.aprocess`."""
        import asyncio

        self._tracing.look()
        # A task has a copy of the context, as each message has one.
        return _raise_interruption(await asyncio.create_task(self.processor().aprocess(_open(body))))

    def close(self) -> None:
        """Close what was made for the process, and the stores; all of it can be used again."""
        try:
            self.close_dependencies()
        finally:
            self.stores.close()

    async def aclose(self) -> None:
        """Do what `close` does, and close what was made for the event loop that runs."""
        try:
            await self._dependencies.aclose()
        finally:
            self.close()

    def close_dependencies(self) -> None:
        """Close what was made for the process."""
        self._dependencies.close()

    def _after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self._changing = threading.RLock()

    def _make(
        self,
        *,
        handlers: tuple[Handler, ...] | None = None,
        middleware: tuple[Middleware, ...] | None = None,
        arounds: tuple[Around, ...] | None = None,
    ) -> Processor:
        """Return the processor, as it will be with what is added just now."""
        tell = self._log_verdict
        if self._watchers:
            tell = partial(_tell_all, self._log_verdict, self._watchers, self._propagation)
        return self._make_processor(
            self._router.handlers if handlers is None else handlers,
            middleware=self._middleware if middleware is None else middleware,
            arounds=self._arounds if arounds is None else arounds,
            dependencies=self._dependencies,
            progress=self._progress,
            idempotency=self._idempotency,
            fetching=self._fetching,
            tell=tell,
        )

    def _check_needs(self, handler: Handler) -> None:
        self._providers.check(handler.name, handler.needs, is_async=handler.is_async)
        check_once(handler, self._providers.inbox_of(handler.needs))

    def _depend_on(self, dependencies: Dependencies, stores: Stores) -> None:
        with self._changing:
            self._dependencies = dependencies
            self._remember_in(stores)
            self._outdate()

    def _remember_in(self, stores: Stores) -> None:
        self.stores = stores
        progress, keys, with_texts = stores.progress, stores.keys, self._with_error_texts
        self._progress = None if progress is None else Progress(progress, with_error_texts=with_texts)
        self._idempotency = None if keys is None else Idempotency(keys, self._visibility_timeout, self._find_queue)
        self._fetching = None if stores.payloads is None else Fetching(stores.payloads)

    def _outdate(self) -> None:
        self._version += 1
        self._processor = None


def _tell_all(log_verdict: Watcher, watchers: tuple[Watcher, ...], propagation: Propagation, verdict: Verdict) -> None:
    log_verdict(verdict)
    # No handler runs any more, or none has: what watchers log and publish is the message's own.
    current.set((verdict.message, "", propagation, NOTHING_GIVEN))
    for watcher in watchers:
        try:
            watcher(verdict)
        except Exception:
            text = "message %s: what on_verdict was given failed"
            log.exception(text, verdict.message.id, extra=about(verdict.message))


def _open(body: object) -> Message:
    message = open_message(body) if isinstance(body, str) else message_with(body)
    return message if message.id else replace(message, id=str(uuid.uuid4()))


def _raise_interruption(verdict: Verdict) -> Verdict:
    if verdict.interruption is not None:
        raise verdict.interruption
    return verdict
