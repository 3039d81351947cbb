"""An exit in one group with an ordinary error counted as that error: FATAL, though an exit keeps the message."""

from __future__ import annotations

import asyncio

import pytest

from megaflow import Reject
from megaflow.handlers.router import Router
from megaflow.messages.message import open_message
from megaflow.processing.processor import Processor
from megaflow.processing.verdict import Fate, Verdict


def process(error: BaseException) -> Verdict:
    def fail(text: str) -> None:
        raise error

    router = Router()
    router.on_text()(fail)
    return Processor(router.handlers).process(open_message("ping", id="m"), lambda said: said)


@pytest.mark.parametrize("other", [ValueError(), Reject()], ids=repr)
def test_an_exit_keeps_the_message_whatever_comes_with_it(other: Exception) -> None:
    group = BaseExceptionGroup("", [SystemExit(3), other])

    verdict = process(group)

    assert verdict.fate is Fate.KEEP
    assert verdict.interruption is group


def test_a_group_of_cancellations_does_not_end_the_consumer() -> None:
    verdict = process(BaseExceptionGroup("", [asyncio.CancelledError(), ValueError()]))

    assert verdict.fate is Fate.KEEP
    assert verdict.interruption is None
