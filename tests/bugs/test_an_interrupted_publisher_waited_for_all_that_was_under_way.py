"""A second Ctrl-C ended the wait for one batch, and then waited for all others under way: minutes if slow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from megaflow import Outgoing
from megaflow.publishing.batches import BatchSender, EntryAnswer, send_all
from megaflow.publishing.outgoing import Prepared, prepare
from megaflow.wire.pending import Pending

UNDER_WAY: Any = object()
"""What was sent, in place of a request."""


class Interrupted:
    """A client whose calls are all under way when somebody presses Ctrl-C."""

    def __init__(self, error: type[BaseException]) -> None:
        self.begun = self.waited_for = 0
        self._error = error

    def __call__(self, batch: Sequence[Prepared], until: float) -> Pending[list[EntryAnswer]]:
        self.begun += 1
        return Pending(self._answer, UNDER_WAY)

    def _answer(self) -> list[EntryAnswer]:
        self.waited_for += 1
        raise self._error


def messages() -> Iterator[Prepared]:
    for index in range(40):
        yield prepare(Outgoing({"n": index}), max_size=10_000, index=index)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_is_interrupted_waits_for_nothing_more(error: type[BaseException]) -> None:
    client = Interrupted(error)

    with pytest.raises(error):
        list(send_all(messages(), BatchSender(client, fifo=False, ahead=True), max_size=10_000, in_flight=4))

    assert (client.begun, client.waited_for) == (4, 1)
