"""SQL databases: progress and keys, and an inbox and an outbox in your own transactions. Needs the extra ``sql``."""

from megaflow.distribution import describe_missing_extra

try:
    import sqlalchemy  # noqa: F401
except ImportError as error:
    raise ImportError(describe_missing_extra("megaflow.sql", "sql", error)) from error

from megaflow.sql.inbox import Inbox
from megaflow.sql.outbox import Outbox
from megaflow.sql.store import SqlStore
from megaflow.sql.tables import metadata

__all__ = ["Inbox", "Outbox", "SqlStore", "metadata"]
