"""A store of one's own gives what no store gives: the message was said to have crashed, or was handled all the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from megaflow import App, Claim, Ended, MemoryStore, ProcessStatus, StoreError


class OwnStore(MemoryStore):
    """A store that gives what its database has."""

    def __init__(self, loaded: Any = None, claimed: Any = Claim.TAKEN) -> None:
        super().__init__()
        self.loaded, self.claimed = loaded, claimed

    def load(self, work: str) -> Mapping[str, Ended]:
        return self.loaded  # type: ignore[no-any-return]

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        return self.claimed  # type: ignore[no-any-return]


@pytest.mark.parametrize("loaded", [None, [], "", {"h": "done"}, {"h": None}, {"h": ProcessStatus.DONE}])
def test_progress_is_how_handlers_ended(loaded: object) -> None:
    called: list[str] = []
    app = App(progress=OwnStore(loaded=loaded))
    app.on_text(handler_name="h")(called.append)

    (outcome,) = app.process("x").outcomes

    assert outcome.status is ProcessStatus.RETRIABLE_ERROR
    assert isinstance(outcome.error, StoreError)
    assert "the store could not load progress: load() returned" in str(outcome.error)
    assert called == []


@pytest.mark.parametrize("claimed", [None, True, False, "taken", 1])
def test_a_claim_is_a_claim(claimed: object) -> None:
    called: list[str] = []
    app = App(idempotency=OwnStore(claimed=claimed))
    app.on_text(handler_name="h", idempotency_key=lambda text: text)(called.append)

    (outcome,) = app.process("x").outcomes

    assert outcome.status is ProcessStatus.RETRIABLE_ERROR
    assert isinstance(outcome.error, StoreError)
    assert "the store could not claim a key: claim() returned" in str(outcome.error)
    assert called == []
