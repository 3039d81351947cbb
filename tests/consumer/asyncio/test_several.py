"""`megaflow.arun`: several apps in one event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import urllib.request

import pytest

import megaflow
from megaflow import App, ConfigurationError, UsageError
from tests.consumer.asyncio.test_arun import within
from tests.consuming import Queues
from tests.waiting import PATIENCE


@pytest.fixture
def places() -> list[Queues]:
    return [Queues(), Queues()]


@pytest.fixture
def apps(places: list[Queues]) -> list[App]:
    return [each.app(shutdown_timeout=PATIENCE) for each in places]


def test_they_share_the_loop_until_all_are_stopped(places: list[Queues], apps: list[App]) -> None:
    async def main() -> None:
        both, ended = asyncio.Barrier(2), []
        for app in apps:

            @app.on_text()
            async def handle(text: str, app: App = app) -> None:
                await both.wait()
                ended.append(text)
                app.stop()

            app.publish("ping")
        await megaflow.arun(*apps)

        assert ended == ["ping", "ping"]

    within(main)

    assert [each.depth() for each in places] == [(0, 0), (0, 0)]


@pytest.mark.parametrize("failure", ["no queue", "an exit"])
def test_where_one_fails_the_others_finish_and_its_error_is_raised(
    places: list[Queues], apps: list[App], failure: str
) -> None:
    async def main() -> None:
        good, bad = apps[0], apps[1] if failure == "an exit" else App(places[0].url + "x", client=places[0].sqs)
        began = asyncio.Event()

        @good.on_text()
        async def handle(text: str) -> None:
            began.set()
            while not good.health().stopping:
                await asyncio.sleep(0.01)

        @bad.on_text()
        async def leave(text: str) -> None:
            await began.wait()
            raise SystemExit(3)

        good.publish("ping")
        if failure == "an exit":
            bad.publish("ping")
        await megaflow.arun(good, bad)

    with pytest.raises(SystemExit if failure == "an exit" else ConfigurationError):
        asyncio.run(main())

    if failure == "an exit":
        assert places[0].depth() == (0, 0), "its handler has finished"


@pytest.mark.parametrize("times", [1, 2])
def test_a_cancellation_is_one_of_each_app(places: list[Queues], apps: list[App], times: int) -> None:
    async def main() -> None:
        go_on, began = asyncio.Event(), asyncio.Barrier(3)
        for app in apps:

            @app.on_text()
            async def handle(text: str) -> None:
                await began.wait()
                await go_on.wait()

            app.publish("ping")
        task = asyncio.create_task(megaflow.arun(*apps))
        await began.wait()
        task.cancel()
        while not all(app.health().stopping for app in apps):
            await asyncio.sleep(0.01)
        if times == 2:
            task.cancel()
        else:
            go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    within(main)

    assert [each.depth() for each in places] == [(0, 0) if times == 1 else (1, 0)] * 2


def test_a_signal_stops_them_all(places: list[Queues], apps: list[App]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    for app in apps:
        app.on_text()(lambda text: os.kill(os.getpid(), signal.SIGTERM))
    apps[0].publish("ping")

    within(lambda: megaflow.arun(*apps, signals=True))

    assert signal.getsignal(signal.SIGTERM) is before
    assert places[0].depth() == (0, 0)


def test_one_port_answers_for_all(apps: list[App]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def ask() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=PATIENCE) as answer:
            return int(answer.status)

    async def main() -> None:
        answers = []
        for app in apps:
            app.on_text()(lambda text: None)

        @apps[0].on_text("ask")
        async def handle(text: str) -> None:
            answers.append(await asyncio.to_thread(ask))
            for app in apps:
                app.stop()

        apps[0].publish("ask")
        await megaflow.arun(*apps, health_port=port, health_host="127.0.0.1")

        assert answers == [200]

    within(main)


@pytest.mark.parametrize("count", [0, 2])
def test_it_takes_apps_each_once(apps: list[App], count: int) -> None:
    with pytest.raises(UsageError, match=r"arun\(\) takes one or more apps, each once"):
        within(lambda: megaflow.arun(*[apps[0]] * count))


def test_run_holds_up_no_event_loop(apps: list[App]) -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match=r"run\(\) would hold up the running event loop: await arun\(\)"):
            megaflow.run(*apps)

    within(main)
