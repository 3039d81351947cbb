"""megaflow: consume and publish messages over Amazon SQS and SNS with plain functions and patterns."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from megaflow.app import App
from megaflow.backoff import exponential_backoff
from megaflow.errors import (
    ConfigurationError,
    DependencyError,
    EarlierFailureError,
    EncodeError,
    FailedEntry,
    HandlerTimeoutError,
    HandlingError,
    InvalidPayloadError,
    KeyBusyError,
    LeaseLostError,
    MegaflowError,
    PatternError,
    PayloadError,
    ProcessError,
    ProtocolError,
    PublishError,
    RegistrationError,
    StoreError,
    UsageError,
)
from megaflow.event import Event, ObjectData, Payload, PayloadBuilder
from megaflow.handlers.handler import Handler
from megaflow.handlers.options import HandlerOptions
from megaflow.handlers.router import Router
from megaflow.handlers.status import PartialFailure, ProcessStatus, Reject, RetryLater
from megaflow.match.conditions import Condition
from megaflow.messages.attributes import Attribute
from megaflow.messages.codec import Kind
from megaflow.messages.envelope import SnsInfo
from megaflow.messages.message import Lease, Message
from megaflow.processing.verdict import Fate, Outcome, Verdict
from megaflow.publishing.batches import Sent
from megaflow.publishing.outgoing import Outgoing, PublishOptions
from megaflow.publishing.scheduling import Scheduled
from megaflow.publishing.sns import SnsPublisher
from megaflow.publishing.sqs import SqsPublisher
from megaflow.settings import CircuitBreaker
from megaflow.stores.store import Claim, Ended, Store
from megaflow.telemetry.current import context, current_message
from megaflow.telemetry.log_keys import LogFilter, add_message_keys
from megaflow.telemetry.metrics import Measurements, Metrics
from megaflow.telemetry.tracing import Telemetry
from megaflow.transport.session import AwsOptions

if TYPE_CHECKING:
    from megaflow.consumer.core.health import Health
    from megaflow.dispatch.check import Finding, Oddity
    from megaflow.dispatch.explain import Explanation, Failure, HandlerExplanation
    from megaflow.dispatch.sns_policy import SnsFilterPolicy
    from megaflow.runtime.several_apps import run
    from megaflow.runtime.several_beside_loop import arun
    from megaflow.stores import DynamoDbStore, MemoryStore, SqliteStore

__version__ = "0.2.0"

__all__ = [
    "App",
    "Attribute",
    "AwsOptions",
    "CircuitBreaker",
    "Claim",
    "Condition",
    "ConfigurationError",
    "DependencyError",
    "DynamoDbStore",
    "EarlierFailureError",
    "EncodeError",
    "Ended",
    "Event",
    "Explanation",
    "FailedEntry",
    "Failure",
    "Fate",
    "Finding",
    "Handler",
    "HandlerExplanation",
    "HandlerOptions",
    "HandlerTimeoutError",
    "HandlingError",
    "Health",
    "InvalidPayloadError",
    "KeyBusyError",
    "Kind",
    "Lease",
    "LeaseLostError",
    "LogFilter",
    "Measurements",
    "MegaflowError",
    "MemoryStore",
    "Message",
    "Metrics",
    "ObjectData",
    "Oddity",
    "Outcome",
    "Outgoing",
    "PartialFailure",
    "PatternError",
    "Payload",
    "PayloadBuilder",
    "PayloadError",
    "ProcessError",
    "ProcessStatus",
    "ProtocolError",
    "PublishError",
    "PublishOptions",
    "RegistrationError",
    "Reject",
    "RetryLater",
    "Router",
    "Scheduled",
    "Sent",
    "SnsFilterPolicy",
    "SnsInfo",
    "SnsPublisher",
    "SqliteStore",
    "SqsPublisher",
    "Store",
    "StoreError",
    "Telemetry",
    "UsageError",
    "Verdict",
    "add_message_keys",
    "arun",
    "context",
    "current_message",
    "exponential_backoff",
    "run",
]

_RARELY_NEEDED: Final[Mapping[str, str]] = {
    "DynamoDbStore": "megaflow.stores.dynamodb",
    "Explanation": "megaflow.dispatch.explain",
    "Failure": "megaflow.dispatch.explain",
    "Finding": "megaflow.dispatch.check",
    "HandlerExplanation": "megaflow.dispatch.explain",
    "Health": "megaflow.consumer.core.health",
    "MemoryStore": "megaflow.stores.memory",
    "Oddity": "megaflow.dispatch.check",
    "SnsFilterPolicy": "megaflow.dispatch.sns_policy",
    "SqliteStore": "megaflow.stores.sqlite",
    "arun": "megaflow.runtime.several_beside_loop",
    "run": "megaflow.runtime.several_apps",
}


def __getattr__(name: str) -> Any:
    """Import what few programs need once it is asked for: a function of Lambda's starts the sooner."""
    if name not in _RARELY_NEEDED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_RARELY_NEEDED[name]), name)
