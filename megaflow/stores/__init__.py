"""Stores of progress and idempotency keys: in this process, in an SQLite file, in a DynamoDB table.

Times are in seconds; the clocks are wall clocks, since what is remembered is read by other processes too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from megaflow.stores.store import Claim, Ended, Store

if TYPE_CHECKING:
    from megaflow.stores.dynamodb import DynamoDbStore
    from megaflow.stores.memory import MemoryStore
    from megaflow.stores.sqlite import SqliteStore

__all__ = ["Claim", "DynamoDbStore", "Ended", "MemoryStore", "SqliteStore", "Store"]

_ROOMS = {"DynamoDbStore": "dynamodb", "MemoryStore": "memory", "SqliteStore": "sqlite"}


def __getattr__(name: str) -> Any:
    """Import the store that is asked for: few programs need one."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
