"""`App`: handlers, the queue they consume, and the queue or topic they publish to, wired together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from typing_extensions import override

from megaflow import limits
from megaflow.backoff import Backoff, exponential_backoff
from megaflow.handlers.handler import Handler
from megaflow.handlers.router import Router
from megaflow.keywords import check_options
from megaflow.messages.message import message_with
from megaflow.processing.around import Around
from megaflow.processing.assembly import Assembly, Factories, Stores, Watcher
from megaflow.processing.middleware import Middleware
from megaflow.processing.processor import Processor
from megaflow.processing.verdict import Verdict
from megaflow.publishing.batches import Sent
from megaflow.publishing.destination import Destination, Endpoints, read_dead_letter_queue
from megaflow.publishing.outgoing import PublishOptions
from megaflow.publishing.publisher import BATCHES_IN_FLIGHT
from megaflow.runtime.running import Running, serving_health
from megaflow.settings import ConsumerSettings, OnInvalid, RecordErrors, RetryOn, Unmatched, check_whole
from megaflow.stores import Store
from megaflow.telemetry.metrics import Counters
from megaflow.telemetry.tracing import Telemetry
from megaflow.transport.protocols import SnsClient, SqsClient
from megaflow.transport.session import AwsOptions

if TYPE_CHECKING:  # what a method alone needs is imported there: a function of Lambda's starts the sooner
    from megaflow.awslambda import LambdaHandler
    from megaflow.consumer.core.health import Health
    from megaflow.dispatch.check import Finding
    from megaflow.dispatch.explain import Explanation
    from megaflow.dispatch.sns_policy import SnsFilterPolicy

Layer = TypeVar("Layer", bound=Middleware)
Surrounding = TypeVar("Surrounding", bound=Around)


class App(Router):
    """Handlers, a queue to consume, and a queue or topic to publish to.

    Nothing is asked of AWS, nor read from the environment, before it is needed: a module with handlers imports
    without either. Addresses name the region; credentials are left to boto3. Times are in seconds.

    *concurrency* handlers run at once. *unmatched* says what becomes of a message that no handler matches:
    ``"delete"``, ``"keep"`` or ``"dead_letter"``; *on_invalid* says so of one that is not what the annotations of its
    handler say. *backoff* is a function ``(receive_count) -> seconds``, *retry_on* the exceptions after which a message
    comes again; after any other one it is dead-lettered, and ``()`` says that this is meant. Without
    *dead_letter_queue_url* the queue's own redrive policy names it. That queue and *progress* get the texts of errors,
    or with *record_errors* ``"type"`` their types alone. *max_message_size*, in bytes, is what the topic allows.
    Raises `ConfigurationError` for a value out of range.

    A message in hand stays hidden from others, *visibility_timeout* being extended, for *max_processing_time* at most.
    Up to *prefetch* messages are received before there is a handler free for them, where handlers are quick; by default
    as many as *concurrency*. A message that is kept at its *max_receives*-th delivery is dead-lettered, for queues that
    have no redrive policy. *progress* is a store that remembers which handlers have finished a message, so that it
    comes again to the others only; *idempotency* remembers idempotency keys, by default in the same store.

    The calls of SQS that are made over and over go past boto3, unless *wire* is False, or the client was told to do
    what only boto3 does; boto3 makes the others.

    Where OpenTelemetry's SDK is set up, messages are traced; *telemetry* can be False, or a `Telemetry` that says how.
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
        retry_on: RetryOn | None = None,
        backoff: Backoff | None = None,
        max_receives: int | None = None,
        unmatched: Unmatched = "delete",
        on_invalid: OnInvalid = "dead_letter",
        dead_letter_queue_url: str | None = None,
        record_errors: RecordErrors = "text",
        progress: Store | None = None,
        idempotency: Store | None = None,
        max_message_size: int = limits.SNS_MESSAGE_SIZE,
        wire: bool = True,
        telemetry: bool | Telemetry = True,
        **aws: Unpack[AwsOptions],
    ) -> None:
        check_options(App, aws, AwsOptions)
        super().__init__()
        connection = Endpoints(queue_url, topic_arn, client, sns_client, aws)
        self._destination = Destination(connection, wire=wire, max_message_size=max_message_size, telemetry=telemetry)
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
            backoff=exponential_backoff() if backoff is None else backoff,
        )
        self._running = Running()
        self._assembly = Assembly(
            self,
            retry_on=retry_on,
            unmatched=unmatched,
            on_invalid=on_invalid,
            stores=Stores(progress, idempotency),
            visibility_timeout=visibility_timeout,
            with_error_texts=self._settings.records_error_texts,
            find_queue=lambda: self.queue_url or "",
            is_running=lambda: self._running.is_under_way,
            propagation=self._destination.propagation,
            tracing=self._destination.tracing,
        )
        self.metrics = Counters()
        """How often what happened since the app was made, by name: ``app.metrics.snapshot()["deleted"]``."""

    @override
    def register(self, handler: Handler) -> None:
        with self._assembly.adding(handler):
            super().register(handler)

    @property
    def queue_url(self) -> str | None:
        """The queue's URL or ARN, as it was given or the environment has it."""
        return self._destination.queue_url

    @property
    def topic_arn(self) -> str | None:
        """The topic's ARN, as it was given or the environment has it."""
        return self._destination.topic_arn

    @property
    def destination(self) -> Destination:
        """The publishers for queue and topic, as the app is connected: for whoever makes calls of their own."""
        return self._destination

    @property
    def settings(self) -> ConsumerSettings:
        """How the queue is consumed."""
        return self._settings

    @property
    def processor(self) -> Processor:
        """What takes messages through the handlers as they are now: for whoever has messages from elsewhere."""
        return self._assembly.processor()

    @property
    def stores(self) -> Stores:
        """Where progress and idempotency keys are remembered."""
        return self._assembly.stores

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
    def replacing(self, factories: Factories, *, stores: Stores | None = None) -> Iterator[Self]:
        """Let other factories make what `provide` says, by type, and other *stores* remember, within a ``with``.

        For tests: what was made already is not used there, and what is made there is closed at its end. Raises
        `RegistrationError` for a type that is not provided, and `UsageError` while the app is running.
        """
        self._running.refuse_change()
        with self._assembly.replacing(factories, stores):
            yield self

    def use(self, middleware: Layer) -> Layer:
        """Wrap every handler's call: ``middleware(call_next) -> call``; the first one added is the outermost.

        ``call(handler, message)`` returns what ``call_next(handler, message)`` does, or raises. It is asked once for
        each handler; for an async one ``call_next`` is a coroutine function, as ``call`` must be to wait for it.
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
        """Tell ``watcher(verdict)`` what becomes of each message, from any thread; what it raises is only logged."""
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

        It is what a handler would get: a dict (always data), a `Payload`, str, bytes, or a `Message`. A handler whose
        pattern has a function that raised is left out.
        """
        return self._assembly.processor().table.handlers_for(payload)

    def explain(self, payload: object) -> Explanation:
        """Say for every handler whether it matches *payload*, and otherwise what failed; ``print`` shows it."""
        from megaflow.dispatch.explain import explain

        return explain(self._assembly.processor().table, message_with(payload))

    def check(self) -> tuple[Finding, ...]:
        r"""Return what is odd about the handlers: ``print(*app.check(), sep="\n")`` shows it.

        These never match, match everything, say the same as another one, get only what also reaches another one, cannot
        be indexed, or lack a ``retry_on=``; in order of registration. What is not certain is not said, and of many
        handlers alike each is compared with some only. Functions of your own are not asked.
        """
        from megaflow.dispatch.check import check

        processor = self._assembly.processor()
        return check(processor.table, processor.undecided)

    def sns_filter_policy(self, *, json_only: bool = False) -> SnsFilterPolicy:
        """Return the filter policy for a subscription of the queue to a topic, for bodies.

        It lets through every JSON object that some handler would match, and as little else as SNS can say. A policy
        for bodies cuts off text, bytes, and objects that travel as BSON: *json_only* says that no publisher sends
        those. Where all handlers ask by policies for attributes it is one for those, as its ``scope`` says. Where
        there is no policy by which no handler loses messages, it has the reason.

        https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
        """
        from megaflow.dispatch.sns_policy import derive_sns_filter_policy

        return derive_sns_filter_policy(self.handlers, json_only=json_only)

    def publish(self, payload: Any, **options: Unpack[PublishOptions]) -> str:
        """Send *payload* to the topic where one is set, else to the queue, and return its message id.

        See `Publisher.publish`. Raises `ConfigurationError` where neither is set.
        """
        return self._destination.publisher.publish(payload, **options)

    def publish_batch(self, items: Iterable[object], **options: Unpack[PublishOptions]) -> list[str]:
        """Send *items* to the topic where one is set, else to the queue; see `Publisher.publish_batch`."""
        return self._destination.publisher.publish_batch(items, **options)

    def publish_stream(
        self,
        items: Iterable[object],
        *,
        raw: bool = False,
        in_flight: int = BATCHES_IN_FLIGHT,
        **options: Unpack[PublishOptions],
    ) -> Iterator[Sent]:
        """Send *items* as they come to the topic where one is set, else to the queue; `Publisher` says more."""
        return self._destination.publisher.publish_stream(items, raw=raw, in_flight=in_flight, **options)

    def publish_raw_message(self, body: str, **options: Unpack[PublishOptions]) -> str:
        """Send the text *body* as it is to the topic where one is set, else to the queue."""
        return self._destination.publisher.publish_raw_message(body, **options)

    def process(self, body: object) -> Verdict:
        """Run the handlers for one body, without AWS, and return the verdict.

        Text is a body as SQS would deliver it, JSON or whatever else; other payloads are taken as they are. Raises
        `UsageError` inside a running event loop: there, await `aprocess`.
        """
        return self._assembly.process(body)

    async def aprocess(self, body: object) -> Verdict:
        """Do what `process` does, inside a running event loop: async handlers run in it, the others in threads."""
        return await self._assembly.aprocess(body)

    def close(self) -> None:
        """Close what `provide` has made for the process, and the stores, as `run` does; the next use makes new ones."""
        self._assembly.close()

    async def aclose(self) -> None:
        """Do what `close` does, and close what belongs to the event loop that runs: after `aprocess`."""
        await self._assembly.aclose()

    def run(self, *, processes: int = 1, health_port: int | None = None, health_host: str | None = None) -> None:
        """Consume the queue until `stop`, SIGTERM or SIGINT; handlers then have ``shutdown_timeout`` to finish.

        A second signal does not wait for them. With more *processes* than one, children do the work, each with clients
        of its own, and one that dies is replaced. On *health_port*, ``/live`` and ``/ready`` answer 200 or 503, on
        every IPv4 address of this machine, or at *health_host* alone: a name or an address, v4 or v6.

        Raises `ConfigurationError` where no queue is set, where it does not exist or refuses access, where a store
        cannot be opened or written, or where there is no region; `RegistrationError` where there is no handler; and
        whatever a handler raised that is no `Exception`.
        """
        check_whole("processes", processes, 1, 1_000)
        if processes > 1:
            from megaflow.runtime.supervisor import refuse_nested_start

            refuse_nested_start()
        self._check_for_running()
        with serving_health(health_host, health_port, self.health):
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

        return LambdaHandler(
            self._assembly.processor,
            self._settings,
            self._destination,
            self.metrics,
            tracing=self._destination.tracing,
        )

    def health(self) -> Health:
        """Return how the consumer is, and what is wrong. May be called from any thread, `run` under way or not."""
        return self._running.health()

    def stop(self, *, now: bool = False) -> None:
        """End `run` as SIGTERM does, or with *now* as a second one: without waiting for handlers.

        May be called from any thread; called while `run` is not under way, it ends the next one.
        """
        self._running.stop(now=now)

    def _check_for_running(self) -> None:
        self._destination.check_for_running(self._settings.dead_letter_queue_url)
        self._assembly.processor_to_run()

    def _consume(self) -> None:
        from megaflow.consumer.threads.runner import Runner

        queue = self._destination.open_queue(self._settings.dead_letter_queue_url)
        at_end = self._assembly.close_dependencies
        runner = Runner(queue, self._assembly.processor, self._settings, self.metrics, at_end=at_end)
        # Stores not earlier: what is given back at the end may still ask them.
        self._running.run(runner, at_end=self.stores.close)

    def _supervise(self, processes: int) -> None:
        from megaflow.runtime.supervisor import Supervisor, find_target

        self._running.run(Supervisor(find_target(self), processes, shutdown_timeout=self._settings.shutdown_timeout))
