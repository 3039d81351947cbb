"""megaflow: consume and publish messages over Amazon SQS and SNS with plain functions and patterns."""

from megaflow.app import App
from megaflow.codec import Kind
from megaflow.dispatch.check import Finding, Oddity
from megaflow.dispatch.explain import Explanation
from megaflow.dispatch.sns_policy import SnsFilterPolicy
from megaflow.errors import (
    ConfigurationError,
    EncodeError,
    FailedEntry,
    MegaflowError,
    PatternError,
    ProtocolError,
    PublishError,
    RegistrationError,
    UsageError,
)
from megaflow.event import Event, ObjectData, Payload, PayloadBuilder
from megaflow.message import Attribute, Lease, Message, SnsInfo
from megaflow.outgoing import Outgoing
from megaflow.process import Outcome, Verdict
from megaflow.router import Handler, Router
from megaflow.settings import AwsOptions, exponential_backoff
from megaflow.sns import SnsPublisher
from megaflow.sqs import SqsPublisher
from megaflow.status import ProcessStatus, Reject, RetryLater

__version__ = "0.1.0"

__all__ = [
    "App",
    "Attribute",
    "AwsOptions",
    "ConfigurationError",
    "EncodeError",
    "Event",
    "Explanation",
    "FailedEntry",
    "Finding",
    "Handler",
    "Kind",
    "Lease",
    "MegaflowError",
    "Message",
    "ObjectData",
    "Oddity",
    "Outcome",
    "Outgoing",
    "PatternError",
    "Payload",
    "PayloadBuilder",
    "ProcessStatus",
    "ProtocolError",
    "PublishError",
    "RegistrationError",
    "Reject",
    "RetryLater",
    "Router",
    "SnsFilterPolicy",
    "SnsInfo",
    "SnsPublisher",
    "SqsPublisher",
    "UsageError",
    "Verdict",
    "exponential_backoff",
]
