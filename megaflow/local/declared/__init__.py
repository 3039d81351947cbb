"""Queues, topics and subscriptions that a file or a dict declares, made where the server starts."""
