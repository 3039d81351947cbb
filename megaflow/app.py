"""`App`: handlers, the queue they consume, and the queue or topic they publish to, wired together."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, Unpack

from typing_extensions import override

from megaflow import limits
from megaflow.backoff import Backoff, exponential_backoff
from megaflow.checks import check_whole
from megaflow.handlers.handler import Handler
from megaflow.handlers.router import Router, check_decorators
from megaflow.keywords import check_options
from megaflow.messages.message import message_with
from megaflow.messages.payloads import Payloads
from megaflow.processing.around import Around
from megaflow.processing.assembly import Assembly, Factories, Stores, Watcher
from megaflow.processing.middleware import Middleware
from megaflow.processing.processor import Processor
from megaflow.processing.verdict import Verdict
from megaflow.provision.declarations import Queue, Topic, read_queue, read_topic
from megaflow.publishing.batches import Sent
from megaflow.publishing.destination import Destination, Endpoints, read_dead_letter_queue
from megaflow.publishing.outgoing import PublishOptions
from megaflow.publishing.publisher import BATCHES_IN_FLIGHT
from megaflow.publishing.scheduling import Scheduled
from megaflow.runtime.beside_app import Beside, Relays
from megaflow.runtime.running import Running, refuse_event_loop, serving_health
from megaflow.settings import CircuitBreaker, ConsumerSettings, OnInvalid, RecordErrors, RetryOn, Unmatched
from megaflow.stores.store import Store
from megaflow.telemetry.metrics import Measurements, Metrics
from megaflow.telemetry.outlets import Outlets
from megaflow.telemetry.tracing import Telemetry
from megaflow.transport.protocols import SnsClient, SqsClient
from megaflow.transport.session import AwsOptions

if TYPE_CHECKING:  # what a method alone needs is imported there: a function of Lambda's starts the sooner
    from megaflow.awslambda import LambdaHandler
    from megaflow.consumer.asyncio.driver import LoopDriver
    from megaflow.consumer.core.health import Health
    from megaflow.consumer.threads.event_loop import MakeEventLoop
    from megaflow.consumer.threads.runner import Runner
    from megaflow.dispatch.check import Finding
    from megaflow.dispatch.explain import Explanation
    from megaflow.dispatch.sns_policy import SnsFilterPolicy

Layer = TypeVar("Layer", bound=Middleware)
Surrounding = TypeVar("Surrounding", bound=Around)


class App(Router):
    """Handlers, a queue to consume, and a queue or topic to publish to.

    Making an app asks nothing of AWS and reads nothing from the environment, so a module with handlers can be imported
    without either. The address of the queue names the region. boto3 finds the credentials, unless you give them or
    anything else of `AwsOptions`. Times are in seconds.

    Args:
        queue_url: The queue to consume, by URL or ARN. Without it, ``MEGAFLOW_QUEUE_URL`` is read at the first use.
        topic_arn: The topic to publish to. Without it, ``MEGAFLOW_TOPIC_ARN`` is read at the first use.
        queue: The queue to consume, by name, in place of *queue_url*. Its URL is looked up at the first use, in the
            region that boto3 finds, or you give. A `megaflow.provision.Queue` says what the queue is to be, too.
        topic: The same for the topic to publish to: its name, or a `megaflow.provision.Topic`.
        client: Your own boto3 SQS client, for the region of the queue, or a `megaflow.local.SqsClient`.
        sns_client: Your own boto3 SNS client, for the region of the topic, or a `megaflow.local.SnsClient`.
        concurrency: How many handlers run at once.
        max_number_of_messages: How many messages one call receives at most, 1 to 10.
        wait_time_seconds: Long polling, 0 to 20. It is 1 at most until SQS has answered once, and after an outage.
        visibility_timeout: How long a received message is hidden from other consumers, 1 to 43,200. It is extended
            while megaflow has the message in hand. So it says how soon the messages of a killed process come again.
        max_processing_time: How long the visibility timeout of one message is extended, at most the 12 hours of SQS.
        prefetch: How many messages may be received before a handler is free for them, where handlers are quick: never
            more than were finished within a second. By default the larger of *concurrency* and
            *max_number_of_messages*.
        shutdown_timeout: How long handlers may go on after SIGTERM.
        retry_on: Exceptions after which a message comes again. Any other exception dead-letters it. ``()`` says that
            none is worth another try; where nothing is said, the log warns at the start. Also on a
            decorator, which adds to these, or says ``()`` for its handler alone.
        backoff: A function ``(receive_count) -> seconds``: how long a message that comes again stays hidden. By default
            `exponential_backoff`, 1 s to 15 min. Also on a decorator, for its handler.
        max_receives: A message that is kept at this delivery is dead-lettered, with the reason. Where the queue has a
            redrive policy, the smaller of the two numbers holds.
        unmatched: What becomes of a message that no handler matches: ``"delete"``, ``"keep"`` or ``"dead_letter"``.
        on_invalid: What becomes of a message that is not what the annotations of its handler say: ``"dead_letter"``,
            ``"keep"`` or ``"delete"``. Also on a decorator.
        breaker: A `CircuitBreaker`: when to receive and handle nothing for a while, as what handlers need is away. Also
            on a decorator, in place of this one, for what its handler alone needs.
        dead_letter_queue_url: The dead-letter queue, in any region. Without it, the queue's redrive policy names it.
        record_errors: What the dead-letter queue and the progress store get to know of errors: ``"text"`` is type and
            text, at most 300 characters; ``"type"`` is the type alone.
        progress: A store that remembers which handlers have finished a message: only the others get it again.
        idempotency: A store of idempotency keys. Without it, the store of *progress* has them.
        large_payloads: Where payloads go, and are read from, that are too large for a message: a
            `megaflow.payloads.S3Payloads`, or `megaflow.payloads.DirectoryPayloads`.
        max_message_size: How many bytes the topic allows for a message.
        wire: Make the calls of SQS that are made over and over without boto3. False makes every call through boto3.
        metrics: An object of yours that is told what is counted and measured: `Metrics`.
        telemetry: Trace messages, and count them, by OpenTelemetry where its SDK is set up. A `Telemetry` says how;
            False does neither.

    Raises:
        ConfigurationError: A value is out of range.
    """

    def __init__(
        self,
        queue_url: str | None = None,
        topic_arn: str | None = None,
        *,
        queue: Queue | str | None = None,
        topic: Topic | str | None = None,
        client: SqsClient | None = None,
        sns_client: SnsClient | None = None,
        concurrency: int = 10,
        max_number_of_messages: int = 10,
        wait_time_seconds: int = 20,
        visibility_timeout: int = 30,
        max_processing_time: float = limits.VISIBILITY_TIMEOUT,
        prefetch: int | None = None,
        shutdown_timeout: float = 25.0,
        retry_on: RetryOn | None = None,
        backoff: Backoff | None = None,
        max_receives: int | None = None,
        unmatched: Unmatched = "delete",
        on_invalid: OnInvalid = "dead_letter",
        breaker: CircuitBreaker | None = None,
        dead_letter_queue_url: str | None = None,
        record_errors: RecordErrors = "text",
        progress: Store | None = None,
        idempotency: Store | None = None,
        large_payloads: Payloads | None = None,
        max_message_size: int = limits.SNS_MESSAGE_SIZE,
        wire: bool = True,
        metrics: Metrics | None = None,
        telemetry: bool | Telemetry = True,
        **aws: Unpack[AwsOptions],
    ) -> None:
        check_options(App, aws, AwsOptions)
        super().__init__()
        self.metrics = Measurements()
        """What has happened since the app was made, as `Measurements`: ``app.metrics.snapshot()["deleted"]``."""

        self._outlets = Outlets(self.metrics, metrics, tells_opentelemetry=bool(telemetry))
        self._declared = read_queue(queue, queue_url), read_topic(topic, topic_arn)
        names = (each.name if each else None for each in self._declared)
        connection = Endpoints(queue_url, topic_arn, client, sns_client, aws, *names)
        self._destination = Destination(
            connection,
            wire=wire,
            max_message_size=max_message_size,
            outlets=self._outlets,
            telemetry=telemetry,
            large_payloads=large_payloads,
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
            dead_letter_queue_url=read_dead_letter_queue(dead_letter_queue_url),
            record_errors=record_errors,
            breaker=breaker,
            backoff=exponential_backoff() if backoff is None else backoff,
        )
        self._running = Running()
        self._beside = Beside()
        self._assembly = Assembly(
            self,
            self._providers,
            retry_on=retry_on,
            unmatched=unmatched,
            on_invalid=on_invalid,
            breaker=breaker,
            stores=Stores(progress, idempotency, large_payloads),
            max_receives=max_receives,
            max_processing_time=max_processing_time,
            visibility_timeout=visibility_timeout,
            with_error_texts=self._settings.records_error_texts,
            # What is handled without a queue needs nothing of AWS, so a name is not looked up.
            find_queue=lambda: self._destination.queue_address or "",
            is_running=lambda: self._running.is_under_way,
            propagation=self._destination.propagation,
            tracing=self._destination.tracing,
        )

    @override
    def register(self, handler: Handler) -> None:
        """Add a handler of another router, such as one of its ``handlers``.

        Raises `RegistrationError` where nobody provides what the handler needs.
        """
        with self._assembly.adding(handler):
            super().register(handler)

    @property
    def queue(self) -> Queue | None:
        """The queue that you gave by name, as a `megaflow.provision.Queue`; None where you gave none."""
        return self._declared[0]

    @property
    def topic(self) -> Topic | None:
        """The topic that you gave by name, as a `megaflow.provision.Topic`; None where you gave none."""
        return self._declared[1]

    @property
    def queue_url(self) -> str | None:
        """The queue's URL or ARN, as you gave it, or else from ``MEGAFLOW_QUEUE_URL``; None where there is neither.

        Of a queue that you gave by name it is looked up, once. Raises `ConfigurationError` where it is not there.
        """
        return self._destination.queue_url

    @property
    def topic_arn(self) -> str | None:
        """The topic's ARN, as you gave it, or else from ``MEGAFLOW_TOPIC_ARN``; None where there is neither.

        Of a topic that you gave by name it is looked up, once. Raises `ConfigurationError` where it is not there.
        """
        return self._destination.topic_arn

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
        """Use another queue, topic or other clients within a ``with``, such as those of a test.

        What you leave out stays as it is. The app's own clients are not used where you give options for boto3. Raises
        `UsageError` while the app is running.
        """
        check_options(self.connected, aws, AwsOptions)
        before, to = self._settings, Endpoints(queue_url, topic_arn, client, sns_client, aws)
        dead_letters = read_dead_letter_queue(dead_letter_queue_url)
        changes: dict[str, Any] = {"dead_letter_queue_url": dead_letters, "concurrency": concurrency}
        with self._running.refused_to_change(), self._destination.changed(to):
            self._settings = replace(before, **{name: new for name, new in changes.items() if new is not None})
            try:
                yield self
            finally:
                self._settings = before

    @contextmanager
    def replacing(
        self,
        factories: Factories,
        *,
        progress: Store | None = None,
        idempotency: Store | None = None,
        large_payloads: Payloads | None = None,
    ) -> Iterator[Self]:
        """Let other factories make what `provide` says, by type, and other stores remember, within a ``with``.

        This is for tests: ``with app.replacing({Bank: FakeBank}): ...``. What the other factories make is closed at the
        end. Raises `RegistrationError` for a type that is not provided, and `UsageError` while the app is running.
        """
        self._running.refuse_change()
        stores = Stores(progress, idempotency, large_payloads)
        with self._assembly.replacing(factories, stores), self._destination.putting_large_payloads(large_payloads):
            yield self

    def use(self, middleware: Layer) -> Layer:
        """Wrap the call of every handler with *middleware*, a function ``(call_next) -> call``; return *middleware*.

        ``call(handler, message)`` returns what ``call_next(handler, message)`` returns, or raises. The middleware that
        was added first is the outermost. It is called once for each handler. Around an async handler ``call_next`` is a
        coroutine function, and so must ``call`` be to wait for it.
        """
        self._assembly.use(middleware)
        return middleware

    def around(self, around: Surrounding) -> Surrounding:
        """Run a generator around every handler's call, and the line of the log that says how it failed.

        ``def around(handler, message): …; status = yield; …``: the handler runs at the ``yield``, which gives its
        `ProcessStatus`, or raises what it has raised. A plain generator goes around sync and async handlers alike; an
        async one around async handlers alone. The first one added is the outermost, and all of them are outside of what
        `use` adds, and of what `provide` makes for a message.

        What a generator raises is read as the handler's own error is, in place of what the handler made of its message.
        An error that it keeps to itself stands nevertheless, as its message would be lost: to make another status of
        an error, raise one that means it, or do it inside, with `use`. Raises `RegistrationError` for what is no
        function with a ``yield``, and for an async generator where a handler is not async.
        """
        self._assembly.around(around)
        return around

    def on_verdict(self, watcher: Watcher) -> None:
        """Call ``watcher(verdict)`` with the `Verdict` of each message, from any thread; its errors are only logged."""
        self._assembly.watch(watcher)

    def propagate(self, *names: str) -> None:
        """Let message attributes of these *names* go on from message to message.

        What the app publishes while a message that has them is handled takes them along, and so does what it publishes
        within ``with megaflow.context({name: value})``; both have them in the log, see `LogFilter`. An attribute that a
        message is published with goes before one of the same name. One of a message's ten places stays free: what has
        no room is left out, which is logged once. Raises `ConfigurationError` for what is no attribute's name.
        """
        self._destination.propagation.add(names)

    def handlers_for(self, payload: object) -> tuple[Handler, ...]:
        """Return the handlers that match *payload*, in order of registration.

        *payload* is what a handler would get: a dict (always data), a `Payload`, a model, str, bytes, or a `Message`. A
        handler is left out where a function of yours in its pattern raises.
        """
        return self._assembly.processor().table.handlers_for(payload)

    def explain(self, payload: object) -> Explanation:
        """Say for every handler whether it matches *payload*, and which conditions failed; ``print`` shows it."""
        from megaflow.dispatch.explain import explain

        return explain(self._assembly.processor().table, message_with(payload))

    def check(self) -> tuple[Finding, ...]:
        r"""Return what is odd about the handlers: ``print(*app.check(), sep="\n")`` shows it.

        `Oddity` lists what is looked for. Each `Finding` is certain. Not every one is found: of many handlers that look
        alike, each is compared with the first fifty, and functions of your own are not called.
        """
        from megaflow.dispatch.check import check

        processor = self._assembly.processor()
        return check(processor.table, processor.undecided)

    def sns_filter_policy(self, *, json_only: bool = False) -> SnsFilterPolicy:
        """Return the filter policy for a subscription of the queue to a topic.

        It lets through every JSON object that some handler would match, and as little else as SNS can say. Such a
        policy cuts off text, bytes, and objects that travel as BSON: *json_only* says that no publisher sends those.
        Where every handler was registered with a policy for attributes, the result is for attributes, and its ``scope``
        says so. Where any policy would lose messages, ``policy`` is None and ``reason`` says why. With
        ``large_payloads=``, every policy for bodies would: SNS sees the pointer.

        https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
        """
        from megaflow.dispatch.sns_policy import derive_sns_filter_policy

        check_decorators(self)
        has_pointers = self._assembly.stores.payloads is not None
        return derive_sns_filter_policy(self.handlers, json_only=json_only, has_pointers=has_pointers)

    def publish(self, payload: Any, **options: Unpack[PublishOptions]) -> str:
        """Send *payload* to the topic where one is set, else to the queue, and return its message id.

        Args:
            payload: A `Payload`, a dict, text, bytes, a pydantic model or a dataclass.
            options: Each as in `Outgoing`: ``attributes=``, ``group_id=``, ``delay_seconds=`` and others.

        Raises:
            EncodeError: AWS would refuse the message. Nothing was sent.
            PublishError: The message is too large for this queue or topic.
            ConfigurationError: There is neither a topic nor a queue, or the region is unknown.
        """
        return self._destination.publisher.publish(payload, **options)

    def schedule(
        self,
        payload: Any,
        *,
        at: datetime | None = None,
        after: timedelta | float | None = None,
        **options: Unpack[PublishOptions],
    ) -> Scheduled:
        """Publish *payload* later, and never earlier than said: by SQS's own delay up to 15 minutes, else by an outbox.

        SQS delays messages of standard queues alone. Whatever else goes by the outbox that was made with the app and an
        engine, ``Outbox(app, engine)``, in a transaction of its own, and its relay sends it. What SQS has already
        cannot be cancelled.

        Args:
            payload: As for `publish`.
            at: A time, with its time zone.
            after: How long from now, in seconds or as a ``timedelta``.
            options: Each as in `Outgoing`, but for ``delay_seconds``.

        Raises:
            ConfigurationError: It would need an outbox, and there is none.
            EncodeError: AWS would refuse the message. Nothing was sent, or written.
        """
        check_options(self.schedule, options, PublishOptions)
        return self._destination.scheduling.schedule(payload, at, after, options)

    def publish_batch(self, items: Iterable[object], **options: Unpack[PublishOptions]) -> list[str]:
        """Send *items*, payloads or `Outgoing`, ten to a call, and return their message ids in order.

        They go to the topic where one is set, else to the queue; see `SqsPublisher.publish_batch`.
        """
        return self._destination.publisher.publish_batch(items, **options)

    def publish_stream(
        self,
        items: Iterable[object],
        *,
        raw: bool = False,
        in_flight: int = BATCHES_IN_FLIGHT,
        **options: Unpack[PublishOptions],
    ) -> Iterator[Sent]:
        """Send *items* as they come, and give a `Sent` for each, in order: for more messages than memory holds.

        They go to the topic where one is set, else to the queue; see `SqsPublisher.publish_stream`.
        """
        return self._destination.publisher.publish_stream(items, raw=raw, in_flight=in_flight, **options)

    def publish_raw_message(self, body: str, **options: Unpack[PublishOptions]) -> str:
        """Send the text *body* exactly as it is, to the topic where one is set, else to the queue; return its id."""
        return self._destination.publisher.publish_raw_message(body, **options)

    async def apublish(self, payload: Any, **options: Unpack[PublishOptions]) -> str:
        """Do what `publish` does inside a running event loop, which is not blocked; see `SqsPublisher.apublish`."""
        return await self._destination.publisher.apublish(payload, **options)

    async def apublish_batch(self, items: Iterable[object], **options: Unpack[PublishOptions]) -> list[str]:
        """Do what `publish_batch` does inside a running event loop, which is not blocked."""
        return await self._destination.publisher.apublish_batch(items, **options)

    def apublish_stream(
        self,
        items: Iterable[object] | AsyncIterable[object],
        *,
        raw: bool = False,
        in_flight: int = BATCHES_IN_FLIGHT,
        **options: Unpack[PublishOptions],
    ) -> AsyncIterator[Sent]:
        """Do what `publish_stream` does inside a running event loop, which is not blocked: ``async for sent in …``.

        *items* may be an async iterable, too.
        """
        return self._destination.publisher.apublish_stream(items, raw=raw, in_flight=in_flight, **options)

    def process(self, body: object) -> Verdict:
        """Run the handlers for one message, without a queue, and return the `Verdict`.

        A text is a body as SQS would deliver it, so it is parsed. A dict, a `Payload`, bytes or a model is the payload.
        It waits for no limit of a handler's: a consumer keeps to ``rate`` and ``max_concurrency``. Raises `UsageError`
        inside a running event loop: there, await `aprocess`.
        """
        return self._assembly.process(body)

    async def aprocess(self, body: object) -> Verdict:
        """Do what `process` does, inside a running event loop: async handlers run in it, the others in threads."""
        return await self._assembly.aprocess(body)

    def close(self) -> None:
        """Close what `provide` has made for the process, and the stores; `run` does so at its end.

        You can use the app again: it makes new ones.
        """
        self._assembly.close()

    async def aclose(self) -> None:
        """Do what `close` does, and close what was made for the running event loop: await it after `aprocess`."""
        await self._assembly.aclose()

    def run(
        self,
        *,
        processes: int = 1,
        relay: Relays | None = None,
        health_port: int | None = None,
        health_host: str | None = None,
    ) -> None:
        """Consume the queue until `stop`, SIGTERM or SIGINT.

        Handlers that are at work then have ``shutdown_timeout`` seconds to finish; a second signal does not wait.

        Args:
            processes: How many processes consume. With more than one, this process starts them, and replaces one that
                dies. Each makes its own clients.
            relay: A `megaflow.sql.Outbox` whose messages this process sends meanwhile, with several processes as well.
            health_port: A port that answers ``GET /live`` and ``GET /ready`` with 200 or 503, and `health` as JSON, and
                ``GET /metrics`` for Prometheus, with the extra ``prometheus``. It answers for all processes.
            health_host: The name or address that the port is bound to. Without it, every IPv4 address.

        Raises:
            ConfigurationError: No queue is set, it does not exist or refuses access, a store cannot be opened or
                written, or the region is unknown.
            RegistrationError: No handler is registered, or one of them cannot work.
            UsageError: The app is running already, or an event loop is: there, await `arun`.
            ProcessError: The processes end one after another.
            BaseException: What a handler raised that is no `Exception`, such as `SystemExit`.
        """
        check_whole("processes", processes, 1, 1_000)
        refuse_event_loop("run")
        if processes > 1:
            from megaflow.runtime.child import refuse_nested_start

            refuse_nested_start()
        self._check_for_running()
        serving = serving_health(health_host, health_port, self.health, self.metrics)
        with serving, self._beside.relaying(relay, self.stop):
            if processes == 1:
                self._consume()
            else:
                self._supervise(processes)

    async def arun(
        self, *, signals: bool = False, health_port: int | None = None, health_host: str | None = None
    ) -> None:
        """Consume the queue until `stop`, with async handlers in the event loop that is running.

        What they use may belong to that loop: a pool, a client, a lock. Plain handlers run in threads, as with `run`,
        and so does whatever waits for SQS. Where its task is cancelled, handlers have ``shutdown_timeout`` seconds to
        finish; where it is cancelled again, what they have in hand is given back.

        Args:
            signals: Stop on SIGTERM and SIGINT, as `run` does. At the end, they are heard as they were before.
            health_port: As in `run`.
            health_host: As in `run`.

        Raises:
            UsageError: The app is running already, or *signals* are asked for outside the main thread.
            ConfigurationError: Another app of this process consumes the queue, beside an event loop.
            CancelledError: The task was cancelled.
            BaseException: Whatever else `run` raises.
        """
        from megaflow.consumer.threads.signals import stopping_on_signals_if

        serving = serving_health(health_host, health_port, self.health, self.metrics)
        with stopping_on_signals_if(signals, lambda again: self.stop(now=again)):
            driver = await self._begin_in_loop(serving)
            await driver.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Consume the queue within an ``async with``, as `arun` does: for the lifespan of a web server.

        Signals are left to the server. At the end handlers have ``shutdown_timeout`` seconds to finish. A consumer that
        fails meanwhile is not ready, the log says why, and its error is raised at the end.

        Raises:
            ConfigurationError: No queue is set, another app of this process consumes it, or the region is unknown.
            RegistrationError: No handler is registered, or one of them cannot work.
            UsageError: The app is running already.
        """
        driver = await self._begin_in_loop(nullcontext())
        driver.say_if_it_fails()
        try:
            yield self
        except BaseException:
            # What the consumer has failed with is in the log.
            with suppress(Exception):
                await driver.end()
            raise
        await driver.end()

    def lambda_handler(self) -> LambdaHandler:
        """Return the function that AWS Lambda calls with the messages of an SQS queue: ``handler(event, context)``.

        What becomes of a message is the same as in `run`. The answer names the messages that are to come again, so the
        trigger of the function has to set ``ReportBatchItemFailures``. ``queue_url`` is not used: the event names its
        queue.
        """
        from megaflow.awslambda import LambdaHandler

        return LambdaHandler(
            self._assembly.processor,
            self._settings,
            self._destination,
            self._outlets,
            tracing=self._destination.tracing,
        )

    def health(self) -> Health:
        """Return how the consumer is doing, and what is wrong. May be called from any thread, at any time."""
        return self._beside.add_to(self._running.health())

    def stop(self, *, now: bool = False) -> None:
        """End `run` as SIGTERM does; with *now*, do not wait for handlers, as after a second SIGTERM.

        May be called from any thread. Where the app is not running, the next `run` ends at once.
        """
        self._running.stop(now=now)

    def pause(self) -> None:
        """Receive nothing until `resume`. What is in hand is handled, and `health` says that it is paused.

        May be called from any thread. Where the app is not running, the next `run` begins paused.
        """
        self._running.pause()

    def resume(self) -> None:
        """Receive messages again, after `pause`. May be called from any thread."""
        self._running.resume()

    def _check_for_running(self) -> None:
        self._destination.check_for_running(self._settings.dead_letter_queue_url)
        self._assembly.processor_to_run()

    def _consume(self) -> None:
        # Stores not earlier: what is given back at the end may still ask them.
        self._running.run(self._make_runner(), at_end=self._assembly.stores.close)

    async def _begin_in_loop(self, serving: AbstractContextManager[object]) -> LoopDriver:
        """Begin to consume beside the event loop that is running, *serving* meanwhile."""
        from megaflow.runtime.beside_loop import begin_beside_loop

        def make_runner(make_event_loop: MakeEventLoop) -> Runner:
            self._check_for_running()
            return self._make_runner(make_event_loop=make_event_loop)

        at_end = self._assembly.stores.close
        return await begin_beside_loop(self._running, self._destination, make_runner, serving=serving, at_end=at_end)

    def _make_runner(self, **options: Any) -> Runner:
        from megaflow.consumer.threads.runner import Runner

        queue = self._destination.open_queue(self._settings.dead_letter_queue_url)
        at_end = self._assembly.close_dependencies
        return Runner(queue, self._assembly.processor, self._settings, self._outlets, at_end=at_end, **options)

    def _supervise(self, processes: int) -> None:
        from megaflow.runtime.supervisor import Supervisor
        from megaflow.runtime.targets import find_targets

        timeout, measurements = self._settings.shutdown_timeout, {"app": self.metrics}
        targets = find_targets({"app": self})
        self._running.run(Supervisor(targets, processes, shutdown_timeout=timeout, measurements=measurements))


class Parts(NamedTuple):
    """What an app is wired of, for megaflow's own rooms above it."""

    assembly: Assembly
    destination: Destination
    settings: ConsumerSettings
    outlets: Outlets
    running: Running

    @property
    def processor(self) -> Processor:
        """What takes messages through the handlers as they are now."""
        return self.assembly.processor()


def parts_of(app: App) -> Parts:
    """Return the parts of *app* as it is connected now."""
    return Parts(app._assembly, app._destination, app._settings, app._outlets, app._running)  # noqa: SLF001 - the command line and tests drive it
