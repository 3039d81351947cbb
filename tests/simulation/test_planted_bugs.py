"""The simulation finds bugs, planted one at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import pytest

from megaflow.consumer.core.circuits import Circuit, Circuits
from megaflow.consumer.core.core import Core
from megaflow.consumer.core.endings import Endings
from megaflow.consumer.core.gates import MostCalls, TokenBucket
from megaflow.consumer.core.groups import Groups
from megaflow.consumer.core.held_messages import Held, HeldMessages
from megaflow.consumer.core.leases import Leases
from megaflow.consumer.core.polling import Polling
from megaflow.consumer.core.protocol import Action, Input, Received
from megaflow.consumer.core.settling import Settling
from megaflow.consumer.core.stopping import Stopping
from megaflow.handlers.handler import Handler
from megaflow.processing.verdict import Verdict
from tests.simulation.runs import find_violation

ENOUGH = 400
"""Seeds within which each bug is found."""

Plant = Callable[[pytest.MonkeyPatch], None]


def nothing(*_: object, **__: object) -> None:
    """Do nothing, where something should be done."""


def delete_before_handling(patch: pytest.MonkeyPatch) -> None:
    note_received = Core._note_received

    def note_and_delete(self: Core, received: Received) -> None:
        note_received(self, received)
        for held in self._held_messages.describe(received.messages):
            self._settling.delete(held, self._now)

    patch.setattr(Core, "_note_received", note_and_delete)


def heartbeat_off(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "_extend", nothing)


def failed_entries_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Settling, "_try_again", nothing)


def group_goes_on_after_a_failure(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Endings, "_give_back_followers", nothing)


def group_goes_on_while_its_head_comes_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Endings, "pass_over_undeleted", nothing)


def group_goes_on_after_a_lost_lease(patch: pytest.MonkeyPatch) -> None:
    drop_expired = Endings.drop_expired

    def drop_alone(self: Endings, now: float) -> list[Held]:
        with pytest.MonkeyPatch.context() as within:
            within.setattr(self, "give_back_waiting", nothing)
            return drop_expired(self, now)

    patch.setattr(Endings, "drop_expired", drop_alone)


def waiting_messages_not_extended(patch: pytest.MonkeyPatch) -> None:
    def only_running(self: HeldMessages) -> Iterator[Held]:
        return chain(tuple(self.running.values()), tuple(self.dead_lettering.values()))

    patch.setattr(HeldMessages, "leased", only_running)


def drain_drops(patch: pytest.MonkeyPatch) -> None:
    stop = Stopping.stop

    def stop_and_drop(self: Stopping, now: float, *, at_once: bool) -> None:
        self._endings.give_back = nothing  # type: ignore[method-assign]
        stop(self, now, at_once=at_once)

    patch.setattr(Stopping, "stop", stop_and_drop)


def delete_with_a_stale_handle(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Settling, "_drop_expired", lambda self, several, now: several)


def dead_letter_after_delete(patch: pytest.MonkeyPatch) -> None:
    dead_letter = Endings.dead_letter

    def delete_first(self: Endings, held: Held, verdict: Verdict, now: float, problem: str = "") -> None:
        self.delete((held,), now)
        if self._inspection.dead_letter_queue_url:
            dead_letter(self, held, verdict, now, problem)

    patch.setattr(Endings, "dead_letter", delete_first)


def store_failure_taken_for_a_verdict(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("megaflow.consumer.core.store_outages.MOST_TRIES", 1)


def polls_on_without_its_store(patch: pytest.MonkeyPatch) -> None:
    poll = Core._poll

    def poll_all_the_same(self: Core, now: float) -> None:
        if self._outages.problem:
            self._polling.ask(now)
        else:
            poll(self, now)

    patch.setattr(Core, "_poll", poll_all_the_same)


def starts_on_without_its_store(patch: pytest.MonkeyPatch) -> None:
    handle_all = Core.handle_all

    def handle_and_start(self: Core, inputs: Iterable[Input], now: float) -> list[Action]:
        actions = handle_all(self, inputs, now)
        with pytest.MonkeyPatch.context() as within:
            # What is in line would go on before.
            within.setattr(self._turns, "give", nothing)
            self._start_handlers()
        return actions + self._actions.take()

    patch.setattr(Core, "handle_all", handle_and_start)


def messages_in_line_not_extended(patch: pytest.MonkeyPatch) -> None:
    def all_but_in_line(self: HeldMessages) -> Iterator[Held]:
        places = (place for place in self._places() if place is not self.in_line)
        return chain.from_iterable(tuple(place.values()) for place in places)

    patch.setattr(HeldMessages, "leased", all_but_in_line)


def group_goes_on_while_its_head_is_in_line(patch: pytest.MonkeyPatch) -> None:
    line_up = HeldMessages.line_up

    def line_up_and_free(self: HeldMessages, held: Held, batch_handler: Handler | None = None) -> None:
        line_up(self, held, batch_handler)
        self.free((held,))

    patch.setattr(HeldMessages, "line_up", line_up_and_free)


def turns_do_not_wait_for_calls_to_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MostCalls, "enter", nothing)


def tokens_come_back_too_soon(patch: pytest.MonkeyPatch) -> None:
    enter = TokenBucket.enter

    def enter_earlier(self: TokenBucket, now: float) -> None:
        enter(self, now - 0.1)

    patch.setattr(TokenBucket, "enter", enter_earlier)


def breaker_polls(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Circuits, "is_all_open", False)


def breaker_lets_all_try(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Circuit, "opens_at", -math.inf)


def pause_polls(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Polling, "pause", nothing)


def settled_before_its_batch(patch: pytest.MonkeyPatch) -> None:
    made = Core.__init__

    def make(self: Core, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **options)
        own = self._held_messages.line_up

        def line_up_here(held: Held, batch_handler: Handler | None = None) -> None:
            own(held, batch_handler)
            if batch_handler is not None:
                self._settling.delete(held, self._now)

        self._held_messages.line_up = line_up_here  # type: ignore[method-assign]

    patch.setattr(Core, "__init__", make)


def group_overtakes_in_line(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Groups, "is_next", lambda self, held: True)


@pytest.mark.long
@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (delete_before_handling, "deleted, and .* never finished it|deleted while a handler works on it"),
        (heartbeat_off, "lost a lease, and nothing was wrong|has not given back"),
        (failed_entries_ignored, "a delete that failed was not tried again"),
        (group_goes_on_after_a_failure, "overtakes .* of its group|of its group comes again elsewhere"),
        (group_goes_on_while_its_head_comes_again, "comes again elsewhere"),
        (group_goes_on_after_a_lost_lease, "overtakes .* of its group|comes again elsewhere"),
        (waiting_messages_not_extended, "lost a lease, and nothing was wrong|has not given back"),
        (drain_drops, "has not given back"),
        (delete_with_a_stale_handle, "with a receipt handle that is known to be stale"),
        (dead_letter_after_delete, "deleted before it was dead-lettered"),
        (store_failure_taken_for_a_verdict, "is called again instead of its store"),
        (polls_on_without_its_store, "polls, and its store is out"),
        (starts_on_without_its_store, "started by .*, and its store is out"),
        (messages_in_line_not_extended, "lost a lease, and nothing was wrong"),
        (group_goes_on_while_its_head_is_in_line, "overtakes .* of its group"),
        (turns_do_not_wait_for_calls_to_end, "more than [12] calls of .* at once"),
        (tokens_come_back_too_soon, "more than .*/[sm] calls of .* begin"),
        (breaker_polls, "polls, and the circuit breaker of the app is open"),
        (breaker_lets_all_try, "is called by .*, and its circuit breaker is open"),
        (pause_polls, "polls, and is paused"),
        (settled_before_its_batch, "deleted, and .* never finished it|deleted while a handler works on it"),
        (group_overtakes_in_line, "overtakes .* of its group"),
    ],
)
def test_a_planted_bug_is_found(plant: Plant, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    violations = (find_violation(seed) for seed in range(ENOUGH))
    first = next((violation for violation in violations if violation is not None), "nothing was violated")

    assert re.search(found, first)
