"""SQS and SNS on this machine, for development, tests and simulation.

:class:`Account` holds the queues and topics; :class:`SqsClient` and :class:`SnsClient` speak to it as boto3 would. The
account cannot do everything AWS does; what it cannot do it refuses, and never ignores.
"""

from megaflow.local.account import Account
from megaflow.local.client import SnsClient, SqsClient
from megaflow.local.faults import Fault, FaultKind, Faults

__all__ = ["Account", "Fault", "FaultKind", "Faults", "SnsClient", "SqsClient"]
