"""`TestClient`: an app, its consumer and an embedded queue in one thread, with a clock of the test's own."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack

from megaflow.app import App, parts_of
from megaflow.errors import UsageError
from megaflow.handlers.handler import Handler
from megaflow.local import Account, SnsClient, SqsClient
from megaflow.messages.message import Message
from megaflow.messages.payloads import Payloads
from megaflow.processing.assembly import Factories
from megaflow.publishing.batches import Sent
from megaflow.publishing.outgoing import PublishOptions
from megaflow.stores import MemoryStore, Store
from megaflow.testing.clock import Clock
from megaflow.testing.engine import Engine
from megaflow.testing.payloads import MemoryPayloads
from megaflow.testing.planned import Planned
from megaflow.testing.queues import addresses_of, open_queues
from megaflow.testing.record import Record
from megaflow.testing.seen import Handled, Unmet, show_payload
from megaflow.transport.addresses import read_address

_ACCOUNT: Final = re.compile("[0-9]{12}")

Published = TypeVar("Published")
AnyHandler = str | Handler | Callable[..., Any]

open_clients: Final[list[TestClient]] = []
"""Those that are in use: the pytest plugin shows what they have seen where a test fails."""


class TestClient:
    """Runs an app over an embedded queue within a ``with``, in the thread of the test. Nothing waits or leaves it.

    Handlers, verdicts and all that the consumer decides are as in `App.run`. Messages are handled one by one. Time
    passes in `advance`, and where an async handler sleeps. There is a dead-letter queue, and a topic before the queue
    where the app has one. Where the app declares its queue, all that is as it is declared: the receives, the topics,
    the filters. The metrics of the app begin at 0.

    What differs from `App.run`: a ``timeout=`` stops async handlers only. The default backoff has no random part, so a
    message comes again after the longest time that it could take. A FIFO queue takes equal bodies within five minutes
    for one message, unless they have deduplication ids. Async handlers that wait for sockets or threads wait for real.

    An `AssertionError` that leaves the ``with`` gets a note: which handlers the messages reached, and why not the
    others.

    Args:
        app: The app.
        fifo: Whether the queue is FIFO. By default it is what the app's own queue or topic is, else standard.
        replacing: Other factories for what the app provides, by type: ``{Bank: FakeBank}``.
        progress: A store in place of the app's. By default an empty `MemoryStore` with the clock of the test takes the
            place of one that the app has.
        idempotency: The same for idempotency keys.
        large_payloads: Where large payloads lie, in place of what the app has. By default they are kept in memory where
            the app has any.

    Example:
        >>> from megaflow import App
        >>> from megaflow.testing import TestClient
        >>> app = App()
        >>> @app.on_text("ping")
        ... def answer(text): ...
        >>> with TestClient(app) as client:
        ...     client.publish("ping")
        ...     client.assert_handled(answer, times=1)
    """

    __test__ = False  # pytest takes what is called so for tests

    account: Account
    """The embedded account with all its queues and topics."""

    sqs: SqsClient
    """A client with boto3's methods for its queues: send what others would send, then call `run`."""

    sns: SnsClient
    """A client with boto3's methods for its topics."""

    queue_url: str
    """The URL of the queue that the app consumes."""

    dead_letter_queue_url: str
    """The URL of its dead-letter queue; ``""`` where the app declares that it has none."""

    def __init__(
        self,
        app: App,
        *,
        fifo: bool | None = None,
        replacing: Factories | None = None,
        progress: Store | None = None,
        idempotency: Store | None = None,
        large_payloads: Payloads | None = None,
    ) -> None:
        if not isinstance(app, App):
            raise UsageError(f"a TestClient takes an App, not a {type(app).__name__}")
        self.app = app
        """The app."""

        self._replacing = replacing or {}
        self._stores = {"progress": progress, "idempotency": idempotency}
        self._large_payloads = large_payloads
        self._fifo = fifo
        self._exits = ExitStack()
        self._record = Record()
        self._engine: Engine | None = None

    def __enter__(self) -> Self:
        """Make the queues, and connect the app to them. What an earlier ``with`` has seen is forgotten.

        Raises `UsageError` inside a running event loop, where handlers cannot be waited for, and `RegistrationError`
        where handlers cannot work.
        """
        _refuse_event_loop()
        if self._engine is not None:
            raise UsageError("this TestClient is in use already")
        with ExitStack() as exits:
            self._engine = self._open(exits)
            self._record = self._engine.record
            open_clients.append(self)
            exits.callback(self._close)
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close what the app's handlers needed, and connect the app as it was."""
        if isinstance(error, AssertionError) and not isinstance(error, Unmet):
            error.add_note(f"\nThe messages, and the handlers:\n{self.explain()}")
        self._exits.close()

    def publish(self, payload: Any, **options: Unpack[PublishOptions]) -> str:
        """Publish as `App.publish` does, handle all that can be handled now, and return the message id."""
        return self._after(lambda: self.app.publish(payload, **options))

    def publish_batch(self, items: Iterable[object], **options: Unpack[PublishOptions]) -> list[str]:
        """Publish as `App.publish_batch` does, and handle all that can be handled now."""
        return self._after(lambda: self.app.publish_batch(items, **options))

    def publish_stream(self, items: Iterable[object], **options: Any) -> Iterator[Sent]:
        """Publish as `App.publish_stream` does, and handle all that can be handled now."""
        return self._after(lambda: iter(list(self.app.publish_stream(items, **options))))

    def publish_raw_message(self, body: str, **options: Unpack[PublishOptions]) -> str:
        """Publish as `App.publish_raw_message` does, and handle all that can be handled now."""
        return self._after(lambda: self.app.publish_raw_message(body, **options))

    def run(self) -> None:
        """Handle all that can be handled now, such as what you have sent with ``client.sqs``.

        Raises what a handler raised that is no `Exception`; the messages in hand are given back.
        """
        self._use().run()

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass. What becomes due meanwhile, scheduled or kept, is handled at its time."""
        if not 0 <= seconds < math.inf:
            raise UsageError(f"time passes by a number of seconds, 0 or more, not by {seconds!r}")
        self._use().advance(seconds)

    def flush(self) -> None:
        """Call batch handlers with the messages that wait for others to share their batch, without waiting for more."""
        self._use().flush()

    @property
    def now(self) -> float:
        """The time, in seconds since the epoch."""
        return self._clock.now

    @property
    def handled(self) -> list[Handled]:
        """Every call of a handler, as `Handled`, in order."""
        return list(self._record.handled)

    @property
    def kept(self) -> list[Message]:
        """The messages that were kept to come again, once for each time."""
        return list(self._record.kept)

    @property
    def deleted(self) -> list[Message]:
        """The messages that were deleted, as all their handlers have finished or none matched."""
        return list(self._record.deleted)

    @property
    def dead_lettered(self) -> list[Message]:
        """The messages that went to the dead-letter queue; `explain` says why."""
        return list(self._record.dead_lettered)

    def handled_by(self, handler: AnyHandler) -> list[Any]:
        """Return the payloads that *handler* got: a function, or a name, with or without its module.

        Raises `UsageError` where there is no such handler.
        """
        names = self._names_of(handler)
        return [each.payload for each in self._record.handled if each.handler in names]

    def assert_handled(self, handler: AnyHandler, *, times: int | None = None) -> None:
        """Raise `AssertionError`, saying why, unless *handler* was called: so many *times*, or at all."""
        __tracebackhide__ = True
        called = len(self.handled_by(handler))
        if called != times if times is not None else not called:
            wanted = "at least once" if times is None else _times(times)
            name = self._names_of(handler)[0]
            raise Unmet(f"{name} was to be called {wanted}, and was called {_times(called)}\n\n{self.explain()}")

    def assert_not_handled(self, handler: AnyHandler) -> None:
        """Raise `AssertionError`, saying with what, if *handler* was called."""
        __tracebackhide__ = True
        self.assert_handled(handler, times=0)

    def explain(self) -> str:
        """Say of every message that was received which handlers match it, and why the others do not."""
        if not self._record.received:
            return "no message was received"
        return "\n\n".join(map(self._explain, self._record.received.values()))

    def _explain(self, message: Message) -> str:
        became = [*self._record.became.get(message.id, ())]
        if handler := self._record.in_line.get(message.id):
            became.append(f"waits for its turn at {handler}")
        return "\n".join([show_payload(message.payload), str(self.app.explain(message)), *became])

    def _after(self, publish: Callable[[], Published]) -> Published:
        engine = self._use()
        published = publish()
        engine.run()
        return published

    def _use(self) -> Engine:
        if self._engine is None:
            raise UsageError("use the TestClient in a with statement")
        if self._engine.is_busy:
            problem = UsageError("a handler uses the TestClient that called it: it publishes by the app")
            self._engine.fail(problem)
            raise problem
        _refuse_event_loop()
        return self._engine

    def _close(self) -> None:
        engine, self._engine = self._engine, None
        open_clients.remove(self)
        if engine is not None:
            engine.close()

    def _names_of(self, handler: AnyHandler) -> list[str]:
        if isinstance(handler, Handler):
            handler = handler.name
        names = [each.name for each in self.app.handlers if _is_meant(each, handler)]
        if not names:
            there = ", ".join(each.name for each in self.app.handlers) or "none at all"
            raise UsageError(f"{handler!r} is no handler of this app; there is {there}")
        return names

    # The queues

    def _open(self, exits: ExitStack) -> Engine:
        self._clock = Clock(math.floor(time.time()))
        known = [read_address(each) for each in addresses_of(self.app)]
        self.account = Account(
            clock=self._clock,
            account_id=next((each.account for each in known if _ACCOUNT.fullmatch(each.account)), "0" * 12),
            region=next((each.region for each in known if each.region), "us-east-1"),
        )
        self.sqs, self.sns = SqsClient(self.account), SnsClient(self.account)
        opened = open_queues(self.app, self.sqs, self.sns, fifo=self._fifo)
        self.queue_url, self.dead_letter_queue_url = opened.queue_url, opened.dead_letter_queue_url
        exits.enter_context(
            self.app.connected(
                self.queue_url,
                opened.topic_arn,
                client=self.sqs,
                sns_client=self.sns,
                dead_letter_queue_url=opened.given_dead_letter_queue_url,
            )
        )
        payloads = self._choose_payloads()
        exits.enter_context(self.app.replacing(self._replacing, **self._choose_stores(), large_payloads=payloads))
        planned = Planned(self.app, self._clock)
        exits.enter_context(parts_of(self.app).destination.scheduling.replaced(planned, self._clock))
        self.app.metrics.clear()
        return Engine(self.app, self.account, self.queue_url, self._clock, planned)

    def _choose_stores(self) -> dict[str, Store | None]:
        """Return stores that no other test has written to, in place of the app's own, unless some were given."""
        own = parts_of(self.app).assembly.stores
        return {
            name: MemoryStore(clock=self._clock) if given is None and getattr(own, name) is not None else given
            for name, given in self._stores.items()
        }

    def _choose_payloads(self) -> Payloads | None:
        """Return a place that no other test has put anything into, as long as none was given."""
        own = parts_of(self.app).assembly.stores.payloads
        if own is None or self._large_payloads is not None:
            return self._large_payloads
        return MemoryPayloads(max_size=own.max_size, deletes_when_done=own.deletes_when_done)


def _is_meant(handler: Handler, by: str | Callable[..., Any]) -> bool:
    if isinstance(by, str):
        return by in (handler.name, handler.name.rpartition(".")[2])
    return bool(handler.function == by)


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def _refuse_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError("a TestClient waits for handlers, which it cannot inside a running event loop: make the test sync")
