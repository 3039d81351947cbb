"""Plain async handlers: what awaits them without steps, and the steps, come to the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from inspect import iscoroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow import App, LeaseLostError, MemoryStore, Message, UsageError, Verdict
from megaflow.app import parts_of
from megaflow.messages.message import Lease, message_with
from megaflow.processing.middleware import Call
from megaflow.processing.steps import Steps, adrive, arun_step
from megaflow.telemetry.current import current
from tests.processing.test_processor import BEHAVIOURS, raising
from tests.waiting import PATIENCE


class Swallowing:
    """A middleware that forgets what it has called."""

    def __call__(self, call_next: Call) -> Call:
        return lambda handler, message: call_next(handler, message).close()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def leased(self) -> Message:
        """Return a message whose lease ends after 30 seconds."""
        return replace(message_with({"id": 1}), lease=Lease("handle", 0.0, 30.0, self))


def make_app(handlers: list[tuple[Callable[[Any], Any], bool]], lost_from: int, seen: list[Any], clock: Clock) -> App:
    app = App(retry_on=ConnectionError)
    for number, (behave, matches) in enumerate(handlers):

        @app.on_data({"id": 1 if matches else 2}, handler_name=f"{number}")
        async def handle(
            data: dict[str, Any],
            number: int = number,
            behave: Callable[[Any], Any] = behave,
        ) -> Any:
            message, name, *_ = current.get()
            seen.append((number, dict(data), message is not None and message.payload is data, name == f"{number}"))
            data["changed"] = number
            if number == lost_from:
                clock.now = 30.0
            returned = behave(data)
            return await returned if iscoroutine(returned) else returned

    return app


async def await_plainly(app: App, message: Message) -> Verdict:
    begun = parts_of(app).processor.begin(message)
    if isinstance(begun, Steps):
        assert isinstance(begun.step, Verdict), "nothing matches"
        return begun.step
    assert not isinstance(begun, Verdict)
    return await begun()


async def go_step_by_step(app: App, message: Message) -> Verdict:
    return await adrive(parts_of(app).processor.steps(message), arun_step)


@given(
    st.lists(st.tuples(st.sampled_from([*BEHAVIOURS, raising(KeyboardInterrupt())]), st.booleans()), max_size=5),
    st.integers(min_value=-1, max_value=5),
)
def test_both_ways_come_to_the_same_verdict(handlers: list[tuple[Callable[[Any], Any], bool]], lost_from: int) -> None:
    found = []
    for way in (await_plainly, go_step_by_step):
        seen: list[Any] = []
        clock = Clock()
        verdict = asyncio.run(way(make_app(handlers, lost_from, seen, clock), clock.leased()))
        outcomes = [(each.handler.name, each.status, each.after, repr(each.error)) for each in verdict.outcomes]
        found.append((verdict.fate, outcomes, seen))

    assert found[0] == found[1]
    assert all(is_own and is_named for _, _, is_own, is_named in found[0][2])


def test_a_lease_that_is_lost_before_refuses_every_handler() -> None:
    seen: list[Any] = []
    clock = Clock()
    app = make_app([(lambda data: None, True)], -1, seen, clock)
    clock.now = 30.0

    verdict = asyncio.run(await_plainly(app, clock.leased()))

    assert verdict.keeps
    assert isinstance(verdict.outcomes[0].error, LeaseLostError)
    assert seen == []


def test_a_cancelled_task_is_not_the_handlers_own_affair() -> None:
    app, began = App(), asyncio.Event()

    @app.on_text()
    async def handle(text: str) -> None:
        began.set()
        await asyncio.sleep(PATIENCE)

    async def main() -> None:
        task = asyncio.create_task(await_plainly(app, message_with("ping")))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_a_middleware_that_returns_nothing_is_said() -> None:
    app = App()
    app.use(Swallowing())

    @app.on_text()
    async def handle(text: str) -> None: ...

    verdict = asyncio.run(await_plainly(app, message_with("ping")))

    assert verdict.keeps
    assert isinstance(verdict.outcomes[0].error, UsageError)


@pytest.mark.parametrize("options", [{"timeout": 5.0}, {"idempotency_key": lambda text: text}], ids=list)
def test_what_is_not_plain_goes_step_by_step(options: dict[str, Any]) -> None:
    app = App(idempotency=MemoryStore())

    @app.on_text(**options)
    async def handle(text: str) -> None: ...

    assert isinstance(parts_of(app).processor.begin(message_with("ping")), Steps)


def test_where_something_is_remembered_or_one_is_not_async_it_goes_step_by_step() -> None:
    remembering, mixed = App(progress=MemoryStore()), App()

    async def handle(text: str) -> None: ...

    remembering.on_text()(handle)
    mixed.on_text()(handle)
    mixed.on_text()(lambda text: None)

    for app in (remembering, mixed):
        assert isinstance(parts_of(app).processor.begin(message_with("ping")), Steps)


def test_without_a_wait_nothing_runs_here() -> None:
    app, ran = App(), list[str]()
    app.on_text()(ran.append)

    begun = parts_of(app).processor.begin(message_with("ping"))

    assert isinstance(begun, Steps)
    assert ran == []
