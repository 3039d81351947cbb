"""Where the system gave no thread for async handlers, each message left an event loop behind, with its sockets."""

import asyncio
import threading

import pytest

from megaflow.consumer.threads.event_loop import EventLoop


async def do_nothing() -> None: ...


def test_an_event_loop_whose_thread_does_not_start_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def make() -> asyncio.AbstractEventLoop:
        made.append(real())
        return made[-1]

    made: list[asyncio.AbstractEventLoop] = []
    real = asyncio.new_event_loop
    monkeypatch.setattr(asyncio, "new_event_loop", make)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    loop = EventLoop(lambda error: None)

    spawned = [loop.spawn(do_nothing()) for _ in range(3)]

    assert spawned == [False] * 3
    assert [each.is_closed() for each in made] == [True] * 3
