"""Messages that go straight to a batch: which ones, and that they come to what any message comes to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from megaflow import App, CircuitBreaker, Lease, MemoryStore, ProcessStatus
from megaflow.app import parts_of
from megaflow.dispatch.table import Selection
from megaflow.messages.message import Message, open_message
from megaflow.processing.batches import NEXT_BATCH
from megaflow.processing.processor import Processor
from megaflow.processing.steps import BatchTurn, HandlerCall, Result, Step, Steps, lease_lost
from megaflow.processing.straight import StraightToBatch
from megaflow.processing.verdict import Outcome, Verdict
from megaflow.testing import TestClient
from tests.telemetry.spans import attributes_of, recording


def make_message(*, is_lost: bool = False) -> Message:
    return open_message("ping", id="1", lease=Lease("handle", 0.0, 0.0 if is_lost else 30.0, lambda: 1.0))


def make_processor(app: App | None = None, **options: object) -> Processor:
    app = app or App()
    app.on_text(batch_size=5, **options)(lambda texts: None)  # type: ignore[arg-type]
    return parts_of(app).processor


def test_a_message_for_one_batch_handler_goes_straight_there() -> None:
    assert isinstance(make_processor().steps(make_message()), StraightToBatch)


def test_a_message_does_not_where_another_handler_gets_it() -> None:
    app = App()
    app.on_text()(lambda text: None)

    assert not isinstance(make_processor(app).steps(make_message()), StraightToBatch)


def test_a_message_does_not_where_something_is_remembered_of_it() -> None:
    assert not isinstance(make_processor(App(progress=MemoryStore())).steps(make_message()), StraightToBatch)


def test_a_message_does_not_where_it_may_be_for_another_try() -> None:
    processor = make_processor(breaker=CircuitBreaker(failures=1, seconds=1.0, on=(ConnectionError,)))

    assert not isinstance(processor.steps(make_message()), StraightToBatch)


def test_a_message_whose_lease_is_lost_is_kept_without_a_batch() -> None:
    step = make_processor().steps(make_message(is_lost=True)).step

    assert isinstance(step, Verdict)
    assert step.keeps


def test_where_there_are_traces_it_has_its_span() -> None:
    app = App()
    app.on_text(batch_size=2)(lambda texts: None)

    with recording() as spans, TestClient(app) as client:
        client.publish_batch(["a", "b"])

        assert [attributes_of(span)["megaflow.fate"] for span in spans.named("process")] == ["deleted"] * 2


DONE, FATAL = ProcessStatus.DONE, ProcessStatus.FATAL_ERROR
ENDS: Sequence[Sequence[object]] = [
    [DONE],
    [FATAL],
    [ValueError("no")],
    [NEXT_BATCH, DONE],
    [NEXT_BATCH, NEXT_BATCH, ValueError("no")],
    [NEXT_BATCH, None, DONE],
    [None, DONE],
    [None, FATAL],
    [lease_lost()],
    [NEXT_BATCH, lease_lost()],
]


@pytest.mark.parametrize("ends", ENDS)
def test_it_comes_to_what_any_message_comes_to(ends: Sequence[object]) -> None:
    processor, message = make_processor(), make_message()
    (handler,) = processor.table.handlers
    any_message = Steps(processor._give_steps(message, Selection((handler,), {}), None))

    found, expected = take_all(processor.steps(message), ends), take_all(any_message, ends)

    assert list(map(str, found)) == list(map(str, expected))
    assert isinstance(found[-1], Verdict)


def take_all(steps: Steps, ends: Sequence[object]) -> list[Step | Verdict]:
    """Let each step end as *ends* say; return all steps."""
    taken = [steps.step]
    for said in ends:
        if isinstance(steps.step, BatchTurn):
            taken.append(steps.take(come_to(steps.step, said)))
        else:
            assert isinstance(steps.step, HandlerCall)
            taken.append(steps.take(Result(said)))
    return [each for each in taken if not isinstance(each, HandlerCall)]


def come_to(turn: BatchTurn, said: object) -> Result:
    if isinstance(said, ProcessStatus):
        return Result(Outcome(turn.handler, said))
    if isinstance(said, ValueError):
        return Result(Outcome(turn.handler, FATAL, said))
    return Result(error=said) if isinstance(said, Exception) else Result(said)
