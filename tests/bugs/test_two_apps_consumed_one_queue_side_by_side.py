"""``run(a, b)`` refused two apps of one queue; ``a.running()`` beside ``b.running()`` let each delete the other's."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from megaflow import App, ConfigurationError, UsageError
from megaflow.local import Account, SqsClient
from tests.consuming import Queues
from tests.waiting import PATIENCE


def apps(count: int = 2) -> list[App]:
    queues = Queues()
    made = [queues.app(retry_on=()) for _ in range(count)]
    for app in made:
        app.on_text()(print)
    return made


SAID = r"^another app of this process consumes .*/q already, and each would delete what only the other one handles"


def test_running_refuses_the_queue_of_another_app() -> None:
    one, other = apps()

    async def main() -> None:
        async with one.running():
            with pytest.raises(ConfigurationError, match=SAID):
                async with other.running():
                    pass
            assert other.health().problems == ("it is not running",)
        # Afterwards it is free.
        async with other.running(), asyncio.timeout(PATIENCE):
            pass

    asyncio.run(main())


def test_arun_beside_arun_is_refused() -> None:
    one, other = apps()

    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            tasks = [asyncio.create_task(app.arun()) for app in (one, other)]
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            with pytest.raises(ConfigurationError, match=SAID):
                next(iter(ended)).result()
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError, ConfigurationError):
                    await task

    asyncio.run(main())


def test_one_app_twice_is_refused_as_before() -> None:
    (one,) = apps(1)

    async def main() -> None:
        async with one.running():
            with pytest.raises(UsageError, match="running already"):
                await one.arun()

    asyncio.run(main())


def test_queues_of_one_name_on_two_servers_are_two() -> None:
    made: list[Any] = []
    for _ in range(2):
        sqs = SqsClient(Account())
        app = App(sqs.create_queue(QueueName="q")["QueueUrl"], client=sqs, retry_on=())
        app.on_text()(print)
        made.append(app)

    async def main() -> None:
        async with made[0].running(), made[1].running():
            pass

    asyncio.run(main())
