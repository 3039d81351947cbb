"""Batch handlers, by all that take messages through handlers: what a batch came to is each message's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from megaflow import (
    App,
    MemoryStore,
    Message,
    Outgoing,
    PartialFailure,
    Payload,
    PayloadBuilder,
    ProcessStatus,
    RetryLater,
)
from tests.verdicts.drivers import DRIVERS, count, dead_letters, driven
from tests.verdicts.test_verdicts import GONE, LATER, make_app


@dataclass
class Returned:
    """A failure that a handler returns where it should raise it."""

    failure: BaseException


class View(BaseModel):
    n: int


@pytest.fixture(params=list(DRIVERS))
def name(request: pytest.FixtureRequest) -> str:
    """Who takes the messages through the handlers."""
    return str(request.param)


def batch_app(said: object = None, *, is_async: bool = False, **options: Any) -> tuple[App, list[list[int]]]:
    """Return an app whose handler gets batches of three or fewer, and says or raises this; and what it got."""
    app, got = make_app(), []

    def answer(views: list[dict[str, int]]) -> Any:
        got.append(sorted(view["n"] for view in views))
        result = said(views) if callable(said) else said
        if isinstance(result, BaseException):
            raise result
        return result.failure if isinstance(result, Returned) else result

    def store(views: list[dict[str, int]]) -> Any:
        return answer(views)

    async def astore(views: list[dict[str, int]]) -> Any:
        return answer(views)

    app.on_data(**{"batch_size": 3, "batch_seconds": 0.5, "handler_name": "store", **options})(
        astore if is_async else store
    )
    return app, got


def publish(app: App, *numbers: int) -> None:
    app.publish_batch([{"n": number} for number in numbers])


def make_event(n: int) -> Payload:
    return PayloadBuilder().with_event(domain="views", name="viewed", version=1, attributes={"n": n}).build()


def fates(driver: Any) -> tuple[int, int, list[int]]:
    """Return how many messages can be seen, and cannot, and which are dead-lettered."""
    return (*count(driver), sorted(json.loads(each["Body"])["n"] for each in dead_letters(driver)))


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("said", [None, ProcessStatus.DONE, "something", []], ids=repr)
def test_what_is_done_is_deleted(name: str, said: object, is_async: bool) -> None:
    app, got = batch_app(said, is_async=is_async)

    with driven(name, app) as driver:
        publish(app, 0, 1, 2)
        driver.run()

        assert got == [[0, 1, 2]]
        assert fates(driver) == (*GONE, [])


def test_a_batch_that_is_not_full_is_called_when_nothing_more_comes(name: str) -> None:
    app, got = batch_app()

    with driven(name, app) as driver:
        publish(app, 0, 1, 2, 3)
        driver.run()
        driver.advance(0.5)

        assert sorted(map(len, got)) == [1, 3]
        assert fates(driver) == (*GONE, [])


@pytest.mark.parametrize(
    ("said", "kept", "dead"),
    [
        (ProcessStatus.RETRY_LATER, 3, []),
        (ConnectionError("gone"), 3, []),
        (ProcessStatus.FATAL_ERROR, 0, [0, 1, 2]),
        (ValueError("no"), 0, [0, 1, 2]),
        (RetryLater(after=LATER), 3, []),
    ],
    ids=repr,
)
def test_what_it_says_of_all_is_said_of_each(name: str, said: object, kept: int, dead: list[int]) -> None:
    app, got = batch_app(said)

    with driven(name, app) as driver:
        publish(app, 0, 1, 2)
        driver.run()

        assert got == [[0, 1, 2]]
        assert fates(driver) == (0, kept, dead)


def say_by_number(failed: Mapping[int, Any], *, as_list: bool) -> Any:
    """Say of each message what is meant for its number: a list of statuses, or a `PartialFailure`."""

    def say(views: list[dict[str, int]]) -> Any:
        if as_list:
            return [failed.get(view["n"]) for view in views]
        return PartialFailure({place: failed[view["n"]] for place, view in enumerate(views) if view["n"] in failed})

    return say


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("as_list", [True, False], ids=["list", "PartialFailure"])
def test_what_it_says_of_one_spoils_no_other(name: str, as_list: bool, is_async: bool) -> None:
    failed = {0: ProcessStatus.FATAL_ERROR, 2: ProcessStatus.RETRY_LATER}
    app, _ = batch_app(say_by_number(failed, as_list=as_list), is_async=is_async)

    with driven(name, app) as driver:
        publish(app, 0, 1, 2)
        driver.run()

        assert fates(driver) == (0, 1, [0])


def test_errors_of_a_partial_failure_are_judged_as_raised_ones(name: str) -> None:
    failed = {0: ValueError("for good"), 1: ConnectionResetError("again"), 2: RetryLater(after=LATER)}
    app, _ = batch_app(say_by_number(failed, as_list=False))

    with driven(name, app) as driver:
        publish(app, 0, 1, 2)
        driver.run()

        (dead,) = dead_letters(driver)
        assert json.loads(dead["MessageAttributes"]["megaflow-origin"]["StringValue"])["failed"] == {
            "store": "ValueError: for good"
        }
        assert count(driver) == (0, 2)


@pytest.mark.parametrize(
    "said",
    [
        PartialFailure({3: ValueError()}),
        PartialFailure({-1: ValueError()}),
        PartialFailure({True: ValueError()}),
        PartialFailure({"0": ValueError()}),  # type: ignore[dict-item]
        PartialFailure({0: "broken"}),  # type: ignore[dict-item]
        PartialFailure([ValueError()]),  # type: ignore[arg-type]
        [ProcessStatus.DONE],
        [ProcessStatus.DONE, "DONE", None],
        [None, None],
        PartialFailure(None),  # type: ignore[arg-type]
        PartialFailure({0: ConnectionError}),  # type: ignore[dict-item]
        ExceptionGroup("of tasks", [PartialFailure({0: ValueError()})]),
        [ValueError()],
        [7, ValueError("no"), 9],
        {1: ProcessStatus.RETRY_LATER},
        {"failed": ValueError("no")},
        {ProcessStatus.RETRY_LATER},
    ],
    ids=repr,
)
def test_where_nobody_knows_which_are_meant_all_come_again(name: str, said: object) -> None:
    app, _ = batch_app(said)

    with driven(name, app) as driver:
        publish(app, 0, 1, 2)
        driver.run()

        assert fates(driver) == (0, 3, [])


@pytest.mark.parametrize(
    "say",
    [
        lambda failed: [failed.get(place) for place in range(3)],
        lambda failed: tuple(failed.get(place) for place in range(3)),
        lambda failed: Returned(PartialFailure(failed)),
    ],
    ids=["list", "tuple", "PartialFailure"],
)
def test_an_error_that_is_returned_means_what_a_raised_one_does(
    name: str, say: Callable[[Mapping[int, BaseException]], Any]
) -> None:
    # As `asyncio.gather(…, return_exceptions=True)` gives them.
    app, _ = batch_app(say({0: ValueError("for good"), 2: ConnectionError("gone")}))

    with driven(name, app) as driver:
        publish(app, 0, 1, 2)
        driver.run()

        (waiting, hidden, dead) = fates(driver)
        assert (waiting, hidden, len(dead)) == (0, 1, 1)


def test_an_invalid_message_spoils_no_other(name: str) -> None:
    app, got = make_app(), []

    @app.on_data(batch_size=3)
    def store(views: list[View], messages: list[Message]) -> None:
        assert [message.payload["n"] for message in messages] == [view.n for view in views]
        got.extend(views)

    with driven(name, app) as driver:
        app.publish_batch([{"n": 0}, {"n": "many"}, {"n": 2}])
        driver.run()

        assert sorted(view.n for view in got) == [0, 2]
        assert [json.loads(each["Body"]) for each in dead_letters(driver)] == [{"n": "many"}]
        assert count(driver) == GONE


def test_nothing_is_called_where_no_message_is_valid(name: str) -> None:
    app, got = make_app(), []

    @app.on_data(batch_size=2, on_invalid="delete")
    def store(views: list[View]) -> None:
        got.append(views)

    with driven(name, app) as driver:
        app.publish_batch([{}, {}])
        driver.run()

        assert got == []
        assert fates(driver) == (*GONE, [])


def test_plain_handlers_come_first_and_their_outcome_counts_as_well(name: str) -> None:
    app, ran = make_app(), []

    @app.on_data(batch_size=2)
    def store(views: list[dict[str, int]]) -> None:
        ran.append("batch")

    @app.on_data()
    def check(view: dict[str, int]) -> None:
        ran.append("plain")
        if view["n"] == 1:
            raise ValueError("no")

    with driven(name, app) as driver:
        publish(app, 0, 1)
        driver.run()

        assert ran == ["plain", "plain", "batch"]
        assert fates(driver) == (*GONE, [1])


def test_each_batch_handler_gets_payloads_of_its_own(name: str) -> None:
    app = make_app()
    got: list[int] = []

    @app.on_event(name="viewed", batch_size=2)
    def first(payloads: list[Payload]) -> None:
        for payload in payloads:
            payload.event.attributes["n"] = 100

    @app.on_message(batch_size=2)
    def second(messages: list[Message]) -> None:
        got.extend(message.payload.event.attributes["n"] for message in messages)

    with driven(name, app) as driver:
        app.publish_batch([make_event(n) for n in (1, 2)])
        driver.run()

        assert sorted(got) == [1, 2]
        assert count(driver) == GONE


def test_progress_is_remembered_for_each_message(name: str) -> None:
    app, got = make_app(progress=MemoryStore(), backoff=lambda count: LATER), []

    @app.on_data(batch_size=2, batch_seconds=0)
    def store(views: list[dict[str, int]]) -> None:
        got.append(sorted(view["n"] for view in views))

    @app.on_data()
    def check(view: dict[str, int], message: Message) -> None:
        if view["n"] == 1 and message.receive_count == 1:
            raise RetryLater(after=LATER)

    with driven(name, app) as driver:
        publish(app, 1)
        driver.run()
        driver.advance(LATER + 200)

        assert got == [[1]]
        assert count(driver) == GONE


def test_of_one_key_the_second_waits_for_the_next_batch_and_is_skipped(name: str) -> None:
    app, got = make_app(idempotency=MemoryStore()), []

    @app.on_data(batch_size=3, batch_seconds=0.5, idempotency_key=lambda view: view["n"])
    def store(views: list[dict[str, int]]) -> None:
        got.append(sorted(view["n"] for view in views))

    with driven(name, app) as driver:
        app.publish_batch([{"n": 0, "at": 1}, {"n": 0, "at": 2}, {"n": 1, "at": 3}])
        driver.run()
        driver.advance(1.0)

        assert got == [[0, 1]]
        assert fates(driver) == (*GONE, [])


@pytest.mark.parametrize("kept_by", ["the batch", "a plain handler"])
def test_on_fifo_one_that_is_kept_keeps_those_after_it_in_its_group(name: str, kept_by: str) -> None:
    app, got = make_app(), []

    @app.on_text(batch_size=10, batch_seconds=0.5)
    def store(texts: list[str], messages: list[Message]) -> list[ProcessStatus]:
        got.append(texts)
        first = {"a1": ProcessStatus.RETRY_LATER} if kept_by == "the batch" else {}
        return [
            first.get(text, ProcessStatus.DONE) if message.receive_count == 1 else ProcessStatus.DONE
            for text, message in zip(texts, messages, strict=True)
        ]

    @app.on_text("a1")
    def check(text: str, message: Message) -> None:
        if kept_by == "a plain handler" and message.receive_count == 1:
            raise ConnectionError

    with driven(name, app, fifo=True) as driver:
        app.publish_batch([Outgoing(text, group_id=text[0]) for text in ("a1", "a2", "b1", "a3")])
        driver.run()
        driver.advance(1.0)

        assert count(driver)[1] + count(driver)[0] == 3
        driver.advance(LATER + 200)
        driver.advance(1.0)

        flat = [text for texts in got for text in texts]
        assert [text for text in flat if text[0] == "b"] == ["b1"]
        last = {text: len(flat) - flat[::-1].index(text) for text in ("a1", "a2", "a3")}
        assert last["a1"] < last["a2"] < last["a3"]
        assert count(driver) == GONE


def test_on_fifo_a_batch_has_several_of_a_group_in_order(name: str) -> None:
    app, got = make_app(), []

    @app.on_text(batch_size=4, batch_seconds=0.5)
    def store(texts: list[str]) -> None:
        got.append(texts)

    with driven(name, app, fifo=True) as driver:
        app.publish_batch([Outgoing(f"a{n}", group_id="a") for n in range(6)])
        driver.run()
        driver.advance(1.0)

        assert got == [["a0", "a1", "a2", "a3"], ["a4", "a5"]]
        assert count(driver) == GONE
