"""SQLAlchemy's async kinds; where greenlet is missing, which they need, classes of which nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection as AsyncConnection
    from sqlalchemy.ext.asyncio import AsyncEngine as AsyncEngine
    from sqlalchemy.ext.asyncio import AsyncSession as AsyncSession
    from sqlalchemy.ext.asyncio import async_scoped_session as async_scoped_session
    from sqlalchemy.ext.asyncio import async_sessionmaker as async_sessionmaker
else:
    try:
        from sqlalchemy.ext.asyncio import (
            AsyncConnection,
            AsyncEngine,
            AsyncSession,
            async_scoped_session,
            async_sessionmaker,
        )
    except ImportError:

        class AsyncEngine:
            """Nothing is one."""

        class AsyncConnection(AsyncEngine):
            """Nothing is one."""

        class AsyncSession(AsyncEngine):
            """Nothing is one."""

        class async_sessionmaker(AsyncEngine):  # noqa: N801
            """Nothing is one."""

        class async_scoped_session(AsyncEngine):  # noqa: N801
            """Nothing is one."""
