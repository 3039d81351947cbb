"""The journal: what of an account has changed since it was last written down, and where that goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from megaflow.local.account import Account


@dataclass(slots=True)
class Touched:
    """What came, changed or went since it was last written down."""

    messages: set[str] = field(default_factory=set)
    """The names of queues of which messages did."""

    queues: set[tuple[int, str]] = field(default_factory=set)
    """The numbers and names of queues that did."""

    topics: set[str] = field(default_factory=set)
    """The ARNs of topics that came or changed."""

    topics_gone: set[str] = field(default_factory=set)
    """The ARNs of topics that were deleted; one of the same name may have come since."""

    posts: set[int] = field(default_factory=set)
    """The numbers of posts that came, changed or went."""

    account: bool = False
    """The names of deleted queues, or the message move tasks."""


class Journal(Protocol):
    """Where an account is written down."""

    def write(self, account: Account, touched: Touched) -> None:
        """Write down what was *touched*, all of it or nothing; return once it would survive this process."""
