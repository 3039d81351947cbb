"""The dispatch table, its slow twin and explain agree, whatever the patterns and the payload."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from megaflow.dispatch import lookups
from megaflow.dispatch.explain import explain
from megaflow.dispatch.index import Sizes
from megaflow.dispatch.probes import How
from megaflow.dispatch.table import DispatchTable
from megaflow.event import Event, ObjectData, Payload
from megaflow.handlers.handler import Handler
from megaflow.handlers.router import Router
from megaflow.match.functions import or_
from megaflow.match.re2_sets import is_available
from megaflow.messages.message import message_with
from tests.examples import examples
from tests.linear_twin import LinearTable
from tests.matching import fail, handle
from tests.pattern_strategies import (
    moments,
    object_patterns,
    objects,
    patterns_with_functions,
    payloads,
    scalar_payloads,
    simple_patterns,
    text,
    values,
)
from tests.reference_matcher import USERS, Ask, build, holds

USUAL = Sizes()
EVERYTHING_FILED = Sizes(small=0, large=0)
"""Sizes for which even a few handlers are filed, and share their conditions."""

Register = Callable[[Router], None]

_versions = st.integers(1, 3)
_names = st.none() | text
events = st.builds(
    Payload,
    event=st.builds(
        Event,
        name=text,
        timestamp=moments.filter(lambda moment: hasattr(moment, "hour")),
        version=_versions,
        domain=_names,
        subject=_names,
        publisher=_names,
        attributes=objects,
    ),
    object=st.none()
    | st.builds(ObjectData, type=_names, id=_names, version=_versions, current=objects, previous=st.none() | objects),
    extra=objects,
)
_rules = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("name", "timestamp", "extra"), patterns_with_functions),
        **{name: st.none() | patterns_with_functions for name in ("domain", "subject", "object_type")},
        **{name: st.none() | _versions | patterns_with_functions for name in ("version", "object_version")},
        **dict.fromkeys(("attributes", "current_object", "previous_object"), object_patterns),
    },
)


def users(name: str) -> Callable[[Any], Any]:
    """Give the functions of the reference, and one of them that raises."""
    return fail if name == "never" else USERS[name]


def _on_event(rules: Mapping[str, Any]) -> Register:
    built = {name: build(pattern, users) for name, pattern in rules.items()}
    return lambda router: _discard(router.on_event(**built)(handle))


def _on_data(pattern: Any) -> Register:
    return lambda router: _discard(router.on_data(build(pattern, users))(handle))


def _on_text(pattern: Any) -> Register:
    return lambda router: _discard(router.on_text(build(pattern, users))(handle))


def _discard(_: object) -> None:
    """Registering returns the function, which nobody needs here."""


def _on_message(name: str) -> Register:
    function = users(name)
    return lambda router: _discard(router.on_message(lambda message: function(message.payload))(handle))


registrations = st.lists(
    st.one_of(
        object_patterns.map(_on_data),
        object_patterns.map(lambda pattern: _on_data(Ask("or_", (pattern, {"a": pattern})))),
        _rules.map(_on_event),
        patterns_with_functions.filter(lambda pattern: pattern is not None).map(_on_text),
        st.sampled_from(sorted(USERS)).map(_on_message),
    ),
    max_size=14,
)
_repeating = objects.map(lambda drawn: {key: [value, value] for key, value in drawn.items()})
anything = objects | _repeating | events | text | st.binary(max_size=3)


def register(registered: Sequence[Register]) -> tuple[Handler, ...]:
    router = Router()
    for each in registered:
        each(router)
    return router.handlers


def disagreement(handlers: Sequence[Handler], payload: object, sizes: Sizes) -> str:
    """Return what the table, its twin and explain find different; ``""`` where they agree."""
    message = message_with(payload)
    table = DispatchTable(handlers, sizes)
    found, expected, explained = table.select(message), LinearTable(handlers).select(message), explain(table, message)
    raised = {each.handler for each in explained if any(failure.raised for failure in each.failures)}
    checks: dict[str, tuple[object, object]] = {
        "matched": (found.matched, expected.matched),
        "raised": (list(found.raised), list(expected.raised)),
        "explain matched": (tuple(each.handler for each in explained if each.matched), expected.matched),
        "explain raised": (raised, set(expected.raised)),
        "handlers_for": (table.handlers_for(payload), expected.matched),
    }
    return ", ".join(name for name, (one, other) in checks.items() if one != other)


@pytest.mark.parametrize("sizes", [USUAL, EVERYTHING_FILED], ids=["usual", "everything filed"])
@settings(max_examples=examples(200))
@given(registered=registrations, payload=anything)
def test_the_table_its_twin_and_explain_agree(registered: list[Register], payload: Any, sizes: Sizes) -> None:
    handlers = register(registered)

    assert disagreement(handlers, payload, sizes) == ""


@settings(max_examples=examples(200))
@given(patterns=st.lists(object_patterns, min_size=1, max_size=12), payload=objects)
def test_the_table_says_what_the_tables_of_the_specification_say(patterns: list[Any], payload: Any) -> None:
    router = Router()
    for pattern in patterns:
        router.on_data(build(pattern))(handle)

    matched = DispatchTable(router.handlers, EVERYTHING_FILED).handlers_for(payload)

    expected = [holds(pattern, payload) for pattern in patterns]
    assert matched == tuple(each for each, is_held in zip(router.handlers, expected, strict=True) if is_held)


@settings(max_examples=examples(100))
@given(patterns=st.lists(object_patterns, min_size=6, max_size=8), several=st.lists(objects, min_size=1, max_size=5))
def test_many_handlers_agree_with_the_twin(patterns: list[Any], several: list[Any]) -> None:
    handlers = register([_on_data(one | other) for one in patterns for other in patterns])
    table, twin = DispatchTable(handlers), LinearTable(handlers)

    for payload in several:
        message = message_with(payload)
        found, expected = table.select(message), twin.select(message)
        assert (found.matched, list(found.raised)) == (expected.matched, list(expected.raised))


@given(
    patterns=st.lists(object_patterns, min_size=1, max_size=10),
    payload=st.dictionaries(st.text(max_size=2), payloads | st.builds(object), max_size=4),
)
def test_no_payload_makes_the_table_raise(patterns: list[Any], payload: Any) -> None:
    handlers = register([_on_data(pattern) for pattern in patterns])

    DispatchTable(handlers, EVERYTHING_FILED).select(message_with(payload))


@given(patterns=st.lists(object_patterns, min_size=1, max_size=10), payload=objects)
def test_functions_are_asked_once_for_each_handler_and_only_where_the_rest_holds(
    patterns: list[Any], payload: Any
) -> None:
    asked: list[tuple[str, Any]] = []

    def spy(name: str) -> Callable[[Any], bool]:
        def ask(left: Any) -> bool:
            asked.append((name, left))
            return USERS[name](left)

        return ask

    router = Router()
    for pattern in patterns:
        router.on_data(build(pattern, spy))(handle)
    LinearTable(router.handlers).select(message_with(payload))
    by_twin, asked[:] = list(asked), []

    DispatchTable(router.handlers, EVERYTHING_FILED).select(message_with(payload))

    assert repr(asked) == repr(by_twin)


_one_pattern = st.one_of(
    simple_patterns,
    st.lists(simple_patterns, max_size=2),
    simple_patterns.map(lambda pattern: Ask("contains", (pattern,))),
)
_one_pattern_and_value = st.one_of(
    st.tuples(_one_pattern, scalar_payloads | st.lists(scalar_payloads, max_size=2)),
    scalar_payloads.map(lambda value: (value, value)),
    scalar_payloads.map(lambda value: ([value], value)),
    scalar_payloads.map(lambda value: ([value], [value])),
    scalar_payloads.map(lambda value: (Ask("contains", (value,)), [value])),
    scalar_payloads.map(lambda value: ([], [value])),
    st.tuples(st.sampled_from(["gte", "lte"]), st.integers(-1, 6)).map(
        lambda drawn: (Ask(drawn[0], drawn[1:]), drawn[1])
    ),
    st.tuples(st.sampled_from(["prefix", "suffix", "iequals"]), text).map(
        lambda drawn: (Ask(drawn[0], drawn[1:]), drawn[1])
    ),
)
"""A pattern for one value, and a value that it often holds for."""


LOSE = lookups.Step(("pass",), {})
"""Takes a value nowhere, as a lookup with a bug would."""


@pytest.mark.parametrize("how", [each for each in How if each is not How.REGEX])
def test_an_index_that_drops_a_candidate_is_caught(how: How, monkeypatch: pytest.MonkeyPatch) -> None:
    make = lookups._MAKERS[how]
    other = _on_data({"b": "other"})  # what all handlers ask for is not filed
    monkeypatch.setitem(lookups._MAKERS, how, lambda *made_of: dict.fromkeys(make(*made_of), LOSE))

    try:
        found = find(
            _one_pattern_and_value,
            lambda drawn: (
                disagreement(register([_on_data({"a": drawn[0]}), other]), {"a": drawn[1]}, EVERYTHING_FILED) != ""
            ),
            settings=settings(
                max_examples=20_000, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
            ),
        )
    except NoSuchExample:
        pytest.fail(f"no example shows that what is filed under {how} is lost")

    assert found


def test_values_python_takes_for_equal_are_kept_apart() -> None:
    router = Router()
    wanted = (True, 1, "1", None, "", 0, False, b"1", "True", 1.5, "1.50")
    for value in wanted:
        router.on_data({"a": value})(handle)
    table = DispatchTable(router.handlers, EVERYTHING_FILED)

    def reached(value: object) -> list[object]:
        handlers = table.handlers_for({"a": value})
        return [wanted[router.handlers.index(each)] for each in handlers]

    assert [repr(each) for each in reached(1)] == ["1"]
    assert [repr(each) for each in reached(True)] == ["True"]
    assert reached("1") == [1, "1"]
    assert reached(1.0) == reached("1.0") == reached("10e-1") == [1]
    assert reached("1.50") == [1.5, "1.50"]
    assert reached("True") == ["True"]
    assert reached(None) == [None]
    assert reached("") == [""]
    assert reached(b"1") == [b"1"]
    assert reached([1]) == reached({"b": 1}) == []


def test_subclasses_count_as_what_they_are() -> None:
    class Text(str):
        __slots__ = ()
        __hash__ = None  # type: ignore[assignment]

    class Lookup(dict[str, Any]):
        def __missing__(self, key: str) -> Any:
            raise AssertionError(key)

    router = Router()
    router.on_data({"a": "x"})(handle)
    router.on_data({"a": re.compile("x")})(handle)
    router.on_data({"a": {"b": 1}})(handle)
    table = DispatchTable(router.handlers, EVERYTHING_FILED)

    assert len(table.handlers_for({"a": Text("x")})) == 2
    assert len(table.handlers_for({"a": Lookup(b=1)})) == 1
    assert table.handlers_for({"a": Lookup(c=1)}) == ()


def test_equality_and_ranges_are_as_exact_as_their_twin() -> None:
    handlers = register(
        [_on_data({"a": Ask(name, (value,))}) for name in ("gt", "gte", "lt", "lte") for value in (0.1, 10**20)]
    )

    for value in (0.1, "0.1", "0.10000000000000000001", 10**20, 1e20, "100000000000000000001", 10**20 + 1, "1e20"):
        assert disagreement(handlers, {"a": value}, EVERYTHING_FILED) == ""


@given(values)
def test_what_eq_compares_exactly_is_filed_as_it_is_compared(value: Any) -> None:
    handlers = register([_on_data({"a": Ask("eq", (value,))}), _on_data({"a": Ask("neq", (value,))})])

    assert disagreement(handlers, {"a": value}, EVERYTHING_FILED) == ""


@pytest.mark.parametrize("step", [1, 7, 10**30], ids=["short", "long", "huge"])
@given(value=st.integers(-3, 12) | st.sampled_from([2.5, "3", "3.0", True, 3 * 10**30, None]))
def test_ranges_of_few_and_of_many_whole_numbers_agree(step: int, value: Any) -> None:
    names = ("gt", "gte"), ("lt", "lte")
    handlers = register(
        [
            _on_data({"a": Ask("and_", (Ask(low, (start,)), Ask(high, (start + step,))))})
            for start in range(6)
            for low in names[0]
            for high in names[1]
        ]
    )

    assert disagreement(handlers, {"a": value}, EVERYTHING_FILED) == ""


@given(value=st.sampled_from(["2020-01-01", "2020-01-02", "2020-02-30", "2020-01-02T00:00Z", "2020-01-0x", "x", 5]))
def test_ranges_of_few_and_of_many_days_agree(value: Any) -> None:
    first = date(2020, 1, 1)
    for days in (2, 400):
        handlers = register(
            [
                _on_data({"a": Ask("between", (first + timedelta(start), first + timedelta(start + days)))})
                for start in range(-4, 4)
            ]
        )
        assert disagreement(handlers, {"a": value}, EVERYTHING_FILED) == ""


@given(value=st.text("0123456789-ab\n\u0663\ud800", max_size=8) | st.sampled_from([None, 5, ["1-a"]]))
def test_many_regular_expressions_agree(value: Any) -> None:
    expressions = [Ask(name, (rf"(\d|[ab])*{number}-[ab]?$",)) for number in range(8) for name in ("search", "match")]
    handlers = register([_on_data({"a": each}) for each in (*expressions, Ask("fullmatch", (r"\d+-(?!a).",)))])

    assert disagreement(handlers, {"a": value}, USUAL) == ""
    assert disagreement(handlers, {"a": value}, EVERYTHING_FILED) == ""


def test_many_regular_expressions_that_are_lost_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_available():
        pytest.skip("google-re2 is not installed")
    monkeypatch.setitem(lookups._MAKERS, How.REGEX, lambda buckets, functions: {str: LOSE})
    handlers = register([_on_data({"a": Ask("search", (rf"x\d*-abc{number}$",))}) for number in range(20)])

    assert disagreement(handlers, {"a": "x7-abc7"}, EVERYTHING_FILED) != ""


def test_alternatives_are_not_multiplied_out() -> None:
    router = Router()
    for number in range(300):
        router.on_data({key: or_(*(f"{key}{(number + way) % 9}" for way in range(4))) for key in "abcde"})(handle)
    table, twin = DispatchTable(router.handlers), LinearTable(router.handlers)

    for number in range(9):
        message = message_with({key: f"{key}{number}" for key in "abcde"})
        assert table.select(message) == twin.select(message)
