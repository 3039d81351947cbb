"""Progress per handler and idempotency keys, over a store that may fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from megaflow import (
    App,
    Claim,
    Ended,
    HandlerTimeoutError,
    KeyBusyError,
    Lease,
    LeaseLostError,
    MemoryStore,
    Message,
    ProcessStatus,
    RegistrationError,
    Reject,
    RetryLater,
    StoreError,
    Verdict,
)
from megaflow.app import parts_of
from megaflow.messages.message import open_message
from megaflow.messages.origin import replace_origin
from megaflow.processing.dead_letters import describe_origin
from megaflow.processing.idempotency import Idempotency
from tests.waiting import PATIENCE

DONE, FATAL = ProcessStatus.DONE, ProcessStatus.FATAL_ERROR
RETRY, ERROR = ProcessStatus.RETRY_LATER, ProcessStatus.RETRIABLE_ERROR


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Handlers:
    """An app with handlers that end as they are told, and which of them ran."""

    def __init__(self, **options: Any) -> None:
        self.app = App(**options)
        self.ran: list[str] = []

    def add(self, name: str, *ends: Exception | ProcessStatus | None, **options: Any) -> None:
        rest = list(ends)

        def handle(text: str) -> ProcessStatus | None:
            self.ran.append(name)
            end = rest.pop(0) if rest else None
            if isinstance(end, Exception):
                raise end
            return end

        self.app.on_text(handler_name=name, **options)(handle)

    def process(self, message: Message) -> Verdict:
        """Process *message*, and forget what ran before."""
        self.ran.clear()
        return self.app.process(message)

    def said(self, message: Message) -> dict[str, ProcessStatus]:
        return {handler.name: status for handler, status in self.process(message).statuses.items()}


def message(text: str = "ping", *, id: str = "m1", **fields: Any) -> Message:
    return replace(open_message(text), id=id, queue_url="https://queue", **fields)


class Saving(MemoryStore):
    """Remembers what it was told of errors, too."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def save(self, work: str, handler: str, ended: Ended) -> None:
        self.told.append(ended.error)
        super().save(work, handler, ended)


def redriven(verdict: Verdict, *, id: str) -> Message:
    """Return the message of *verdict* as it comes back from the dead-letter queue."""
    return message(id=id, sqs_attributes=replace_origin(verdict.message, describe_origin(verdict)))


class Failing(MemoryStore):
    """A store that fails at what it is told to."""

    def __init__(self, *failing: str) -> None:
        super().__init__()
        self.failing = set(failing)

    def load(self, work: str) -> Mapping[str, Ended]:
        self._check("load")
        return super().load(work)

    def save(self, work: str, handler: str, ended: Ended) -> None:
        self._check("save")
        super().save(work, handler, ended)

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        self._check("claim")
        return super().claim(key, owner, seconds)

    def complete(self, key: str, owner: str, seconds: float) -> None:
        self._check("complete")
        super().complete(key, owner, seconds)

    def release(self, key: str, owner: str) -> None:
        self._check("release")
        super().release(key, owner)

    def _check(self, what: str) -> None:
        if what in self.failing:
            raise OSError("disk full")


# Progress


def test_a_message_that_comes_again_goes_to_the_handlers_that_have_not_finished_it() -> None:
    handlers = Handlers(progress=MemoryStore())
    handlers.add("reserve")
    handlers.add("charge", RetryLater())
    handlers.add("notify", RetryLater())
    assert handlers.said(message()) == {"reserve": DONE, "charge": RETRY, "notify": RETRY}

    said = handlers.said(message())

    assert handlers.ran == ["charge", "notify"]
    assert said == {"reserve": DONE, "charge": DONE, "notify": DONE}


@pytest.mark.parametrize(("record_errors", "told"), [("text", "ValueError: no card 4711"), ("type", "ValueError")])
def test_a_store_holds_of_errors_what_it_may(record_errors: str, told: str) -> None:
    store = Saving()
    handlers = Handlers(progress=store, record_errors=record_errors)
    handlers.add("reserve")
    handlers.add("charge", ValueError("no card 4711"))

    handlers.process(message())

    assert store.told == ["", told]


