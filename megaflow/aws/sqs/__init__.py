"""Queues, by the import paths of the sqs-mega README."""
