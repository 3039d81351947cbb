"""Topics, by the import paths of the sqs-mega README, which gives two for the publisher."""

from megaflow.aws.sns.publish import SnsPublisher

__all__ = ["SnsPublisher"]
