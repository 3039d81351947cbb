"""Event loops: the one that runs here, and who is cancelled in it, without asyncio where nobody has imported it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def get_running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that runs in this thread, as asyncio does; raise `RuntimeError` where none does."""
    if "asyncio" not in sys.modules:
        raise RuntimeError("no running event loop")
    import asyncio

    return asyncio.get_running_loop()


def is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether *loop* is the one that runs in this thread."""
    try:
        return get_running_loop() is loop
    except RuntimeError:
        return False


def cancellation() -> BaseException:
    """Return the error of what is cancelled."""
    import asyncio

    return asyncio.CancelledError()


def is_cancellation(error: BaseException) -> bool:
    """Tell whether *error* is that something was cancelled."""
    import asyncio

    return isinstance(error, asyncio.CancelledError)


def is_being_cancelled() -> bool:
    """Tell whether somebody has cancelled the task that runs here, and not what it waits for."""
    import asyncio

    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
