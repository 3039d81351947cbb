"""`App`: a router that also publishes, processes and runs."""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, get_args

from typing_extensions import override

from megaflow import limits
from megaflow.backoff import Backoff, exponential_backoff
from megaflow.errors import ConfigurationError, RegistrationError, UsageError
from megaflow.handlers.dependencies import Dependencies
from megaflow.handlers.handler import Handler
from megaflow.handlers.router import Router
from megaflow.messages.message import Message, message_with, open_message
from megaflow.processing.idempotency import Idempotency
from megaflow.processing.middleware import Middleware
from megaflow.processing.processor import Processor
from megaflow.processing.progress import Progress
from megaflow.processing.verdict import Verdict
from megaflow.publishing.destination import Connection, Producer
from megaflow.settings import ConsumerSettings, OnInvalid, RetryOn, Unmatched, check_choice, check_whole, read_retry_on
from megaflow.stores import Store
from megaflow.stores.store import close_store
from megaflow.telemetry.metrics import Counters
from megaflow.transport.protocols import SnsClient, SqsClient
from megaflow.transport.queue import Queue
from megaflow.transport.session import AwsOptions

if TYPE_CHECKING:
    from megaflow.awslambda import LambdaHandler
    from megaflow.consumer.core.health import Health
    from megaflow.consumer.threads.runner import Runner
    from megaflow.dispatch.check import Finding
    from megaflow.dispatch.explain import Explanation
    from megaflow.dispatch.sns_policy import SnsFilterPolicy
    from megaflow.runtime.supervisor import Supervisor

# What a method alone needs is imported there: a function of Lambda's starts the sooner.

log = logging.getLogger(__name__)

Layer = TypeVar("Layer", bound=Middleware)


