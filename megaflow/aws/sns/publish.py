"""`SnsPublisher`, by the import path of the sqs-mega README."""

from megaflow.publishing.sns import SnsPublisher

__all__ = ["SnsPublisher"]
