"""megaflow: consume and publish messages over Amazon SQS and SNS with plain functions and patterns."""

__version__ = "0.1.0"
