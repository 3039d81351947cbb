"""SQL databases: progress and keys in them, and an inbox in your own transactions. Needs the extra ``sql``."""

from megaflow.distribution import describe_missing_extra

try:
    import sqlalchemy  # noqa: F401
except ImportError as error:
    raise ImportError(describe_missing_extra("megaflow.sql", "sql", error)) from error

from megaflow.sql.outbox import Outbox
from megaflow.sql.tables import metadata

__all__ = ["Outbox", "metadata"]
