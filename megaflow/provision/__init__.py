"""Provisioning: what apps need of AWS, declared by them, derived from their handlers, compared with it, and made."""

from megaflow.provision.declarations import DeadLetterQueue, Queue, Topic

__all__ = ["DeadLetterQueue", "Queue", "Topic"]
