"""SQS and SNS on this machine, for development, tests and simulation.

`Account` holds the queues and topics. `SqsClient` and `SnsClient` have the methods of boto3's clients. `declare` makes
what a file or a dict declares. What the account cannot do it refuses, and never ignores.
"""

from megaflow.local.account import Account
from megaflow.local.aids import PeekedMessage
from megaflow.local.aws_warnings import AwsWarning, Warnings
from megaflow.local.client import SnsClient, SqsClient
from megaflow.local.clock import Clock
from megaflow.local.declared.config import declare
from megaflow.local.fault import Fault, FaultKind
from megaflow.local.faults import Faults

__all__ = [
    "Account",
    "AwsWarning",
    "Clock",
    "Fault",
    "FaultKind",
    "Faults",
    "PeekedMessage",
    "SnsClient",
    "SqsClient",
    "Warnings",
    "declare",
]
