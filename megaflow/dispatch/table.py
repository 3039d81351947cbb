"""The dispatch table: built once from the handlers, immutable, asked for every message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from megaflow.dispatch.buckets import Positions
from megaflow.dispatch.fields import DATA_FIELDS, EVENT_FIELDS, MISSING, PLAIN_FIELDS, PayloadFields, read_path
from megaflow.dispatch.index import USUAL_SIZES, Index, Sizes
from megaflow.dispatch.normal import Normaliser, Rule
from megaflow.event import Payload
from megaflow.handlers.handler import Handler
from megaflow.messages.codec import Kind
from megaflow.messages.message import Message, message_with

AskFunctions: TypeAlias = Callable[[Any, Message | None], bool]
"""Asks a user's functions about a payload, and the message it comes in. May raise anything."""


class Selection(NamedTuple):
    """The handlers of one message, in order of registration, and those whose user's function raised."""

    matched: tuple[Handler, ...]
    raised: Mapping[Handler, Exception]


Select: TypeAlias = Callable[[Any, Message | None], Selection]
"""Selects the handlers for a payload of one kind, and asks those that want it about its message."""


class DispatchTable:
    """Which handlers a message reaches. Immutable: may be asked from any thread."""

    def __init__(self, handlers: Sequence[Handler], sizes: Sizes = USUAL_SIZES) -> None:
        self.handlers: Final = tuple(handlers)
        normaliser = Normaliser()
        rules = [normaliser.normalise(position, handler) for position, handler in enumerate(self.handlers)]
        self._unfiled: dict[int, Rule] = {}
        self._select: Final = {kind: self._build(rules, kind, sizes) for kind in _KINDS.values()}
        # Without a message only those that ask about nothing else can be asked.
        asks_about_messages = any(rule.functions for rule in rules if rule.handler.kind is Kind.ANY)
        self._select_payload: Final = (
            {} if asks_about_messages else {type_: self._select[kind] for type_, kind in _KINDS.items()}
        )

    def select(self, message: Message) -> Selection:
        """Return the handlers that *message* reaches. Never raises for what a user's function raises."""
        if message.sns is not None and not message.has_payload:
            return Selection((), {})
        return self._select[message.kind](message.payload, message)

    def handlers_for(self, payload: object) -> tuple[Handler, ...]:
        """Return the handlers that match *payload*, given as a handler would get it or as a `Message`."""
        select = self._select_payload.get(type(payload))
        return self.select(message_with(payload)).matched if select is None else select(payload, None).matched

    @property
    def unindexed(self) -> tuple[tuple[Handler, str], ...]:
        """The handlers that are asked about every payload of their kind, each with the reason."""
        rules = [self._unfiled[position] for position in sorted(self._unfiled)]
        return tuple((rule.handler, _explain_unfiled(rule)) for rule in rules if not rule.handler.matches_everything)

    def _build(self, rules: Sequence[Rule], kind: Kind, sizes: Sizes) -> Select:
        """Return what selects the handlers for payloads of one kind."""
        fields = _FIELDS.get(kind, PLAIN_FIELDS)
        own = [rule for rule in rules if rule.handler.kind is kind]
        every = [rule for rule in rules if rule.handler.kind is Kind.ANY]
        index = Index(own, fields, sizes)
        self._unfiled |= {rule.position: rule for rule in (*index.unfiled, *every)}
        asks = {rule.position: _ask(rule, fields) for rule in own if rule.functions}
        asks |= {rule.position: _ask_about_message(rule) for rule in every if rule.functions}
        return _select_from(index, [rule.position for rule in every], self.handlers, asks)


_FIELDS: Final[Mapping[Kind, PayloadFields]] = {Kind.MEGA: EVENT_FIELDS, Kind.DATA: DATA_FIELDS}
_KINDS: Final[Mapping[type, Kind]] = {Payload: Kind.MEGA, dict: Kind.DATA, str: Kind.TEXT, bytes: Kind.BINARY}


def _select_from(
    index: Index, every: Sequence[int], handlers: Sequence[Handler], asks: Mapping[int, AskFunctions]
) -> Select:
    """Return what selects those of *handlers* that *index* finds, and *every* one at the positions of that name.

    What *asks* users' functions comes last, once for each handler.
    """
    collect, repeats = index.collect, index.repeats

    def select(payload: Any, message: Message | None) -> Selection:
        found: Positions = []
        collect(payload, found)
        if every:
            found += every
        if len(found) > 1:
            if repeats:
                found = list(set(found))
            found.sort()
        if asks:
            return ask(found, payload, message)
        return Selection(tuple([handlers[position] for position in found]), _NOTHING)

    def ask(found: Positions, payload: Any, message: Message | None) -> Selection:
        matched, raised = [], {}
        for position in found:
            says_yes, handler = asks.get(position), handlers[position]
            try:
                if says_yes is None or says_yes(payload, message):
                    matched.append(handler)
            except Exception as error:  # noqa: BLE001 - a user's function raises whatever it likes
                raised[handler] = error
        return Selection(tuple(matched), raised)

    return select


_NOTHING: Final[Mapping[Handler, Exception]] = MappingProxyType({})


def _ask(rule: Rule, fields: PayloadFields) -> AskFunctions:
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


def _ask_about_message(rule: Rule) -> AskFunctions:
    tests = [each.condition.compile() for each in rule.functions]
    return lambda payload, message: all(test(message) for test in tests)


def _explain_unfiled(rule: Rule) -> str:
    if rule.handler.kind is Kind.ANY:
        return "its function is asked about the whole message"
    asked = ", ".join(dict.fromkeys(repr(clause.condition) for clause in rule.functions or rule.clauses))
    return f"{asked} can only be asked: nothing in the pattern says what a value equals, starts with or lies between"
