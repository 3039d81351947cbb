"""Once: what is decided of a handler in the transaction of an inbox, whatever database that is of."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from megaflow import App, CircuitBreaker, Handler, MemoryStore, Message, Outcome, ProcessStatus
from megaflow.handlers.inboxes import InboxRow, Trouble, is_inbox
from megaflow.messages.message import open_message
from megaflow.processing.around import Around
from megaflow.processing.once import Rows


class Gift:
    """What a handler gets of a transaction."""


class Fake:
    """An inbox without a database, and its transactions, which note how they ended."""

    is_async = False

    def __init__(self) -> None:
        self.rows: set[InboxRow] = set()
        self.waits: list[float] = []
        self.ended: list[bool] = []
        self.begin_fails: BaseException | None = None
        self.commit_fails: BaseException | None = None
        self.trouble: Trouble | None = None
        self._open: InboxRow | None = None

    def check_gives(self, type_: Any) -> None: ...

    def check(self) -> None: ...

    def begin(self, row: InboxRow, lock_seconds: float) -> Fake | None:
        self.waits.append(lock_seconds)
        if self.begin_fails is not None:
            raise self.begin_fails
        self._open = row
        return None if row in self.rows else self

    async def abegin(self, row: InboxRow, lock_seconds: float) -> FakeAsync | None:
        raise NotImplementedError

    def read_error(self, error: BaseException) -> Trouble | None:
        return self.trouble

    def give(self, type_: Any) -> Any:
        return Gift()

    def end(self, *, commit: bool) -> None:
        self.ended.append(commit)
        if commit and self.commit_fails is not None:
            raise self.commit_fails
        if commit and self._open is not None:
            self.rows.add(self._open)


class FakeAsync(Fake):
    """The same, awaited."""

    is_async = True

    async def abegin(self, row: InboxRow, lock_seconds: float) -> FakeAsync | None:
        return self if self.begin(row, lock_seconds) else None

    async def aend(self, *, commit: bool) -> None:
        self.end(commit=commit)


def run(
    inbox: Fake,
    returned: Any = None,
    raised: BaseException | None = None,
    arounds: Sequence[Around] = (),
    **options: Any,
) -> Outcome:
    """Take a message through a handler that ends so, sync or async as the inbox is."""
    app = App(**options)
    app.provide(Gift, inbox)
    for around in arounds:
        app.around(around)

    def handle(what: str, gift: Gift) -> Any:
        if raised is not None:
            raise raised
        return returned

    async def ahandle(what: str, gift: Gift) -> Any:
        return handle(what, gift)

    app.on_text(handler_name="handle")(ahandle if inbox.is_async else handle)
    message = open_message("a", id="1")
    [outcome] = (asyncio.run(app.aprocess(message)) if inbox.is_async else app.process(message)).outcomes
    return outcome


@pytest.fixture(params=[Fake, FakeAsync])
def inbox(request: pytest.FixtureRequest) -> Fake:
    made: Fake = request.param()
    return made


@pytest.mark.parametrize("status", list(ProcessStatus))
def test_only_done_commits(inbox: Fake, status: ProcessStatus) -> None:
    assert run(inbox, status).status is status

    assert inbox.ended == [status is ProcessStatus.DONE]


def test_a_row_that_stands_is_done_earlier(inbox: Fake) -> None:
    run(inbox)

    outcome = run(inbox, raised=AssertionError("it was called"))

    assert (outcome.status, outcome.skipped, outcome.seconds) == (ProcessStatus.DONE, "done earlier", 0.0)
    assert inbox.ended == [True]


@pytest.mark.parametrize("has_around", [False, True])
def test_what_a_handler_failed_with_is_said_once(
    inbox: Fake, has_around: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def surround(handler: Handler, message: Message) -> Iterator[None]:
        yield

    run(inbox, raised=ValueError("no"), arounds=[surround] if has_around else [])

    said = [record.getMessage() for record in caplog.records if record.exc_info]
    assert [text.rpartition(": ")[2] for text in said] == ["handle failed for good"]


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (None, ProcessStatus.RETRIABLE_ERROR),
        (Trouble.AWAY, ProcessStatus.RETRIABLE_ERROR),
        (Trouble.BUSY, ProcessStatus.RETRY_LATER),
    ],
)
@pytest.mark.parametrize("where", ["begin_fails", "commit_fails"])
def test_what_the_inbox_cannot_do_is_not_the_message_s_fault(
    inbox: Fake, trouble: Trouble | None, status: ProcessStatus, where: str
) -> None:
    error = OSError("it is away")
    setattr(inbox, where, error)
    inbox.trouble = trouble

    outcome = run(inbox, retry_on=())

    assert (outcome.status, outcome.error) == (status, error)


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (None, ProcessStatus.FATAL_ERROR),
        (Trouble.AWAY, ProcessStatus.RETRIABLE_ERROR),
        (Trouble.BUSY, ProcessStatus.RETRY_LATER),
    ],
)
def test_an_error_of_the_handler_s_is_read_by_what_the_database_says_of_itself(
    inbox: Fake, trouble: Trouble | None, status: ProcessStatus
) -> None:
    inbox.trouble = trouble

    assert run(inbox, raised=OSError("it is away"), retry_on=()).status is status
    assert run(inbox, raised=ExceptionGroup("both", [OSError("a"), OSError("b")]), retry_on=()).status is status
    assert inbox.ended == [False, False]


def test_of_several_errors_all_have_to_be_the_database_s(inbox: Fake) -> None:
    inbox.read_error = lambda error: Trouble.BUSY if isinstance(error, OSError) else None  # type: ignore[method-assign]

    outcome = run(inbox, raised=ExceptionGroup("both", [OSError("a"), ValueError("b")]), retry_on=())

    assert outcome.status is ProcessStatus.FATAL_ERROR


def test_what_is_awaited_although_the_handler_is_not_async_is_within_the_transaction() -> None:
    inbox, app, ended_before = Fake(), App(), list[bool]()
    app.provide(Gift, inbox)

    async def later() -> None:
        ended_before.extend(inbox.ended)

    @app.on_text()
    def handle(what: str, gift: Gift) -> Any:
        return later()

    app.process("a")

    assert (ended_before, inbox.ended) == ([], [True])


def test_what_fails_when_it_is_awaited_rolls_back() -> None:
    inbox, app = Fake(), App()
    app.provide(Gift, inbox)

    async def fail() -> None:
        raise ValueError("no")

    @app.on_text()
    def handle(what: str, gift: Gift) -> Any:
        return fail()

    assert app.process("a").dead_letters
    assert inbox.ended == [False]


@pytest.mark.parametrize(
    ("visibility_timeout", "seconds"), [(1, 0.5), (30, 15.0), (60, 30.0), (3_600, 30.0), (43_200, 30.0)]
)
def test_a_row_is_waited_for_less_than_a_visibility_timeout(visibility_timeout: int, seconds: float) -> None:
    inbox = Fake()

    run(inbox, visibility_timeout=visibility_timeout)

    assert inbox.waits == [seconds]
    assert seconds < visibility_timeout


def test_a_message_without_a_queue_is_of_the_app_s() -> None:
    app = App()
    app.on_text(handler_name="handle")(lambda what: None)
    rows = Rows(30.0, lambda: "https://sqs.eu-west-1.amazonaws.com/1/orders")

    row = rows.row_of(app.handlers[0], open_message("a", id="1"))

    assert row == InboxRow("eu-west-1:1:orders", "handle", "message:1")


def test_a_message_of_another_queue_is_of_that_one() -> None:
    app = App()
    app.on_text(handler_name="handle")(lambda what: None)
    rows = Rows(30.0, lambda: "https://sqs.eu-west-1.amazonaws.com/1/orders")
    url = "https://sqs.eu-west-1.amazonaws.com/1/returns"

    row = rows.row_of(app.handlers[0], open_message("a", id="1", queue_url=url))

    assert row == InboxRow("eu-west-1:1:returns", "handle", "message:1")


def test_an_outage_of_the_database_is_one_of_a_breaker_s(inbox: Fake) -> None:
    tries: list[int] = []
    app = App(breaker=CircuitBreaker(on=OSError), progress=MemoryStore())
    app.provide(Gift, inbox)

    def handle(what: str, gift: Gift) -> None:
        tries.append(1)
        raise OSError("it is away")

    async def ahandle(what: str, gift: Gift) -> None:
        handle(what, gift)

    app.on_text()(ahandle if inbox.is_async else handle)
    message = open_message("a", id="1")

    verdict = asyncio.run(app.aprocess(message)) if inbox.is_async else app.process(message)

    assert verdict.keeps
    assert inbox.ended == [False] * len(tries)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only Unix forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_that_comes_back_does_not_end_its_parent_s_transaction(tmp_path: Path) -> None:
    noted = tmp_path / "noted"

    class Noting(Fake):
        def end(self, *, commit: bool) -> None:
            with noted.open("a") as file:
                file.write(f"{os.getpid()}\n")

    app, children = App(), list[int]()
    app.provide(Gift, Noting())

    @app.on_text()
    def handle(what: str, gift: Gift) -> None:
        children.append(os.fork())

    app.process("a")
    os.waitpid(children[0], 0)

    assert noted.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("factory", [MagicMock(), lambda: None, object(), Gift])
def test_what_merely_makes_something_is_no_inbox(factory: object) -> None:
    assert not is_inbox(factory)


def test_what_begins_transactions_is_one(inbox: Fake) -> None:
    assert is_inbox(inbox)
