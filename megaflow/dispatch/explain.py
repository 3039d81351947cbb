"""`App.explain`: for each handler, whether it matched, and which conditions failed."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from megaflow.dispatch.fields import see
from megaflow.dispatch.table import DispatchTable
from megaflow.event import PROTOCOL
from megaflow.handlers.handler import Handler
from megaflow.match.conditions import AllOf, Condition, assume
from megaflow.match.containers import Fields
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message

NOTHING: Final = "nothing"

_NAMES: Final[Mapping[Kind, str]] = {
    Kind.MEGA: "a MEGA event",
    Kind.DATA: "a data object (JSON or BSON)",
    Kind.TEXT: "text",
    Kind.BINARY: "bytes",
    Kind.ANY: "a message with a payload",
}
"""What messages of each kind are, and handlers of it take."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One condition that did not hold, or raised."""

    path: str
    """Where in the payload: ``event.attributes.quantity``; ``""`` is the payload itself."""

    wanted: str
    """The condition, as it is written: ``gt(0)``."""

    found: str
    """The value that is there, shortened; ``nothing`` where the key is missing."""

    raised: Exception | None = None
    """What a function of yours raised."""

    def __str__(self) -> str:
        """Say it in one line: ``event.attributes.quantity: wanted gt(0), found 0``."""
        said = f"wanted {self.wanted}, found {self.found}"
        if self.raised is not None:
            said = f"{self.wanted} raised {type(self.raised).__name__}: {self.raised}"
        return f"{self.path}: {said}" if self.path else said


@dataclass(frozen=True, slots=True)
class HandlerExplanation:
    """Whether one handler matched, and why not. ``print`` shows it."""

    handler: Handler
    """The handler."""

    matched: bool
    """Whether the message reaches it."""

    failures: tuple[Failure, ...] = ()
    """Every condition that did not hold."""

    not_evaluated: tuple[str, ...] = ()
    """Functions of yours that were not called, by path: they are called only where everything else holds."""

    def __str__(self) -> str:
        """Name the handler and where it stands, with a line for each failure."""
        mark = "matched" if self.matched else "not matched"
        lines = [f"{self.handler.name}: {mark}  ({self.handler.where})"]
        lines += [f"    {failure}" for failure in self.failures]
        lines += [f"    {each}: not evaluated" for each in self.not_evaluated]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which handlers a message reaches, and why not the others, as `App.explain` returns it. ``print`` shows it."""

    message: Message
    """The message that you asked about."""

    handlers: tuple[HandlerExplanation, ...]
    """A `HandlerExplanation` for each handler, in order of registration. Iterating gives them as well."""

    def __iter__(self) -> Iterator[HandlerExplanation]:
        """Go through the handlers."""
        return iter(self.handlers)

    def __str__(self) -> str:
        """Give a line for the message and some for each handler."""
        message = self.message
        heading = f"a message of kind {message.kind.value}"
        if not message.has_payload:
            heading = f"no payload, but a {message.sns.type if message.sns else 'message'}, which reaches no handler"
        elif message.problem:
            heading += f", {message.problem}"
        if message.pointer is not None:
            heading += f", whose payload was at {message.pointer}"
        return "\n".join([heading, *map(str, self.handlers)])


def explain(table: DispatchTable, message: Message) -> Explanation:
    """Say for every handler of *table* whether *message* reaches it, and otherwise why not."""
    left = see(message.payload)
    return Explanation(message, tuple(_explain_handler(handler, message, left) for handler in table.handlers))


def _explain_handler(handler: Handler, message: Message, left: Any) -> HandlerExplanation:
    if not message.has_payload or handler.kind not in (message.kind, Kind.ANY):
        failure = Failure("", _NAMES[handler.kind], _name_found(handler, message))
        return HandlerExplanation(handler, False, (failure,), _name_functions(handler.pattern))
    if handler.kind is Kind.ANY:
        left = message
    condition = handler.pattern
    failures = tuple(_find_failures(assume(condition, True), left, ""))
    if failures:
        return HandlerExplanation(handler, False, failures, _name_functions(condition))
    return _ask_functions(handler, left)


def _name_found(handler: Handler, message: Message) -> str:
    """Return in plain words what *message* is, with what makes it no event where one is wanted."""
    if not message.has_payload:
        return "no payload"
    if message.kind is Kind.DATA and handler.kind is Kind.MEGA and not message.problem:
        return f'{_NAMES[message.kind]} whose "protocol" is not "{PROTOCOL}"'
    return f"{_NAMES[message.kind]}, {message.problem}" if message.problem else _NAMES[message.kind]


def _find_failures(condition: Condition, left: Any, path: str) -> Iterator[Failure]:
    """Go down to the smallest conditions that do not hold; none of them asks a function."""
    if isinstance(condition, Fields) and isinstance(left, dict):
        for key, part in zip(condition.keys, condition.parts, strict=True):
            below = f"{path}.{key}" if path else key
            if key in left:
                yield from _find_failures(part, left[key], below)
            elif not part.matches_missing:
                yield Failure(below, repr(part), NOTHING)
    elif isinstance(condition, AllOf) and not condition.written:
        for part in condition.parts:
            yield from _find_failures(part, left, path)
    elif not condition.compile()(left):
        yield Failure(path, repr(condition), _show(left))


def _ask_functions(handler: Handler, left: Any) -> HandlerExplanation:
    """Ask the functions in the table's order, and stop where the table would."""
    asked = list(_find_functions(handler.pattern, left, ""))
    for position, (path, condition, value) in enumerate(asked, start=1):
        try:
            if condition.compile()(value):
                continue
            failure = Failure(path, repr(condition), _show(value))
        except Exception as error:  # noqa: BLE001 - a user's function raises whatever it likes
            failure = Failure(path, repr(condition), _show(value), error)
        rest = tuple(_place(path, condition) for path, condition, _ in asked[position:])
        return HandlerExplanation(handler, False, (failure,), rest)
    return HandlerExplanation(handler, True)


def _find_functions(condition: Condition, left: Any, path: str) -> Iterator[tuple[str, Condition, Any]]:
    """Go down to the smallest conditions that ask a function, where everything else holds."""
    if not condition.asks_functions:
        return
    if isinstance(condition, Fields):
        for key, part in zip(condition.keys, condition.parts, strict=True):
            if key in left:
                yield from _find_functions(part, left[key], f"{path}.{key}" if path else key)
    elif isinstance(condition, AllOf):
        for part in condition.parts:
            yield from _find_functions(part, left, path)
    else:
        yield path, condition, left


def _name_functions(condition: Condition, path: str = "") -> tuple[str, ...]:
    if not condition.asks_functions:
        return ()
    if isinstance(condition, Fields):
        pairs = zip(condition.keys, condition.parts, strict=True)
        return tuple(name for key, part in pairs for name in _name_functions(part, f"{path}.{key}" if path else key))
    if isinstance(condition, AllOf):
        return tuple(name for part in condition.parts for name in _name_functions(part, path))
    return (_place(path, condition),)


def _place(path: str, condition: Condition) -> str:
    return f"{path}: {condition!r}" if path else repr(condition)


def _show(value: object) -> str:
    if isinstance(value, Message):
        return "a message"
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return f"a value of type {type(value).__qualname__}"


_SHORT: Final = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlevel = 3
