"""megaflow: consume and publish messages over Amazon SQS and SNS with plain functions and patterns."""

from megaflow.app import App, run
from megaflow.codec import Kind
from megaflow.dispatch.check import Finding, Oddity
from megaflow.dispatch.explain import Explanation
from megaflow.dispatch.sns_policy import SnsFilterPolicy
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
    ProcessError,
    ProtocolError,
    PublishError,
    RegistrationError,
    StoreError,
    UsageError,
)
from megaflow.event import Event, ObjectData, Payload, PayloadBuilder
from megaflow.health import Health
from megaflow.message import Attribute, Lease, Message, SnsInfo
from megaflow.outgoing import Outgoing
from megaflow.router import Handler, Router
from megaflow.sending import Sent
from megaflow.settings import AwsOptions, exponential_backoff
from megaflow.sns import SnsPublisher
from megaflow.sqs import SqsPublisher
from megaflow.status import ProcessStatus, Reject, RetryLater
from megaflow.stores import Claim, DynamoDbStore, Ended, MemoryStore, SqliteStore, Store
from megaflow.verdict import Outcome, Verdict

__version__ = "0.1.0"

__all__ = [
    "App",
    "Attribute",
    "AwsOptions",
    "Claim",
    "ConfigurationError",
    "DependencyError",
    "DynamoDbStore",
    "EarlierFailureError",
    "EncodeError",
    "Ended",
    "Event",
    "Explanation",
    "FailedEntry",
    "Finding",
    "Handler",
    "HandlerTimeoutError",
    "HandlingError",
    "Health",
    "InvalidPayloadError",
    "KeyBusyError",
    "Kind",
    "Lease",
    "LeaseLostError",
    "MegaflowError",
    "MemoryStore",
    "Message",
    "ObjectData",
    "Oddity",
    "Outcome",
    "Outgoing",
    "PatternError",
    "Payload",
    "PayloadBuilder",
    "ProcessError",
    "ProcessStatus",
    "ProtocolError",
    "PublishError",
    "RegistrationError",
    "Reject",
    "RetryLater",
    "Router",
    "Sent",
    "SnsFilterPolicy",
    "SnsInfo",
    "SnsPublisher",
    "SqliteStore",
    "SqsPublisher",
    "Store",
    "StoreError",
    "UsageError",
    "Verdict",
    "exponential_backoff",
    "run",
]
