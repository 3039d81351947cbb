"""A queue with what an account knows of it besides its messages and attributes."""

from __future__ import annotations

from dataclasses import dataclass, field

from megaflow.local.queue import LocalQueue


@dataclass(slots=True)
class HostedQueue:
    """A queue by its name, with its tags and its times."""

    number: int
    name: str
    queue: LocalQueue
    created_at: float
    modified_at: float
    tags: dict[str, str] = field(default_factory=dict)
    purged_at: float | None = None
