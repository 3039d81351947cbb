"""The assembly of an app: its handlers, middleware, dependencies and stores, compiled to the processor of messages."""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, get_args

from megaflow.errors import RegistrationError, UsageError
from megaflow.forks import renew_in_child
from megaflow.handlers.dependencies import Dependencies
from megaflow.handlers.handler import Handler
from megaflow.handlers.router import Router
from megaflow.messages.message import Message, message_with, open_message
from megaflow.processing.idempotency import Idempotency
from megaflow.processing.middleware import Middleware
from megaflow.processing.processor import Processor
from megaflow.processing.progress import Progress
from megaflow.processing.verdict import Verdict
from megaflow.settings import OnInvalid, RetryOn, Unmatched, check_choice, read_retry_on
from megaflow.stores.store import Store, close_store

log = logging.getLogger(__name__)


class Assembly:
    """The processor for the handlers of *router*, and for what else was added, as they are now.

    Where *is_running* says so, what cannot work is refused when it is added, and not message by message. May be used
    from any thread. For the rest see `App`.
    """

    def __init__(
        self,
        router: Router,
        *,
        retry_on: RetryOn,
        unmatched: Unmatched,
        on_invalid: OnInvalid,
        progress: Store | None,
        idempotency: Store | None,
        visibility_timeout: float,
        is_running: Callable[[], bool],
    ) -> None:
        check_choice("on_invalid", on_invalid, get_args(OnInvalid))
        keys = progress if idempotency is None else idempotency
        self._make_processor = partial(
            Processor,
            retry_on=read_retry_on(retry_on),
            unmatched=unmatched,
            on_invalid=on_invalid,
            progress=None if progress is None else Progress(progress),
            idempotency=None if keys is None else Idempotency(keys, visibility_timeout),
        )
        self._stores = [store for store in (progress, idempotency) if store is not None]
        self._router = router
        self._is_running = is_running
        self._middleware: tuple[Middleware, ...] = ()
        self._dependencies = Dependencies(router.providers)
        # Reentrant: a middleware, or a signal handler, may add something while something is being added.
        self._changing = threading.RLock()
        self._version = 0
        self._processor: Processor | None = None
        renew_in_child(self)

    def processor(self) -> Processor:
        """Return the processor; raise `RegistrationError` where something cannot work."""
        processor = self._processor
        while processor is None:
            version = self._version
            # Outside the lock: a middleware may ask the app something while it is being asked itself.
            made = self._make(self._router.handlers, self._middleware)
            with self._changing:
                if version == self._version:
                    self._processor = processor = made
        return processor

    @contextmanager
    def adding(self, handler: Handler) -> Iterator[None]:
        """Add *handler* to the router within a ``with``; raise `RegistrationError` before that where it cannot work."""
        self._check_needs(handler)
        with self._changing:
            if self._is_running():
                self._make((*self._router.handlers, handler), self._middleware)
            yield
            self._outdate()

    def use(self, middleware: Middleware) -> None:
        """Add *middleware*, inside of what was added before; raise `RegistrationError` where it cannot work."""
        if not callable(middleware):
            raise RegistrationError(f"a middleware is a function (call_next) -> call, not {middleware!r}")
        with self._changing:
            if self._is_running():
                self._make(self._router.handlers, (*self._middleware, middleware))
            self._middleware = (*self._middleware, middleware)
            self._outdate()

    @contextmanager
    def replacing(self, factories: Mapping[Any, Callable[..., Any]]) -> Iterator[None]:
        """Let other *factories* make what the router provides within a ``with``, and close what they made."""
        before = self._dependencies
        with self._router.providers.replaced(factories):
            for handler in self._router.handlers:
                self._check_needs(handler)
            self._depend_on(Dependencies(self._router.providers))
            try:
                yield
            finally:
                self._dependencies.close()
                self._depend_on(before)

    def process(self, body: object) -> Verdict:
        """Take one body through the handlers in this thread, and return the verdict; see `App.process`."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise UsageError("process() cannot wait inside a running event loop: await app.aprocess(body)")
        with asyncio.Runner() as loop:
            verdict = self.processor().process(_open(body), lambda said: loop.run(_wait_for(said)))
            if self._dependencies.has_loops:
                loop.run(self._dependencies.aclose())
        return _raise_interruption(verdict)

    async def aprocess(self, body: object) -> Verdict:
        """Take one body through the handlers in this event loop, and return the verdict; see `App.aprocess`."""
        return _raise_interruption(await self.processor().aprocess(_open(body)))

    def close(self) -> None:
        """Close what was made for the process, and the stores; all of it can be used again."""
        try:
            self.close_dependencies()
        finally:
            self.close_stores()

    async def aclose(self) -> None:
        """Do what `close` does, and close what was made for the event loop that runs."""
        try:
            await self._dependencies.aclose()
        finally:
            self.close()

    def close_dependencies(self) -> None:
        """Close what was made for the process."""
        self._dependencies.close()

    def close_stores(self) -> None:
        """Close the stores; where one cannot be, that is logged."""
        for store in self._stores:
            try:
                close_store(store)
            except Exception:
                log.warning("%s could not be closed", type(store).__name__, exc_info=True)

    def after_fork_in_child(self) -> None:
        """See `megaflow.forks`."""
        self._changing = threading.RLock()

    def _make(self, handlers: tuple[Handler, ...], middleware: tuple[Middleware, ...]) -> Processor:
        return self._make_processor(handlers, middleware=middleware, dependencies=self._dependencies)

    def _check_needs(self, handler: Handler) -> None:
        self._router.providers.check(handler.name, handler.needs, is_async=handler.is_async)

    def _depend_on(self, dependencies: Dependencies) -> None:
        with self._changing:
            self._dependencies = dependencies
            self._outdate()

    def _outdate(self) -> None:
        self._version += 1
        self._processor = None


def _open(body: object) -> Message:
    message = open_message(body) if isinstance(body, str) else message_with(body)
    return message if message.id else replace(message, id=str(uuid.uuid4()))


async def _wait_for(said: Awaitable[Any]) -> Any:
    return await said


def _raise_interruption(verdict: Verdict) -> Verdict:
    if verdict.interruption is not None:
        raise verdict.interruption
    return verdict
