"""Streams: what `apublish_stream` does, chunk by chunk, by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from megaflow import limits
from megaflow.loops import get_running_loop
from megaflow.publishing.batches import BatchSender, Entry, Sent, cut_batches
from megaflow.publishing.threads import Threads

if TYPE_CHECKING:
    import asyncio

Items: TypeAlias = Iterable[object] | AsyncIterable[object]
_END: Final = object()


async def send_stream(
    items: Items,
    open_: Callable[[], tuple[BatchSender, int]],
    prepare: Callable[[Sequence[object], int], Sequence[Entry]],
    *,
    max_size: int,
) -> AsyncIterator[Sent]:
    """Send *items* as they come, and give what became of each, in order.

    *open_* returns what sends batches, up to *max_size* bytes, and how many calls may be under way at once. *prepare*
    makes entries of items, the first of which has this index. Where *items* end with an error, it is raised once what
    was taken has been given. What was not begun at the end is not sent.
    """
    loop, context, read = get_running_loop(), copy_context(), _reader(items)
    threads, index, is_over = Threads(1), 0, False
    failure: Exception | None = None
    under_way: deque[asyncio.Future[list[Sent]]] = deque()
    try:
        sender, at_once = await loop.run_in_executor(threads, context.run, open_)
        threads.allow(at_once)
        while under_way or not is_over:
            if is_over or len(under_way) == at_once:
                for sent in await under_way.popleft():
                    yield sent
                continue
            chunk, failure = await _take(read)
            is_over = len(chunk) < limits.BATCH_ENTRIES
            if chunk:
                send = partial(_send_chunk, sender, prepare, chunk, index, max_size)
                under_way.append(loop.run_in_executor(threads, context.copy().run, send))
                index += len(chunk)
    finally:
        for future in under_way:
            future.cancel()
        threads.shutdown()
    if failure is not None:
        raise failure


def _send_chunk(
    sender: BatchSender,
    prepare: Callable[[Sequence[object], int], Sequence[Entry]],
    chunk: Sequence[object],
    index: int,
    max_size: int,
) -> list[Sent]:
    batches = cut_batches(prepare(chunk, index), max_size=max_size)
    return [sent for batch in batches for sent in sender.send(batch)]


async def _take(read: Callable[[], Awaitable[object]]) -> tuple[list[object], Exception | None]:
    """Return the next ten items, and the error with which they ended, if any."""
    chunk: list[object] = []
    try:
        while len(chunk) < limits.BATCH_ENTRIES and (item := await read()) is not _END:
            chunk.append(item)
    except Exception as error:  # noqa: BLE001 - whoever gives the items raises whatever they like
        return chunk, error
    return chunk, None


def _reader(items: Items) -> Callable[[], Awaitable[object]]:
    """Return what gives the next of *items*, and `_END` after the last, however often it is asked."""
    if isinstance(items, AsyncIterable):
        later = aiter(items)
        return lambda: anext(later, _END)
    iterator = iter(items)

    async def read() -> object:
        return next(iterator, _END)

    return read
