"""Stores of progress and idempotency keys: in this process, in an SQLite file, in a DynamoDB table.

Times are in seconds; the clocks are wall clocks, since what is remembered is read by other processes too.
"""

from megaflow.stores.dynamodb import DynamoDbStore
from megaflow.stores.memory import MemoryStore
from megaflow.stores.sqlite import SqliteStore
from megaflow.stores.store import Claim, Ended, Store

__all__ = ["Claim", "DynamoDbStore", "Ended", "MemoryStore", "SqliteStore", "Store"]
