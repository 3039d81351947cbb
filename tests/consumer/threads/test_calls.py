"""Calls to the queue: what is asked for, and what its answers and errors are told as."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from megaflow import Kind, Lease, Message, StoreError
from megaflow.consumer.core.protocol import (
    AskFailed,
    DeadLetter,
    Delete,
    Extend,
    Hide,
    Inspect,
    Inspected,
    Problem,
    Receive,
    Received,
    Settled,
    Settlement,
    StoresChecked,
)
from megaflow.consumer.threads.caller import Caller
from megaflow.consumer.threads.calls import ask, begin_asking, begin_settling, settle
from megaflow.consumer.threads.store_checks import begin_check
from megaflow.settings import ConsumerSettings
from megaflow.transport.queue import Failed, QueueFacts
from megaflow.wire.pending import Pending
from tests.waiting import wait_until

SETTINGS = ConsumerSettings(visibility_timeout=45)
FIRST, SECOND = (
    Message(name, "body", Kind.TEXT, "body", lease=Lease(f"handle {name}", 0.0, 30.0, lambda: 0.0)) for name in "ab"
)
BOTH = (FIRST, SECOND)
DELETE, HIDE = Delete(BOTH), Hide(BOTH, (0.0, 7.0))
EXTEND = Extend(BOTH, ("earlier a", "earlier b"), (30.0, 20.0), 5.0)
DEAD_LETTER = DeadLetter(FIRST, "https://dead", "{}")


def client_error(code: str, message: str = "said AWS") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(response, "Any")


class Desk:
    """A queue that notes what it is asked, and answers what the test wants."""

    def __init__(self, answer: object = ()) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answer = answer

    def _say(self, *asked: Any) -> Any:
        self.asked.append(asked)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def inspect(self, dead_letter_queue_url: str) -> Any:
        return self._say("inspect", dead_letter_queue_url)

    def inspect_depth(self) -> Any:
        return self._say("inspect depth")

    def begin_receive(self, count: int, *, wait_time_seconds: int, visibility_timeout: int) -> Pending[Any]:
        return Pending(lambda: self._say("receive", count, wait_time_seconds, visibility_timeout))

    def begin_delete(self, handles: Sequence[str], messages: Sequence[Message] = ()) -> Pending[Any]:
        return Pending(lambda: self._say("delete", list(handles)))

    def begin_hide(self, pauses: Sequence[tuple[str, float]], messages: Sequence[Message] = ()) -> Pending[Any]:
        return Pending(lambda: self._say("hide", list(pauses)))

    def send_dead_letter(self, queue_url: str, message: Message, origin: str) -> None:
        self._say("dead-letter", queue_url, message, origin)


def settled(desk: Desk, action: Settlement, renewed: list[Message] | None = None) -> Settled:
    return settle(desk, action, (renewed if renewed is not None else []).append)  # type: ignore[arg-type]


# Asking


@pytest.mark.parametrize(
    ("question", "settings", "asked"),
    [
        (Inspect(), SETTINGS, ("inspect", "")),
        (Inspect(), ConsumerSettings(dead_letter_queue_url="https://sqs.eu-west-1.amazonaws.com/1/d"), None),
        (Inspect(depth_alone=True), SETTINGS, ("inspect depth",)),
    ],
)
def test_a_queue_is_asked_what_it_is(
    question: Inspect, settings: ConsumerSettings, asked: tuple[str, ...] | None
) -> None:
    desk = Desk(QueueFacts("https://dead"))

    told = ask(desk, question, settings)  # type: ignore[arg-type]

    assert told == Inspected(QueueFacts("https://dead"))
    assert desk.asked == [asked or ("inspect", settings.dead_letter_queue_url)]


def test_a_queue_is_asked_for_messages() -> None:
    desk = Desk([FIRST])

    told = ask(desk, Receive(3, 20, 7), SETTINGS)  # type: ignore[arg-type]

    assert told == Received([FIRST], 7)
    assert desk.asked == [("receive", 3, 20, 45)]


@pytest.mark.parametrize(("question", "poll"), [(Inspect(), 0), (Inspect(depth_alone=True), 0), (Receive(3, 20, 7), 7)])
@pytest.mark.parametrize(
    ("error", "refused", "over_limit"),
    [
        (ConnectionError("down"), False, False),
        (client_error("AccessDenied"), True, False),
        (client_error("OverLimit"), False, True),
    ],
)
def test_a_question_that_fails_says_which_and_why(
    question: Inspect | Receive, poll: int, error: Exception, refused: bool, over_limit: bool
) -> None:
    told = ask(Desk(error), question, SETTINGS)  # type: ignore[arg-type]

    assert told == AskFailed(error, refused, over_limit, poll)


def test_a_question_that_cannot_be_begun_has_failed() -> None:
    class Broken(Desk):
        def begin_receive(self, count: int, **options: Any) -> Pending[Any]:
            raise OSError("no socket")

    before = time.perf_counter()
    pending = begin_asking(Broken(), Receive(3, 20, 7), SETTINGS)  # type: ignore[arg-type]

    told = pending.result()
    assert isinstance(told, AskFailed)
    assert (str(told.error), told.poll) == ("no socket", 7)
    assert told.took is not None
    assert 0.0 <= told.took <= time.perf_counter() - before


# Settling


@pytest.mark.parametrize(
    ("action", "asked"),
    [
        (DELETE, ("delete", ["handle a", "handle b"])),
        (HIDE, ("hide", [("handle a", 0.0), ("handle b", 7.0)])),
        (EXTEND, ("hide", [("earlier a", 30.0), ("earlier b", 20.0)])),
        (DEAD_LETTER, ("dead-letter", "https://dead", FIRST, "{}")),
        (DeadLetter(FIRST, "https://dead", "{}", with_origin=False), ("dead-letter", "https://dead", FIRST, "")),
    ],
)
def test_what_is_to_be_settled_is(action: Settlement, asked: tuple[Any, ...]) -> None:
    desk = Desk()

    assert settled(desk, action) == Settled(action)

    assert desk.asked == [asked]


@pytest.mark.parametrize(("action", "handle"), [(DELETE, "handle b"), (HIDE, "handle b"), (EXTEND, "earlier b")])
def test_an_entry_that_fails_is_told_by_its_message(action: Settlement, handle: str) -> None:
    desk = Desk([Failed(handle, "InternalError", "try again", final=False)])

    assert settled(desk, action) == Settled(action, {"b": Problem("InternalError: try again")})


def test_an_entry_that_fails_for_good_is_told_so() -> None:
    desk = Desk([Failed("handle a", "ReceiptHandleIsInvalid", "gone", final=True)])

    assert settled(desk, DELETE).problems == {"a": Problem("ReceiptHandleIsInvalid: gone", final=True)}


@pytest.mark.parametrize("action", [DELETE, HIDE, EXTEND, DEAD_LETTER])
@pytest.mark.parametrize(
    ("error", "refused", "of_message"),
    [
        (ConnectionError("down"), False, False),
        (client_error("AccessDenied"), True, False),
        (client_error("InvalidMessageContents"), False, True),
    ],
)
def test_a_call_that_fails_has_failed_for_every_message(
    action: Settlement, error: Exception, refused: bool, of_message: bool
) -> None:
    told = settled(Desk(error), action)

    problem = Problem(
        f"{type(error).__name__}: {error}",
        final=refused,
        of_message=of_message and isinstance(action, DeadLetter),
    )
    assert told.problems == {message.id: problem for message in action.messages}
    assert told.refusal is (error if refused else None)


def test_a_call_that_cannot_be_begun_has_failed() -> None:
    class Broken(Desk):
        def begin_delete(self, handles: Sequence[str], messages: Sequence[Message] = ()) -> Pending[Any]:
            raise OSError("no socket")

    pending = begin_settling(Broken(), DELETE, lambda message: None)  # type: ignore[arg-type]

    assert pending.result().problems == dict.fromkeys("ab", Problem("OSError: no socket"))


@pytest.mark.parametrize(
    ("action", "failed", "renewed"),
    [
        (EXTEND, [], ["a", "b"]),
        (EXTEND, [Failed("earlier a", "InternalError", "", final=False)], ["b"]),
        (HIDE, [], []),
        (DELETE, [], []),
    ],
)
def test_what_is_claimed_for_a_message_is_kept_where_its_lease_was_extended(
    action: Settlement, failed: list[Failed], renewed: list[str]
) -> None:
    seen: list[Message] = []

    settled(Desk(failed), action, seen)

    assert [message.id for message in seen] == renewed


def test_keys_that_cannot_be_kept_are_said_and_the_others_kept(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def renew(message: Message) -> None:
        seen.append(message.id)
        if message is FIRST:
            raise StoreError("disk full")

    told = settle(Desk(), EXTEND, renew)  # type: ignore[arg-type]

    assert (told, seen) == (Settled(EXTEND), ["a", "b"])
    assert [record.getMessage() for record in caplog.records] == [
        "message a: its idempotency keys may be taken for free: disk full"
    ]


# Checking stores


@pytest.mark.parametrize("error", [None, OSError("disk full"), SystemExit()])
def test_a_check_of_the_stores_tells_what_came_of_it(error: BaseException | None) -> None:
    told: list[tuple[object, Caller]] = []

    def check() -> None:
        assert threading.current_thread().daemon, "a database may take its time"
        if error is not None:
            raise error

    begin_check(check, lambda input, caller: told.append((input, caller)))

    wait_until(lambda: told)
    assert told == [(StoresChecked(error), Caller.SETTLER)]


def test_where_no_thread_starts_the_stores_are_not_known_to_be_well(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    error = RuntimeError("can't start new thread")

    def refuse(thread: object) -> None:
        raise error

    monkeypatch.setattr("threading.Thread.start", refuse)
    begin_check(lambda: None, lambda input, caller: told.append((input, caller)))

    assert told == [(StoresChecked(error), Caller.SETTLER)]


@pytest.mark.parametrize("caller", list(Caller))
def test_pollers_and_event_loops_handle_what_is_started(caller: Caller) -> None:
    assert caller.handles_what_is_started is (caller in (Caller.POLLER, Caller.EVENT_LOOP))
