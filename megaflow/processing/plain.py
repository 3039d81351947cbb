"""Plain async handlers: no time limit, and nothing that is remembered; so each is awaited, and that is all."""

from __future__ import annotations

import inspect
import time
from types import CoroutineType

from megaflow import forks
from megaflow.handlers.handler import Handler
from megaflow.handlers.status import ProcessStatus
from megaflow.loops import is_being_cancelled, is_cancellation
from megaflow.messages.message import Message
from megaflow.processing.middleware import Call
from megaflow.processing.outcomes import OutcomeReader, make_outcome
from megaflow.processing.verdict import Outcome


async def await_plain(handler: Handler, message: Message, pipeline: Call, reader: OutcomeReader) -> Outcome:
    """Call an async handler in this event loop, as `arun_step` does with any; where it is cancelled, raise that."""
    began, generation, was_awaited = time.perf_counter(), forks.generation, False
    try:
        returned = pipeline(handler, message)
        if isinstance(returned, CoroutineType) or inspect.isawaitable(returned):
            was_awaited, returned = True, await returned
        if forks.generation != generation:
            forks.end_child(None)
        if returned is None and was_awaited:
            # Most messages end here: the reader would say the same, a little later.
            return make_outcome(handler, ProcessStatus.DONE, time.perf_counter() - began)
    except BaseException as error:
        if is_cancellation(error) and is_being_cancelled():
            raise
        if forks.generation != generation:
            forks.end_child(error)
        return reader.read(handler, None, error, time.perf_counter() - began)
    return reader.read(handler, returned, None, time.perf_counter() - began, was_awaited=was_awaited)
