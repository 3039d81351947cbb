"""Payloads that are too large for a message, and so lie outside of it: in S3, or in a directory.

They are written and found as the SQS and SNS extended clients of AWS do it, so that either side may be one of those.
"""

from megaflow.messages.payloads import Payloads
from megaflow.messages.pointers import Pointer
from megaflow.payloads.directory import DirectoryPayloads
from megaflow.payloads.s3 import S3Payloads

__all__ = ["DirectoryPayloads", "Payloads", "Pointer", "S3Payloads"]
