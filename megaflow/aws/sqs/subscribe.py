"""The subscriber classes of the sqs-mega README: adapters that register an ordinary handler on an `App`."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final, Unpack

from megaflow.app import App
from megaflow.backoff import Backoff
from megaflow.callables import name_of, read_signature
from megaflow.errors import PatternError, RegistrationError
from megaflow.handlers.event_rules import EVENT_ALIASES, EVENT_RULES, event_pattern
from megaflow.handlers.handler import make_handler
from megaflow.handlers.options import Options
from megaflow.handlers.router import data_pattern
from megaflow.handlers.status import ProcessStatus
from megaflow.keywords import check_options
from megaflow.logs import get_logger
from megaflow.match.conditions import EVERYTHING, Condition
from megaflow.messages.codec import Kind
from megaflow.settings import RecordErrors, RetryOn, Unmatched, read_retry_on
from megaflow.transport.protocols import SqsClient
from megaflow.transport.session import AwsOptions, giving_way

log = get_logger(__name__)

__all__ = ["DataSubscriber", "EventSubscriber", "MessageSubscriber", "ProcessStatus", "SqsListener"]


class MessageSubscriber:
    """The base of subscriber classes. A subclass of this one gets every `megaflow.Message`, of any kind.

    `SqsListener.register_subscriber` takes the class, and makes one object of it, without arguments.
    """

    retry_on: ClassVar[RetryOn | None] = None
    """Exceptions after which a message comes again, besides those of the listener. ``()`` is none, not even those."""

    def process(self, payload: Any) -> ProcessStatus | Awaitable[ProcessStatus | None] | None:
        """Process one message. Returning nothing is `ProcessStatus.DONE`. The method may be async."""
        raise NotImplementedError


class DataSubscriber(MessageSubscriber):
    """Takes data objects that match its class attribute ``pattern``; all of them where it has none."""

    pattern: ClassVar[object]
    """The pattern, a dict."""


class EventSubscriber(MessageSubscriber):
    """Takes MEGA events that match its class attributes, each of which is a pattern. Without any it takes all events.

    The attributes are ``event_name``, ``event_domain``, ``event_version``, ``event_timestamp``, ``event_subject``,
    ``event_publisher``, ``event_attributes`` (each also without ``event_``), ``object_type``, ``object_version``,
    ``object_id``, ``object_current`` and ``object_previous`` (also ``current_object``, ``previous_object``). An
    alias is ignored where the class declares the attribute, too.
    """


_RULES: Final[Mapping[str, str]] = {"pattern": "DataSubscriber"} | dict.fromkeys(EVENT_RULES, "EventSubscriber")
"""What no class has by chance: rules, and the kind of subscriber that has them."""


class SqsListener:
    """Listens to a queue and gives each message to every registered subscriber that matches it.

    The parameters are those of `megaflow.App`, on which it is built. As the sqs-mega README has it, one message is
    received and handled at a time, and the region in *queue_url* wins over *region_name*, with a warning.
    """

    def __init__(
        self,
        *,
        queue_url: str | None = None,
        max_number_of_messages: int = 1,
        wait_time_seconds: int = 20,
        visibility_timeout: int = 30,
        concurrency: int = 1,
        shutdown_timeout: float = 25.0,
        retry_on: RetryOn | None = None,
        backoff: Backoff | None = None,
        unmatched: Unmatched = "delete",
        dead_letter_queue_url: str | None = None,
        record_errors: RecordErrors = "text",
        client: SqsClient | None = None,
        wire: bool = True,
        **aws: Unpack[AwsOptions],
    ) -> None:
        check_options(SqsListener, aws, AwsOptions)
        self.app = App(
            queue_url,
            client=client,
            concurrency=concurrency,
            max_number_of_messages=max_number_of_messages,
            wait_time_seconds=wait_time_seconds,
            visibility_timeout=visibility_timeout,
            prefetch=0,
            shutdown_timeout=shutdown_timeout,
            retry_on=retry_on,
            backoff=backoff,
            unmatched=unmatched,
            dead_letter_queue_url=dead_letter_queue_url,
            record_errors=record_errors,
            wire=wire,
            **giving_way(aws),
        )
        """The `megaflow.App` underneath: ``listener.app.health()``."""

        self._registered: set[type] = set()

    def register_subscriber(self, subscriber: type[MessageSubscriber]) -> None:
        """Register a subscriber class, once. Raises `megaflow.RegistrationError` for what cannot be one."""
        _check_class(subscriber)
        if subscriber in self._registered:
            raise RegistrationError(f"{subscriber.__qualname__} is registered already")
        kind, pattern = _read_rules(subscriber)
        _warn_of_misspelt_rules(subscriber)
        handler = make_handler(
            _make(subscriber).process,
            kind,
            pattern,
            name=name_of(subscriber),
            options=Options(retry_on=read_retry_on(subscriber.retry_on)),
        )
        self.app.register(handler)
        self._registered.add(subscriber)

    def listen(self) -> None:
        """Listen until `stop`, SIGTERM or SIGINT, as `megaflow.App.run` does."""
        self.app.run()

    def stop(self) -> None:
        """End `listen` as SIGTERM does. May be called from any thread."""
        self.app.stop()


def _check_class(subscriber: object) -> None:
    if not isinstance(subscriber, type) or not issubclass(subscriber, MessageSubscriber):
        raise RegistrationError(
            f"{subscriber!r} is no subscriber class: register the class itself, a subclass of EventSubscriber, "
            "DataSubscriber or MessageSubscriber"
        )
    name = subscriber.__qualname__
    process = inspect.getattr_static(subscriber, "process")
    if process is MessageSubscriber.__dict__["process"]:
        raise RegistrationError(f"{name} has no process method: write def process(self, payload)")
    if inspect.isfunction(process) and not _takes_self_and_more(process):
        raise RegistrationError(f"{name}.process takes no self, or nothing else: write def process(self, payload)")


def _takes_self_and_more(function: Callable[..., Any]) -> bool:
    parameters = list(read_signature(function).parameters.values())
    if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
        return False
    if parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return True
    # Without self, def process(payload, message: Message) would get the subscriber for its payload.
    return len(parameters) > 1 and parameters[0].name not in ("payload", "message")


def _read_rules(subscriber: type[MessageSubscriber]) -> tuple[Kind, Condition]:
    if issubclass(subscriber, EventSubscriber):
        rules = {rule: getattr(subscriber, name) for rule in EVENT_RULES for name in _declared(subscriber, rule)}
        return Kind.MEGA, event_pattern(rules)
    if not issubclass(subscriber, DataSubscriber):
        return Kind.ANY, EVERYTHING
    if not hasattr(subscriber, "pattern"):
        return Kind.DATA, EVERYTHING
    if subscriber.pattern is None:
        raise PatternError(f"{subscriber.__qualname__}.pattern is None, and a data object never is; leave it out")
    return Kind.DATA, data_pattern(subscriber.pattern)


def _warn_of_misspelt_rules(subscriber: type[MessageSubscriber]) -> None:
    rules = _rules_of(subscriber)
    for name in sorted(set(dir(subscriber)) - set(dir(MessageSubscriber)) - rules):
        if callable(getattr(subscriber, name)):
            continue
        if meant := difflib.get_close_matches(name, rules, 1, 0.7):
            log.warning("%s.%s is no rule and is not asked: did you mean %s?", subscriber.__qualname__, name, meant[0])
        elif name in _RULES:
            text = "%s.%s is not asked, since the class is no %s: derive it from that one"
            log.warning(text, subscriber.__qualname__, name, _RULES[name])


def _rules_of(subscriber: type[MessageSubscriber]) -> set[str]:
    if issubclass(subscriber, EventSubscriber):
        return {*EVENT_RULES, *EVENT_ALIASES.values()}
    return {"pattern"} if issubclass(subscriber, DataSubscriber) else set()


def _declared(subscriber: type, rule: str) -> tuple[str, ...]:
    """Return the name under which the class declares *rule*: nearest in its bases, the alias second."""
    for base in subscriber.__mro__:
        for name in (rule, EVENT_ALIASES.get(rule, rule)):
            if name in vars(base):
                return (name,)
    return ()


def _make(subscriber: type[MessageSubscriber]) -> MessageSubscriber:
    if inspect.isabstract(subscriber):
        raise RegistrationError(f"{subscriber.__qualname__} is abstract, so it cannot be made: register a subclass")
    try:
        read_signature(subscriber).bind()
    except TypeError as error:
        raise RegistrationError(
            f"{subscriber.__qualname__} cannot be made without arguments, as a subscriber is: {error}"
        ) from error
    return subscriber()