def test_progress_is_shared_by_processes() -> None:
    store = MemoryStore()
    one, other = Handlers(progress=store), Handlers(progress=store)
    for each in (one, other):
        each.add("reserve")
        each.add("charge", RetryLater() if each is one else None)
    one.process(message())

    verdict = other.process(message())

    assert other.ran == ["charge"]
    assert verdict.deletes


def test_progress_of_one_message_says_nothing_of_another() -> None:
    handlers = Handlers(progress=MemoryStore())
    handlers.add("reserve")
    handlers.process(message(id="m1"))

    handlers.process(message(id="m2"))

    assert handlers.ran == ["reserve"]


def test_a_handler_that_failed_for_good_is_not_asked_again_and_still_dead_letters() -> None:
    handlers = Handlers(progress=MemoryStore())
    handlers.add("charge", Reject("expired card"))
    handlers.add("notify", RetryLater())
    assert handlers.process(message()).keeps

    verdict = handlers.process(message())

    assert handlers.ran == ["notify"]
    assert verdict.dead_letters
    assert [str(outcome.error) for outcome in verdict.outcomes] == ["Reject: expired card", "None"]


def test_a_redriven_message_goes_to_the_handler_that_failed_and_to_no_other() -> None:
    handlers = Handlers(progress=MemoryStore())
    handlers.add("reserve")
    handlers.add("charge", Reject("expired card"))
    first = handlers.process(message(id="first"))
    assert first.dead_letters

    verdict = handlers.process(redriven(first, id="second"))

    assert handlers.ran == ["charge"]
    assert verdict.deletes


def test_a_message_redriven_twice_keeps_all_that_was_done() -> None:
    handlers = Handlers(progress=MemoryStore())
    handlers.add("reserve")
    handlers.add("notify", Reject("down"))
    handlers.add("charge", Reject("expired"), Reject("expired"))
    first = handlers.process(message(id="first"))
    second = handlers.process(redriven(first, id="second"))
    assert handlers.ran == ["notify", "charge"]

    handlers.process(redriven(second, id="third"))

    assert handlers.ran == ["charge"]


def test_a_store_that_cannot_be_read_keeps_the_message_and_runs_nothing() -> None:
    handlers = Handlers(progress=Failing("load"))
    handlers.add("reserve")

    verdict = handlers.process(message())

    assert handlers.ran == []
    assert verdict.keeps
    assert isinstance(verdict.outcomes[0].error, StoreError)
    assert str(verdict.outcomes[0].error) == "the store could not load progress: OSError: disk full"


def test_a_store_that_cannot_be_written_keeps_the_message() -> None:
    store = Failing("save")
    handlers = Handlers(progress=store)
    handlers.add("reserve")
    assert handlers.process(message()).keeps

    store.failing.clear()

    assert handlers.process(message()).deletes
    assert handlers.ran == ["reserve"]


def test_two_handlers_of_one_name_are_refused_where_progress_is_remembered() -> None:
    handlers = Handlers(progress=MemoryStore())
    handlers.add("reserve")
    handlers.add("reserve")

    with pytest.raises(RegistrationError, match=r"two handlers are named reserve .*give one of them handler_name="):
        handlers.process(message())


# Idempotency


def idempotent(ends: tuple[Exception | ProcessStatus | None, ...] = (), **options: Any) -> Handlers:
    handlers = Handlers(**{"idempotency": MemoryStore()} | options)
    handlers.add("charge", *ends, idempotency_key=lambda text: text.split()[0])
    return handlers


def test_of_two_messages_with_one_key_one_is_handled() -> None:
    handlers = idempotent()
    handlers.process(message("order-1 first", id="m1"))

    verdict = handlers.process(message("order-1 again", id="m2"))

    assert handlers.ran == []
    assert verdict.deletes
    handlers.process(message("order-2", id="m3"))
    assert handlers.ran == ["charge"]


def test_a_key_may_be_handled_again_after_its_time() -> None:
    clock = Clock()
    handlers = Handlers(idempotency=MemoryStore(clock=clock))
    handlers.add("charge", idempotency_key=lambda text: text, idempotent_for=60)
    handlers.process(message(id="m1"))

    clock.now += 61
    handlers.process(message(id="m2"))

    assert handlers.ran == ["charge"]


