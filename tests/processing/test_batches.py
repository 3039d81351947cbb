"""Batches in the processor: what one call comes to for each message, whatever it says, with keys and in groups."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow import (
    App,
    CircuitBreaker,
    MemoryStore,
    Message,
    Outcome,
    PartialFailure,
    ProcessStatus,
    Reject,
    RetryLater,
    Verdict,
)
from megaflow.app import parts_of
from megaflow.handlers.handler import Handler
from megaflow.messages.batch import stand_for
from megaflow.messages.message import open_message
from megaflow.processing.steps import BatchTurn, HandlerCall, Parting, Result, Steps, StoreCall, Turn, lease_lost
from megaflow.testing import TestClient

DONE, LATER, FATAL = ProcessStatus.DONE, ProcessStatus.RETRY_LATER, ProcessStatus.FATAL_ERROR
RETRY = ProcessStatus.RETRIABLE_ERROR

SAID: Sequence[tuple[object, ProcessStatus]] = [
    (None, DONE),
    (DONE, DONE),
    (LATER, LATER),
    (FATAL, FATAL),
    (RETRY, RETRY),
    (ConnectionError("gone"), RETRY),
    (ValueError("no"), FATAL),
    (RetryLater(after=3), LATER),
    (Reject("no"), FATAL),
]


class Batch:
    """A batch of messages of an app with one batch handler, step by step."""

    def __init__(self, app: App, messages: Sequence[Message]) -> None:
        self.processor = parts_of(app).processor
        self.several = [self.processor.steps(message) for message in messages]
        (handler,) = self.processor.table.handlers
        self.steps: Steps = self.processor.batch_steps(stand_for(messages), handler, self.several)
        self.got: list[Any] = []

    def run(self, said: object) -> list[Verdict | None]:
        """Let the handler say or raise this; return the verdicts, None for what waits for another batch."""
        step = self.steps.take(Result())
        while not isinstance(step, Parting):
            if isinstance(step, StoreCall):
                step = self.steps.take(Result(step.run()))
                continue
            assert isinstance(step, HandlerCall)
            self.got = step.message.payload
            raised = said if isinstance(said, BaseException) else None
            step = self.steps.take(Result(None if raised else said, error=raised))
        last = [each.step for each in self.several]
        assert all(isinstance(each, Verdict | BatchTurn) for each in last)
        return [each if isinstance(each, Verdict) else None for each in last]


def make_app(**options: Any) -> App:
    app = App(retry_on=ConnectionError, idempotency=MemoryStore())
    app.on_text(batch_size=100, **options)(lambda texts: None)
    return app


def make_messages(groups: Sequence[str], texts: Sequence[str] = ()) -> list[Message]:
    queue_url = "http://localhost/1/q.fifo"
    return [
        open_message(texts[n] if texts else str(n), id=str(n), group_id=group, queue_url=queue_url)
        for n, group in enumerate(groups)
    ]


def statuses(verdicts: Sequence[Verdict | None]) -> list[ProcessStatus | None]:
    return [None if verdict is None else verdict.outcomes[0].status for verdict in verdicts]


def say(each: Sequence[object], *, as_list: bool) -> object:
    """Say this of each message, in one of the two ways; a list has no room for errors."""
    if as_list and not any(isinstance(said, BaseException) for said in each):
        return [DONE if not n and said is None else said for n, said in enumerate(each)]
    failed: Mapping[int, Any] = {place: said for place, said in enumerate(each) if said is not None}
    return PartialFailure(failed)


@given(st.lists(st.sampled_from(SAID), min_size=1, max_size=8), st.booleans())
def test_each_message_gets_what_was_said_of_it(said: list[tuple[object, ProcessStatus]], as_list: bool) -> None:
    batch = Batch(make_app(), make_messages([""] * len(said)))

    verdicts = batch.run(say([each for each, _ in said], as_list=as_list))

    assert statuses(verdicts) == [status for _, status in said]


@given(st.lists(st.tuples(st.sampled_from(SAID), st.sampled_from("abc")), min_size=1, max_size=10), st.booleans())
def test_in_a_group_what_comes_after_one_that_is_kept_is_kept_and_nothing_else_changes(
    said: list[tuple[tuple[object, ProcessStatus], str]], as_list: bool
) -> None:
    batch = Batch(make_app(), make_messages([group for _, group in said]))

    found = statuses(batch.run(say([each for (each, _), _ in said], as_list=as_list)))

    kept: set[str] = set()
    expected = []
    for (_, status), group in said:
        expected.append(LATER if group in kept and not status.keeps else status)
        if status.keeps:
            kept.add(group)
    assert found == expected


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=10), st.booleans())
def test_of_one_key_one_is_in_a_batch_and_nothing_overtakes_the_others(keys: list[str], is_ordered: bool) -> None:
    messages = make_messages(["g" if is_ordered else ""] * len(keys), keys)
    batch = Batch(make_app(idempotency_key=lambda text: text), messages)

    verdicts = batch.run(None)

    first = next((place for place in range(len(keys)) if keys[place] in keys[:place]), len(keys))
    called = keys[:first] if is_ordered else list(dict.fromkeys(keys))
    assert batch.got == called
    waits = [n >= first if is_ordered else key in keys[:n] for n, key in enumerate(keys)]
    assert [verdict is None for verdict in verdicts] == waits


def test_a_key_that_ran_before_is_skipped_and_what_failed_frees_its_key() -> None:
    app = make_app(idempotency_key=lambda text: text)
    Batch(app, make_messages(["", ""], ["a", "b"])).run([DONE, LATER])

    batch = Batch(app, make_messages(["", ""], ["a", "b"]))
    verdicts = batch.run(None)

    assert batch.got == ["b"]
    assert [verdict and verdict.outcomes[0].skipped for verdict in verdicts] == [
        "finished earlier with the same key",
        "",
    ]


def test_a_key_that_cannot_be_found_spoils_no_other() -> None:
    def find(text: str) -> str:
        if text == "a":
            raise ValueError("no key")
        return text

    batch = Batch(make_app(idempotency_key=find), make_messages(["", ""], ["a", "b"]))

    assert statuses(batch.run(None)) == [FATAL, DONE]
    assert batch.got == ["b"]


@pytest.mark.parametrize(("group", "waits"), [("g", True), ("", False)])
def test_in_a_group_alone_a_message_for_another_handler_waits_for_those_before_it(group: str, waits: bool) -> None:
    app = make_app()
    app.on_data()(lambda data: None)
    message = open_message('{"a": 1}', id="1", group_id=group, queue_url="http://localhost/1/q.fifo")

    step = parts_of(app).processor.steps(message).step

    assert (step == Turn(None)) is waits


def test_without_anybody_who_makes_batches_a_message_is_one_of_its_own() -> None:
    app, got = App(), []
    app.on_text(batch_size=5)(lambda texts: got.append(texts))

    verdict = app.process("ping")

    assert got == [["ping"]]
    assert verdict.deletes


def test_what_stands_for_a_batch_is_called_after_its_first_message() -> None:
    messages = make_messages(["a", "b", "c"])
    first = messages[0].id

    said = [stand_for(messages[:size]).id for size in (1, 2, 3)]

    assert said == [f"{first} alone", f"{first} and 1 more", f"{first} and 2 more"]


def test_a_list_that_says_nothing_of_failures_is_no_mistake(caplog: pytest.LogCaptureFixture) -> None:
    # What `asyncio.gather` gives where all went well.
    verdicts = Batch(make_app(), make_messages(["a", "b"])).run([None, None])

    assert statuses(verdicts) == [DONE, DONE]
    assert caplog.messages == []


def test_nothing_is_said_of_a_batch_that_is_done(caplog: pytest.LogCaptureFixture) -> None:
    messages = [open_message("a"), open_message("b")]

    Batch(make_app(), messages).run(None)

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("has_around", [False, True])
def test_what_a_batch_failed_with_is_said_once(has_around: bool, caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.on_text(batch_size=2)
    def fail(texts: list[str]) -> None:
        raise ValueError("no")

    def surround(handler: Handler, message: Message) -> Iterator[None]:
        yield

    if has_around:
        app.around(surround)
    with TestClient(app) as client:
        client.publish_batch(["a", "b"])

    said = [record.getMessage() for record in caplog.records if record.exc_info]
    assert [text.rpartition(".")[2] for text in said] == ["fail failed for good"]


def test_what_a_batch_failed_with_is_not_said_again_at_the_next_try(caplog: pytest.LogCaptureFixture) -> None:
    breaker = CircuitBreaker(failures=1, seconds=1.0, on=(ConnectionError,))
    batch = Batch(make_app(breaker=breaker), make_messages(["", ""]))
    (handler,) = batch.processor.table.handlers
    assert batch.run(ConnectionError("away")) == [None, None]

    verdicts = [each.take(Result(Outcome(handler, DONE))) for each in batch.several]

    assert [isinstance(each, Verdict) and each.deletes for each in verdicts] == [True, True]
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["WARNING"]


def test_without_another_try_a_message_comes_again_for_what_its_batch_failed_with() -> None:
    breaker = CircuitBreaker(failures=1, seconds=1.0, on=(ConnectionError,))
    batch, error = Batch(make_app(breaker=breaker), make_messages([""])), ConnectionError("away")
    assert batch.run(error) == [None]

    verdict = batch.several[0].take(Result(error=lease_lost()))

    assert isinstance(verdict, Verdict)
    assert verdict.outcomes[0].error is error


def test_failures_that_are_not_said_by_places_are_nobodys_and_all_come_again() -> None:
    verdicts = Batch(make_app(), make_messages(["a", "b"])).run(PartialFailure([ValueError()]))  # type: ignore[arg-type]

    assert statuses(verdicts) == [RETRY, RETRY]
    said = {str(each.outcomes[0].error) for each in verdicts if each}
    assert ["said what failed by a list, and not by places" in each for each in said] == [True]