class App(Router, Producer):
    """Handlers, a queue to consume, and a queue or topic to publish to.

    Nothing is asked of AWS, nor read from the environment, before it is needed: a module with handlers imports
    without either. What is not given of region and credentials is left to boto3. Times are in seconds.

    *concurrency* handlers run at once. *unmatched* says what becomes of a message that no handler matches:
    ``"delete"``, ``"keep"`` or ``"dead_letter"``; *on_invalid* says so of one that is not what the annotations of its
    handler say. *backoff* is a function ``(receive_count) -> seconds``, *retry_on* the exceptions after which a message
    comes again. Without *dead_letter_queue_url* the queue's own redrive policy names it. *max_message_size*, in bytes,
    is what the topic allows. Raises `ConfigurationError` for a value out of range.

    A message in hand stays hidden from others, *visibility_timeout* being extended, for *max_processing_time* at most.
    Up to *prefetch* messages are received before there is a handler free for them, where handlers are quick; by default
    as many as *concurrency*. A message that is kept at its *max_receives*-th delivery is dead-lettered, for queues that
    have no redrive policy. *progress* is a store that remembers which handlers have finished a message, so that it
    comes again to the others only; *idempotency* remembers idempotency keys, by default in the same store.

    The calls of SQS that are made over and over go past boto3, unless *wire* is False, or the client was told to do
    what only boto3 does; boto3 makes the others.
    """

    def __init__(
        self,
        queue_url: str | None = None,
        topic_arn: str | None = None,
        *,
        client: SqsClient | None = None,
        sns_client: SnsClient | None = None,
        concurrency: int = 10,
        max_number_of_messages: int = 10,
        wait_time_seconds: int = 20,
        visibility_timeout: int = 30,
        max_processing_time: float = limits.VISIBILITY_TIMEOUT,
        prefetch: int | None = None,
        shutdown_timeout: float = 25.0,
        retry_on: RetryOn = (),
        backoff: Backoff | None = None,
        max_receives: int | None = None,
        unmatched: Unmatched = "delete",
        on_invalid: OnInvalid = "dead_letter",
        dead_letter_queue_url: str | None = None,
        progress: Store | None = None,
        idempotency: Store | None = None,
        max_message_size: int = limits.SNS_MESSAGE_SIZE,
        wire: bool = True,
        **aws: Unpack[AwsOptions],
    ) -> None:
        Router.__init__(self)
        Producer.__init__(
            self,
            Connection(queue_url, topic_arn, client, sns_client, aws),
            wire=wire,
            max_message_size=max_message_size,
        )
        self._settings = ConsumerSettings(
            concurrency=concurrency,
            max_number_of_messages=max_number_of_messages,
            wait_time_seconds=wait_time_seconds,
            visibility_timeout=visibility_timeout,
            max_processing_time=max_processing_time,
            prefetch=prefetch,
            max_receives=max_receives,
            shutdown_timeout=shutdown_timeout,
            unmatched=unmatched,
            dead_letter_queue_url=dead_letter_queue_url,
            backoff=exponential_backoff() if backoff is None else backoff,
        )
        self._retry_on = read_retry_on(retry_on)
        self._progress = None if progress is None else Progress(progress)
        keys = progress if idempotency is None else idempotency
        self._idempotency = None if keys is None else Idempotency(keys, visibility_timeout)
        self._stores = [store for store in (progress, idempotency) if store is not None]
        check_choice("on_invalid", on_invalid, get_args(OnInvalid))
        self._on_invalid = on_invalid
        self._dependencies = Dependencies(self._providers)
        self._middleware: list[Middleware] = []
        # Reentrant: a signal handler of the user's may call stop() in the middle of anything.
        self._changing = threading.RLock()
        self._version = 0
        self._processor: Processor | None = None
        self._runner: Runner | None = None
        self._supervisor: Supervisor | None = None
        self._stop_wanted = False
        self.metrics = Counters()
        """How often what happened since the app was made, by name: ``app.metrics.snapshot()["deleted"]``."""

    @override
    def register(self, handler: Handler) -> None:
        self._providers.check(handler.name, handler.needs, is_async=handler.is_async)
        self._change(self._handlers, handler)

    @property
    def settings(self) -> ConsumerSettings:
        """How the queue is consumed."""
        return self._settings

    @property
    def processor(self) -> Processor:
        """What takes messages through the handlers as they are now: for whoever has messages from elsewhere."""
        return self._compiled()

    @contextmanager
    def connected(
        self,
        queue_url: str | None = None,
        topic_arn: str | None = None,
        *,
        client: SqsClient | None = None,
        sns_client: SnsClient | None = None,
        dead_letter_queue_url: str | None = None,
        concurrency: int | None = None,
        **aws: Unpack[AwsOptions],
    ) -> Iterator[Self]:
        """Use another queue, topic or clients within a ``with``, as tests and the command line do.

        What is not given stays as the app was made with; clients that were given to the app do not, where others or
        options for boto3 are given. Raises `UsageError` while the app is running.
        """
        self._refuse_while_running()
        before = self._connection, self._settings, self._stop_wanted
        changes: dict[str, Any] = {"dead_letter_queue_url": dead_letter_queue_url, "concurrency": concurrency}
        self._settings = replace(self._settings, **{name: to for name, to in changes.items() if to is not None})
        self._connect(self._connection.changed(Connection(queue_url, topic_arn, client, sns_client, aws)))
        try:
            yield self
        finally:
            # Where nothing ran, a stop that was asked for meanwhile is not for a later run.
            connection, self._settings, self._stop_wanted = before
            self._connect(connection)

    @contextmanager
    def replacing(self, factories: Mapping[Any, Callable[..., Any]]) -> Iterator[Self]:
        """Let other factories make what `provide` says, by type, within a ``with``: for tests.

        What was made already is not used there, and what is made there is closed at its end. Raises
        `RegistrationError` for a type that is not provided, and `UsageError` while the app is running.
        """
        self._refuse_while_running()
        before = self._dependencies
        with self._providers.replaced(factories):
            for handler in self.handlers:
                self._providers.check(handler.name, handler.needs, is_async=handler.is_async)
            self._depend_on(Dependencies(self._providers))
            try:
                yield self
            finally:
                self._dependencies.close()
                self._depend_on(before)

    def use(self, middleware: Layer) -> Layer:
        """Wrap every handler's call: ``middleware(call_next) -> call``; the first one added is the outermost.

        ``call(handler, message)`` returns what ``call_next(handler, message)`` does, or raises. It is asked once for
        each handler; for an async one ``call_next`` is a coroutine function, as ``call`` must be to wait for it.
        """
        if not callable(middleware):
            raise RegistrationError(f"a middleware is a function (call_next) -> call, not {middleware!r}")
        self._change(self._middleware, middleware)
        return middleware

    def handlers_for(self, payload: object) -> tuple[Handler, ...]:
        """Return the handlers that match *payload*, in order of registration.

        It is what a handler would get: a dict (always data), a `Payload`, str, bytes, or a `Message`. A handler whose
        pattern has a function that raised is left out.
        """
        return self._compiled().table.handlers_for(payload)

    def explain(self, payload: object) -> Explanation:
        """Say for every handler whether it matches *payload*, and otherwise what failed; ``print`` shows it."""
        from megaflow.dispatch.explain import explain

        return explain(self._compiled().table, message_with(payload))

    def check(self) -> tuple[Finding, ...]:
        r"""Return what is odd about the handlers: ``print(*app.check(), sep="\n")`` shows it.

        These are handlers that never match, that match everything, that say the same as another one or get only what
        also reaches another one, and that cannot be indexed; in order of registration, with where they stand. What is
        not certain is not said, and of many handlers alike each is compared with some only. Functions of your own are
        not asked.
        """
        from megaflow.dispatch.check import check

        return check(self._compiled().table)

    def sns_filter_policy(self, *, json_only: bool = False) -> SnsFilterPolicy:
        """Return the filter policy for a subscription of the queue to a topic, scope ``MessageBody``.

        It lets through every JSON object that some handler would match, and as little else as SNS can say. A policy
        for bodies cuts off text, bytes, and objects that travel as BSON: *json_only* says that no publisher sends
        those. Where a handler would lose messages, there is no policy, but the reason.

        https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
        """
        from megaflow.dispatch.sns_policy import derive_sns_filter_policy

        return derive_sns_filter_policy(self.handlers, json_only=json_only)

    def process(self, body: object) -> Verdict:
        """Run the handlers for one body, without AWS, and return the verdict.

        Text is a body as SQS would deliver it, JSON or whatever else; other payloads are taken as they are. Raises
        `UsageError` inside a running event loop: there, await `aprocess`.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise UsageError("process() cannot wait inside a running event loop: await app.aprocess(body)")
        with asyncio.Runner() as loop:
            verdict = self._compiled().process(_open(body), lambda said: loop.run(_wait_for(said)))
            if self._dependencies.has_loops:
                loop.run(self._dependencies.aclose())
        return _raise_interruption(verdict)

    async def aprocess(self, body: object) -> Verdict:
        """Do what `process` does, inside a running event loop: async handlers run in it, the others in threads."""
        return _raise_interruption(await self._compiled().aprocess(_open(body)))

    def close(self) -> None:
        """Close what `provide` has made for the process, and the stores, as `run` does at its end.

        The app can be used again: what it needs is made and opened anew.
        """
        try:
            self._dependencies.close()
        finally:
            self._close_stores()

    async def aclose(self) -> None:
        """Do what `close` does, and close what belongs to the event loop that runs: after `aprocess`."""
        try:
            await self._dependencies.aclose()
        finally:
            self.close()

    def run(self, *, processes: int = 1, health_port: int | None = None) -> None:
        """Consume the queue until `stop`, SIGTERM or SIGINT; handlers then have ``shutdown_timeout`` to finish.

        A second signal does not wait for them. With more *processes* than one, children do the work, each with clients
        of its own, and one that dies is replaced. On *health_port*, ``/live`` and ``/ready`` answer 200 or 503.

        Raises `ConfigurationError` where no queue is set, where it does not exist or refuses access, or where there is
        no region; `RegistrationError` where there is no handler; and whatever a handler raised that is no `Exception`.
        """
        check_whole("processes", processes, 1, 1_000)
        if processes > 1:
            from megaflow.runtime.supervisor import refuse_nested_start

            refuse_nested_start()
        self._check_for_running()
        with self._healthy_on(health_port):
            if processes == 1:
                self._consume()
            else:
                self._supervise(processes)

    def lambda_handler(self) -> LambdaHandler:
        """Return the function that AWS Lambda calls with the messages of an SQS queue: ``handler(event, context)``.

        Messages meet the same fate as in `run`; those that come again are in its answer, for which the queue's trigger
        needs ``ReportBatchItemFailures``. The queue is the one that the event comes from, ``queue_url`` or not.
        """
        from megaflow.awslambda import LambdaHandler

        return LambdaHandler(self._compiled, self._settings, self._connect_to, self.metrics)

    def health(self) -> Health:
        """Return how the consumer is: what SQS and the workers were heard of last, and what is wrong.

        May be called from any thread, while `run` is under way or not.
        """
        from megaflow.consumer.core.health import NOT_RUNNING

        running = self._runner or self._supervisor
        return NOT_RUNNING if running is None else running.health()

    def stop(self, *, now: bool = False) -> None:
        """End `run` as SIGTERM does, or with *now* as a second one: without waiting for handlers.

        May be called from any thread; called while `run` is not under way, it ends the next one.
        """
        with self._changing:
            self._stop_wanted = True
            if self._runner is not None:
                self._runner.stop(now=now)
            if self._supervisor is not None:
                self._supervisor.stop(now=now)

    def _depend_on(self, dependencies: Dependencies) -> None:
        with self._changing:
            self._dependencies = dependencies
            self._version += 1
            self._processor = None

    def _refuse_while_running(self) -> None:
        if self._runner is not None or self._supervisor is not None:
            raise UsageError("this app is running: what it is connected to can be changed before that only")

    def _check_for_running(self) -> None:
        url = self._sqs.queue_url
        if self._settings.dead_letter_queue_url == url:
            raise ConfigurationError(f"dead_letter_queue_url={url!r} is the queue itself: give another one")
        if not self.handlers:
            raise RegistrationError("no handler is registered, so every message would be unmatched: register one first")
        self._compiled()

    def _healthy_on(self, port: int | None) -> AbstractContextManager[object]:
        if port is None:
            return nullcontext()
        from megaflow.runtime.health_server import serve_health

        return serve_health(port, self.health)

    def _consume(self) -> None:
        from megaflow.consumer.threads.runner import Runner

        queue = Queue(self._sqs.client, self._sqs.queue_url)
        with self._changing:
            if self._runner is not None:
                raise UsageError("this app is running already; a second consumer needs a second App, or process")
            at_end = self._dependencies.close
            self._runner = Runner(queue, self._compiled, self._settings, self.metrics, at_end=at_end)
            if self._stop_wanted:
                log.info("stop() was called before run(), which ends at once")
                self._runner.stop()
        try:
            self._runner.run()
        finally:
            # Not earlier: what is given back at the end may still ask them.
            self._close_stores()
            with self._changing:
                self._runner, self._stop_wanted = None, False

    def _close_stores(self) -> None:
        for store in self._stores:
            try:
                close_store(store)
            except Exception:
                log.warning("%s could not be closed", type(store).__name__, exc_info=True)

    def _supervise(self, processes: int) -> None:
        from megaflow.runtime.supervisor import Supervisor, find_target

        with self._changing:
            if self._supervisor is not None:
                raise UsageError("this app is running already")
            timeout = self._settings.shutdown_timeout
            self._supervisor = Supervisor(find_target(self), processes, shutdown_timeout=timeout)
            if self._stop_wanted:
                self._supervisor.stop()
        try:
            self._supervisor.run()
        finally:
            with self._changing:
                self._supervisor, self._stop_wanted = None, False

    def _change(self, collected: list[Any], added: object) -> None:
        with self._changing:
            collected.append(added)
            self._version += 1
            self._processor = None
            if self._runner is None:
                return
            try:
                self._compiled()
            except RegistrationError:
                # What cannot work is refused here, and not message by message.
                collected.remove(added)
                self._version += 1
                raise

    def _compiled(self) -> Processor:
        processor = self._processor
        while processor is None:
            version = self._version
            # Outside the lock: a middleware may ask the app something while it is being asked itself.
            built = Processor(
                self.handlers,
                middleware=tuple(self._middleware),
                retry_on=self._retry_on,
                unmatched=self._settings.unmatched,
                progress=self._progress,
                idempotency=self._idempotency,
                on_invalid=self._on_invalid,
                dependencies=self._dependencies,
            )
            with self._changing:
                if version == self._version:
                    self._processor = processor = built
        return processor


def _open(body: object) -> Message:
    message = open_message(body) if isinstance(body, str) else message_with(body)
    return message if message.id else replace(message, id=str(uuid.uuid4()))


async def _wait_for(said: Awaitable[Any]) -> Any:
    return await said


def _raise_interruption(verdict: Verdict) -> Verdict:
    if verdict.interruption is not None:
        raise verdict.interruption
    return verdict
