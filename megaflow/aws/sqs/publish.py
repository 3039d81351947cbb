"""`SqsPublisher`, by the import path of the sqs-mega README."""

from megaflow.publishing.sqs import SqsPublisher

__all__ = ["SqsPublisher"]
