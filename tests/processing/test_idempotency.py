"""Idempotency keys: for how long they are claimed, which of them are renewed, and how they are named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from megaflow import Claim, Handler, HandlingError, Kind, MemoryStore, Message
from megaflow.handlers.handler import make_handler
from megaflow.handlers.options import Options
from megaflow.match.conditions import EVERYTHING
from megaflow.processing.idempotency import Idempotency

FIRST, SECOND = (
    Message(name, "body", Kind.TEXT, "body", queue_url="https://sqs.eu-west-1.amazonaws.com/1/q") for name in "ab"
)


def handler_named(name: str, idempotent_for: float = 50.0) -> Handler:
    def handle(text: str) -> None: ...

    return make_handler(handle, Kind.TEXT, EVERYTHING, name=name, options=Options(idempotent_for=idempotent_for))


CHARGE, REFUND = handler_named("charge"), handler_named("refund")


class Noting(MemoryStore):
    """A store that notes what it is asked, whose clock stands at `now`."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: self.now)
        self.now = 1_000.0
        self.noted: list[tuple[str, float | None]] = []
        self.keys: list[str] = []

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        self.noted.append(("claim", seconds))
        self.keys.append(key)
        return super().claim(key, owner, seconds)

    def renew(self, key: str, owner: str, seconds: float) -> None:
        self.noted.append(("renew", seconds))
        super().renew(key, owner, seconds)

    def release(self, key: str, owner: str) -> None:
        self.noted.append(("release", None))
        super().release(key, owner)


@pytest.fixture
def store() -> Noting:
    return Noting()


@pytest.fixture
def idempotency(store: Noting) -> Idempotency:
    return Idempotency(store, visibility_timeout=30.0)


def test_a_claim_lives_for_two_visibility_timeouts(store: Noting, idempotency: Idempotency) -> None:
    assert idempotency.claim(FIRST, CHARGE, "k") is Claim.TAKEN

    store.now += 59.9
    assert idempotency.claim(SECOND, CHARGE, "k") is Claim.BUSY
    store.now += 0.1

    assert idempotency.claim(SECOND, CHARGE, "k") is Claim.TAKEN


def test_a_claim_is_kept_with_the_lease(store: Noting, idempotency: Idempotency) -> None:
    idempotency.claim(FIRST, CHARGE, "k")
    store.now += 30

    idempotency.renew(FIRST)

    store.now += 59.9
    assert idempotency.claim(SECOND, CHARGE, "k") is Claim.BUSY


def test_every_key_that_is_worked_on_for_a_message_is_renewed_and_no_other(
    store: Noting, idempotency: Idempotency
) -> None:
    idempotency.claim(FIRST, CHARGE, "k")
    idempotency.claim(FIRST, REFUND, "k")
    idempotency.claim(SECOND, CHARGE, "other")
    idempotency.claim(SECOND, CHARGE, "k")
    store.noted.clear()

    idempotency.renew(FIRST)
    assert store.noted == [("renew", 60.0)] * 2
    idempotency.renew(SECOND)

    assert store.noted == [("renew", 60.0)] * 3, "another one has the second key"


@pytest.mark.parametrize("end", [Idempotency.complete, Idempotency.release])
def test_a_key_that_is_worked_on_no_more_is_not_renewed(end: object, store: Noting, idempotency: Idempotency) -> None:
    idempotency.claim(FIRST, CHARGE, "k")
    idempotency.claim(FIRST, REFUND, "k")
    end(idempotency, FIRST, CHARGE, "k")  # type: ignore[operator]
    store.noted.clear()

    idempotency.renew(FIRST)
    assert store.noted == [("renew", 60.0)]
    end(idempotency, FIRST, REFUND, "k")  # type: ignore[operator]
    store.noted.clear()
    idempotency.renew(FIRST)

    assert store.noted == []
    assert idempotency._claimed == {}, "it does not grow"


def test_a_key_that_ran_is_known_for_its_time(store: Noting, idempotency: Idempotency) -> None:
    idempotency.claim(FIRST, CHARGE, "k")
    idempotency.complete(FIRST, CHARGE, "k")

    store.now += 49
    assert idempotency.claim(SECOND, CHARGE, "k") is Claim.DONE
    store.now += 1

    assert idempotency.claim(SECOND, CHARGE, "k") is Claim.TAKEN


def test_keys_of_messages_that_came_from_no_queue_are_those_of_the_app_s_queue(store: Noting) -> None:
    idempotency = Idempotency(store, 30.0, lambda: FIRST.queue_url)

    assert idempotency.claim(replace(SECOND, queue_url=""), CHARGE, "k") is Claim.TAKEN
    assert idempotency.claim(FIRST, CHARGE, "k") is Claim.BUSY
    another = replace(FIRST, queue_url="https://sqs.eu-west-1.amazonaws.com/1/another")
    assert idempotency.claim(another, CHARGE, "k") is Claim.TAKEN


@pytest.mark.parametrize("key", [7, b"k", True])
def test_a_key_that_is_no_text_is_refused(key: object, idempotency: Idempotency) -> None:
    with pytest.raises(HandlingError, match="must be a text or None"):
        idempotency.claim(FIRST, CHARGE, key)  # type: ignore[arg-type]


def test_a_store_that_cannot_check_itself_claims_a_key_for_a_second_and_releases_it(
    store: Noting, idempotency: Idempotency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(MemoryStore, "check")

    idempotency.check()

    assert store.noted == [("claim", 1.0), ("release", None)]
    assert store.keys == ["megaflow check"]


def test_it_says_where_they_are(store: Noting, idempotency: Idempotency) -> None:
    assert idempotency.store is store
