"""One seed: whether a rule is violated, and what happened on that day, for people."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from tests.simulation.ledger import Violation
from tests.simulation.world import World

_ID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f-]{27}\b")
_HANDLE = re.compile(r"receipt_handle='[^']*'|, sqs_attributes=\{[^}]*\}|body='[^']*', kind=<[^>]*>, ")


def find_violation(seed: int) -> str | None:
    """Return which rule does not hold on the day of *seed*; None where all do."""
    logging.disable(logging.CRITICAL)
    try:
        World(seed).run()
    except Violation as violation:
        return str(violation)
    finally:
        logging.disable(logging.NOTSET)
    return None


def tell(seed: int) -> str:
    """Return what happened on the day of *seed*, one line each, and last what was violated."""
    history: list[tuple[float, str, str, object]] = []
    logging.disable(logging.CRITICAL)
    world = World(seed, history)
    begin = world.clock.now
    try:
        world.run()
        end = "nothing was violated"
    except Violation as violation:
        end = f"violated: {violation}"
    finally:
        logging.disable(logging.NOTSET)
    return "\n".join([f"seed {seed}: {end}", *_lines(history, begin), _shorten(end)])


def _lines(history: list[tuple[float, str, str, object]], begin: float) -> Iterator[str]:
    for now, who, does, what in history:
        yield f"{now - begin:10.3f}  {who} {does} {_shorten(str(what))}"


def _shorten(text: str) -> str:
    return _HANDLE.sub("", _ID.sub(r"\1", text))[:400]