@pytest.mark.parametrize("end", [RetryLater(), Reject("no"), ProcessStatus.RETRIABLE_ERROR])
def test_an_attempt_that_did_not_succeed_frees_the_key(end: Exception | ProcessStatus) -> None:
    handlers = idempotent((end,))
    handlers.process(message("order-1", id="m1"))

    handlers.process(message("order-1", id="m2"))

    assert handlers.ran == ["charge"]


def test_a_key_in_progress_elsewhere_is_tried_later() -> None:
    store = MemoryStore()
    inside, go_on = threading.Event(), threading.Event()
    slow, other = App(idempotency=store), idempotent(idempotency=store)

    @slow.on_text(handler_name="charge", idempotency_key=lambda text: text.split()[0])
    def handle(text: str) -> None:
        inside.set()
        go_on.wait(PATIENCE)

    thread = threading.Thread(target=slow.process, args=(message("order-1", id="m1"),))
    thread.start()
    assert inside.wait(PATIENCE)

    verdict = other.process(message("order-1", id="m2"))
    go_on.set()
    thread.join()

    assert verdict.keeps
    assert isinstance(verdict.outcomes[0].error, KeyBusyError)
    assert other.process(message("order-1", id="m2")).deletes
    assert other.ran == []


def test_the_message_of_an_attempt_that_died_takes_its_key_up_again() -> None:
    store = MemoryStore()
    handlers = idempotent(idempotency=store)
    (charge,) = handlers.app.handlers_for("order-1")
    Idempotency(store, 30.0).claim(message("order-1", id="m1"), charge, "order-1")

    assert handlers.process(message("order-1", id="other")).keeps
    handlers.process(message("order-1", id="m1"))

    assert handlers.ran == ["charge"]


def test_a_message_without_a_key_is_handled_every_time() -> None:
    handlers = Handlers(idempotency=MemoryStore())
    handlers.add("charge", idempotency_key=lambda text: None)

    handlers.process(message(id="m1"))
    handlers.process(message(id="m2"))

    assert handlers.ran == ["charge"]


def raise_at_once(error: Exception) -> Callable[[str], str]:
    def find(text: str) -> str:
        raise error

    return find


@pytest.mark.parametrize(
    ("key", "status"),
    [
        (lambda text: 0.5, FATAL),
        (raise_at_once(KeyError("id")), FATAL),
        (raise_at_once(ConnectionError("no directory")), ERROR),
        (raise_at_once(RetryLater(after=3.0)), RETRY),
    ],
)
def test_a_key_function_that_fails_is_read_as_the_handler_s_own_failure(
    key: Callable[[str], Any], status: ProcessStatus
) -> None:
    handlers = Handlers(idempotency=MemoryStore())
    handlers.add("charge", idempotency_key=key, retry_on=ConnectionError)

    (outcome,) = handlers.process(message()).outcomes

    assert outcome.status is status
    assert handlers.ran == []


def test_a_number_as_key_is_the_same_key_each_time() -> None:
    handlers = Handlers(idempotency=MemoryStore())
    handlers.add("charge", idempotency_key=len)

    first, second = (handlers.process(message(id=each)) for each in ("m1", "m2"))

    assert (first.deletes, second.deletes) == (True, True)
    assert [first.outcomes[0].skipped, second.outcomes[0].skipped] == ["", "finished earlier with the same key"]
    assert second.outcomes[0].seconds == 0.0


@pytest.mark.parametrize(("failing", "ran"), [("claim", []), ("complete", ["charge"])])
def test_a_store_of_keys_that_fails_keeps_the_message(failing: str, ran: list[str]) -> None:
    handlers = idempotent(idempotency=Failing(failing))

    assert handlers.process(message()).keeps
    assert handlers.ran == ran


@pytest.mark.parametrize(
    ("end", "status", "after"), [(RetryLater(after=7.0), RETRY, 7.0), (ERROR, ERROR, None), (Reject("no"), ERROR, None)]
)
def test_a_key_that_cannot_be_released_changes_nothing_for_a_message_that_comes_again(
    end: Exception | ProcessStatus, status: ProcessStatus, after: float | None
) -> None:
    handlers = idempotent((end,), idempotency=Failing("release"))

    (outcome,) = handlers.process(message()).outcomes

    assert (outcome.status, outcome.after) == (status, after)
    assert isinstance(outcome.error, StoreError) is isinstance(end, Reject)


