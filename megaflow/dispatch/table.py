"""The dispatch table: built once from the handlers, immutable, asked for every message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from megaflow.codec import Kind
from megaflow.dispatch.buckets import Found
from megaflow.dispatch.fields import DATA_FIELDS, EVENT_FIELDS, MISSING, PLAIN_FIELDS, Fields, read_path
from megaflow.dispatch.index import USUAL_SIZES, Index, Sizes
from megaflow.dispatch.normal import Normaliser, Rule
from megaflow.event import Payload
from megaflow.message import Message, message_with
from megaflow.router import Handler

_MESSAGE_KINDS: Final = (Kind.MEGA, Kind.DATA, Kind.TEXT, Kind.BINARY)

Ask: TypeAlias = Callable[[Any, Message | None], bool]
"""Asks a user's functions about a payload, and the message it comes in. May raise anything."""


class Selection(NamedTuple):
    """The handlers of one message, in order of registration, and those whose user's function raised."""

    matched: tuple[Handler, ...]
    raised: Mapping[Handler, Exception]


class DispatchTable:
    """Which handlers a message reaches. Immutable: may be asked from any thread."""

    def __init__(self, handlers: Sequence[Handler], sizes: Sizes = USUAL_SIZES) -> None:
        self.handlers: Final = tuple(handlers)
        normaliser = Normaliser()
        rules = [normaliser.normalise(position, handler) for position, handler in enumerate(self.handlers)]
        self._by_kind: Final = {kind: _KindTable(self.handlers, rules, kind, sizes) for kind in _MESSAGE_KINDS}
        self._by_type: Final = {type_: self._by_kind[kind] for type_, kind in _KINDS.items()}

    def select(self, message: Message) -> Selection:
        """Return the handlers that *message* reaches. Never raises for what a user's function raises."""
        if message.sns is not None and not message.has_payload:
            return Selection((), {})
        raised: dict[Handler, Exception] = {}
        return Selection(self._by_kind[message.kind].match(message.payload, message, raised), raised)

    def handlers_for(self, payload: object) -> tuple[Handler, ...]:
        """Return the handlers that match *payload*, given as a handler would get it or as a `Message`."""
        table = self._by_type.get(type(payload))
        if table is None or table.asks_about_messages:
            return self.select(message_with(payload)).matched
        return table.match(payload, None, {})

    @property
    def unindexed(self) -> tuple[tuple[Handler, str], ...]:
        """The handlers that are asked about every payload of their kind, each with the reason."""
        rules = {rule.position: rule for table in self._by_kind.values() for rule in table.unfiled}
        return tuple((rules[position].handler, _explain_unfiled(rules[position])) for position in sorted(rules))


_FIELDS: Final[Mapping[Kind, Fields]] = {Kind.MEGA: EVENT_FIELDS, Kind.DATA: DATA_FIELDS}
_KINDS: Final[Mapping[type, Kind]] = {Payload: Kind.MEGA, dict: Kind.DATA, str: Kind.TEXT, bytes: Kind.BINARY}


class _KindTable:
    """The handlers for payloads of one kind."""

    def __init__(self, handlers: Sequence[Handler], rules: Sequence[Rule], kind: Kind, sizes: Sizes) -> None:
        fields = _FIELDS.get(kind, PLAIN_FIELDS)
        own = [rule for rule in rules if rule.handler.kind is kind]
        every = [rule for rule in rules if rule.handler.kind is Kind.ANY]
        index = Index(own, fields, sizes)
        self._handlers = handlers
        self._collect = index.collect
        self._repeats = index.repeats
        self._every = [rule.position for rule in every]
        self._asks = {rule.position: _ask(rule, fields) for rule in own if rule.functions}
        self._asks |= {rule.position: _ask_about_message(rule) for rule in every if rule.functions}
        self.asks_about_messages: Final = any(rule.functions for rule in every)
        self.unfiled: Final = [rule for rule in (*index.unfiled, *every) if not rule.handler.matches_everything]

    def match(self, payload: Any, message: Message | None, raised: dict[Handler, Exception]) -> tuple[Handler, ...]:
        """Return the handlers for *payload*, and add those that cannot be told to *raised*.

        The *message* it came in is needed where handlers ask about that.
        """
        found: Found = []
        self._collect(payload, found)
        if self._every:
            found += self._every
        if len(found) > 1:
            if self._repeats:
                found = list(set(found))
            found.sort()
        handlers = self._handlers
        if not self._asks:
            return tuple([handlers[position] for position in found])
        return tuple([handlers[position] for position in found if self._says_yes(position, payload, message, raised)])

    def _says_yes(self, position: int, payload: Any, message: Message | None, raised: dict[Handler, Exception]) -> bool:
        """Ask the functions of a handler of which everything else holds."""
        ask = self._asks.get(position)
        try:
            return ask is None or ask(payload, message)
        except Exception as error:  # noqa: BLE001 - a user's function raises whatever it likes
            raised[self._handlers[position]] = error
            return False


def _ask(rule: Rule, fields: Fields) -> Ask:
    """Return what asks the functions of *rule*, where all its clauses hold, and stops at the first that says no."""
    steps = [(read_path(each.path, fields), each.condition.compile()) for each in rule.functions]

    def ask(payload: Any, message: Message | None) -> bool:
        for read, test in steps:
            value = read(payload)
            # What is missing was allowed to be, or the clauses would not hold.
            if value is not MISSING and not test(value):
                return False
        return True

    return ask


def _ask_about_message(rule: Rule) -> Ask:
    tests = [each.condition.compile() for each in rule.functions]
    return lambda payload, message: all(test(message) for test in tests)


def _explain_unfiled(rule: Rule) -> str:
    if rule.handler.kind is Kind.ANY:
        return "its function is asked about the whole message"
    asked = ", ".join(dict.fromkeys(repr(clause.condition) for clause in rule.functions or rule.clauses))
    return f"{asked} can only be asked: nothing in the pattern says what a value equals, starts with or lies between"
