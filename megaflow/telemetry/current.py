"""The message that is being handled here, for what runs on its behalf: handlers, their tasks, log lines, publishers.

It is held by the context of the message, which is its own, so that nothing takes it away at the end. Tasks, and threads
that are started with the context, see it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Final, TypeAlias

from megaflow.errors import EncodeError, UsageError
from megaflow.logs import get_logger
from megaflow.messages.attributes import Attribute, AttributeInput, is_exact_for_aws, read_attributes
from megaflow.messages.message import Message
from megaflow.telemetry.propagation import Propagation, check_names

log = get_logger(__name__)

Given: TypeAlias = Mapping[str, Attribute]
"""What `context` gives besides what the message has."""

Current: TypeAlias = tuple[Message | None, str, Propagation, Given]
"""The message, the name of its handler that runs, what of it is propagated, and what else was given meanwhile.

A plain tuple, as one is made for every call of a handler.
"""

NOTHING_GIVEN: Final[Given] = MappingProxyType({})

current: Final[ContextVar[Current]] = ContextVar("megaflow", default=(None, "", Propagation(), NOTHING_GIVEN))


def current_message() -> Message | None:
    """Return the message that is being handled here, as its handler gets it; None where there is none.

    Handlers, their middleware and what is provided for them see it, and so do the tasks that they start, and the
    threads that are started with their context, as those of `asyncio.to_thread` are.
    """
    return current.get()[0]


def context(attributes: Mapping[str, AttributeInput]) -> AbstractContextManager[None]:
    """Give *attributes* within a ``with``, in a web request for instance, in place of those of a message.

    What `App.propagate` names of them goes out with what is published there, and all of them are in the log. Within
    another ``with`` they are added to what was given there; a message that is handled there has its own alone. Raises
    `EncodeError` for what AWS would refuse.
    """
    if not isinstance(attributes, Mapping):
        raise UsageError(
            f"context() takes names and values, as in context({{'x-request-id': '…'}}), not {attributes!r}"
        )
    check_names(attributes)
    return _giving(read_attributes(attributes, "context"))


@contextmanager
def _giving(attributes: Given) -> Iterator[None]:
    before = current.get()
    message, handler, propagation, given = before
    current.set((message, handler, propagation, {**given, **attributes}))
    try:
        yield
    finally:
        # Not by a token: what frameworks enter in one task, they may leave in another.
        current.set(before)


def find_attributes(names: Iterable[str]) -> dict[str, Attribute]:
    """Return which of *names* were given here, or else came with the message in hand, in their order."""
    message, _, _, given = current.get()
    found = ((name, given.get(name) or _read_received(message, name)) for name in names)
    return {name: each for name, each in found if each is not None}


def _read_received(message: Message | None, name: str) -> Attribute | None:
    """Return an attribute that AWS has taken; None for what it cannot have, as in an envelope that somebody made up."""
    if message is None or name not in message.attributes:
        return None
    if message.sns is None and name in message.sqs_attributes:
        return message.sqs_attributes[name]
    value = message.attributes[name]
    try:
        if isinstance(value, int | Decimal) and not is_exact_for_aws(value):
            raise EncodeError("is a number beyond those of AWS", name)
        return read_attributes({name: value}, "attributes")[name]
    except EncodeError:
        _tell_refused(name)
        return None


@cache
def _tell_refused(name: str) -> None:
    log.warning("the attribute %s came with a value that AWS takes from nobody, and does not go on; said once", name)
