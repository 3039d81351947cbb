from __future__ import annotations

import gc
import linecache
import sys

from megaflow.dispatch.index import Sizes
from megaflow.dispatch.table import DispatchTable
from megaflow.handlers.handler import Handler
from megaflow.handlers.router import Router
from megaflow.match.functions import gt, not_, one_of, prefix, search
from tests.matching import handle


def build_handlers() -> tuple[Handler, ...]:
    router = Router()
    for number in range(6):
        router.on_event(name=f"event-{number % 4}", version=one_of(1, 2), attributes={"a": gt(number), "b": not_("x")})(
            handle
        )
        router.on_data({"a": {"b": prefix(str(number))}, "c": search(f"{number}$"), "d": lambda left: True})(handle)
        router.on_text(f"text-{number}")(handle)
    return router.handlers


def count_blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


def count_generated_sources() -> int:
    """Count what tracebacks find without a file; those of other threads may add real files at any time."""
    return sum(name.startswith("<") for name in linecache.cache)


def test_a_thousand_tables_that_are_dropped_leave_nothing_behind() -> None:
    handlers, sizes = build_handlers(), Sizes(small=2, large=2)
    for _ in range(50):
        DispatchTable(handlers, sizes)
    before, lines = count_blocks(), count_generated_sources()

    for _ in range(1_000):
        DispatchTable(handlers, sizes)

    assert count_blocks() - before < 500
    assert count_generated_sources() == lines
