"""Streams: what `apublish_stream` does, chunk by chunk, by threads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextvars import copy_context
from functools import partial
from typing import TypeAlias

from megaflow import limits
from megaflow.publishing.batches import Sent
from megaflow.publishing.threads import Threads

Items: TypeAlias = Iterable[object] | AsyncIterable[object]
SendChunk: TypeAlias = Callable[[int, Sequence[object]], list[Sent]]
"""Sends items, the first of which has this index, and says what became of each."""


async def send_stream(items: Items, open_: Callable[[], tuple[SendChunk, int]]) -> AsyncIterator[Sent]:
    """Send *items* as they come, and give what became of each, in order.

    *open_* returns what sends them, and how many calls may be under way at once. Where *items* end with an error, it is
    raised once what was taken has been given. What was not begun at the end is not sent.
    """
    loop, context = asyncio.get_running_loop(), copy_context()
    threads = Threads(1)
    under_way: deque[asyncio.Future[list[Sent]]] = deque()
    failure: Exception | None = None
    try:
        send, at_once = await loop.run_in_executor(threads, context.run, open_)
        threads.most = at_once
        chunks, index = _cut(items), 0
        while failure is None:
            try:
                chunk = await anext(chunks, None)
            except Exception as error:  # noqa: BLE001 - whoever gives the items raises whatever they like
                failure = error
                break
            if chunk is None:
                break
            if len(under_way) == at_once:
                for sent in await under_way.popleft():
                    yield sent
            under_way.append(loop.run_in_executor(threads, context.copy().run, partial(send, index, chunk)))
            index += len(chunk)
        while under_way:
            for sent in await under_way.popleft():
                yield sent
    finally:
        for future in under_way:
            future.cancel()
        threads.shutdown()
    if failure is not None:
        raise failure


async def _cut(items: Items) -> AsyncIterator[list[object]]:
    """Cut *items* into chunks of ten; where they end with an error, what came before it is given first."""
    chunk: list[object] = []
    try:
        async for item in _each(items):
            chunk.append(item)
            if len(chunk) == limits.BATCH_ENTRIES:
                yield chunk
                chunk = []
    except Exception:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


async def _each(items: Items) -> AsyncIterator[object]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