def test_a_message_that_no_handler_matches_asks_no_store() -> None:
    app = App(progress=Failing("load"))
    app.on_data({"id": 1})(lambda data: None)

    assert app.process(message()).deletes


def test_where_one_handler_is_done_and_progress_is_not_remembered_plain_handlers_still_run_once_each() -> None:
    handlers = Handlers(idempotency=MemoryStore())
    handlers.add("charge", idempotency_key=lambda text: text)
    handlers.add("log")

    handlers.process(message(id="m1"))
    assert handlers.ran == ["charge", "log"]
    handlers.process(message(id="m2"))

    assert handlers.ran == ["log"]


def test_a_message_whose_lease_was_extended_keeps_its_keys() -> None:
    store = MemoryStore(clock=(clock := Clock()))
    handlers = idempotent(idempotency=store)
    (charge,) = handlers.app.handlers_for("order-1")
    processor, first = parts_of(handlers.app).processor, message("order-1", id="m1")
    assert processor._idempotency is not None
    processor._idempotency.claim(first, charge, "order-1")

    clock.now += 50
    processor.renew(first)
    clock.now += 50

    assert handlers.process(message("order-1", id="m2")).keeps


def test_a_message_is_extended_where_nothing_is_remembered() -> None:
    parts_of(App()).processor.renew(message())


@pytest.mark.parametrize(
    ("stores", "remembers"),
    [({}, False), ({"progress": MemoryStore()}, True), ({"idempotency": MemoryStore()}, True)],
)
def test_a_processor_knows_whether_it_remembers(stores: dict[str, Any], remembers: bool) -> None:
    assert parts_of(App(**stores)).processor.remembers is remembers


class Checked(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.checks = 0

    def check(self) -> None:
        self.checks += 1


def test_each_store_is_checked_once() -> None:
    progress, keys, both = Checked(), Checked(), Checked()

    parts_of(App(progress=progress, idempotency=keys)).processor.check_stores()
    parts_of(App(progress=both)).processor.check_stores()
    parts_of(App(idempotency=both)).processor.check_stores()
    parts_of(App()).processor.check_stores()

    assert (progress.checks, keys.checks, both.checks) == (1, 1, 2)


def test_progress_and_keys_can_share_a_store() -> None:
    handlers = idempotent(progress=MemoryStore(), idempotency=None)

    handlers.process(message("order-1", id="m1"))
    handlers.process(message("order-1", id="m2"))

    assert handlers.ran == []


def test_a_key_without_a_store_is_refused() -> None:
    handlers = idempotent(idempotency=None)

    with pytest.raises(RegistrationError, match="charge has an idempotency_key, and the app has no store"):
        handlers.process(message())


# Time limits and leases


def test_an_async_handler_is_cancelled_when_its_time_is_over() -> None:
    app, cancelled = App(), threading.Event()

    @app.on_text(timeout=0.01)
    async def handle(text: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    verdict = app.process("ping")

    assert cancelled.is_set()
    assert verdict.keeps
    assert isinstance(verdict.outcomes[0].error, HandlerTimeoutError)


def test_a_timeout_of_the_handlers_own_is_its_own() -> None:
    app = App()

    @app.on_text(timeout=10)
    async def handle(text: str) -> None:
        raise TimeoutError("the database")

    assert app.process("ping").dead_letters


def test_after_a_lost_lease_no_further_handler_is_called() -> None:
    clock = Clock(100.0)
    handlers = Handlers()
    lease = Lease("handle", 0.0, 130.0, clock)

    def lose(text: str) -> None:
        handlers.ran.append("first")
        clock.now = 131.0

    handlers.app.on_text(handler_name="first")(lose)
    handlers.add("second")

    verdict = handlers.process(message(lease=lease))

    assert handlers.ran == ["first"]
    assert verdict.keeps
    assert isinstance(verdict.outcomes[1].error, LeaseLostError)


@pytest.mark.parametrize("options", [{"timeout": -1}, {"idempotent_for": "long"}, {"idempotency_key": "id"}])
def test_an_option_that_cannot_work_is_refused_where_it_is_written(options: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=f"{next(iter(options))}="):
        App().on_text(**options)


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="takes no 'time_out': did you mean timeout\\? It takes retry_on, "):
        App().on_data({}, time_out=5)  # type: ignore[call-arg]
