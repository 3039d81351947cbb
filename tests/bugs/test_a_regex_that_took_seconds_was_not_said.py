"""A regular expression that backtracked froze the process for 8.7 s, and nothing said which one, or whose."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from megaflow import Message, Router
from megaflow.match.functions import all_items, contains, fullmatch, length, match, not_, or_, prefix, search
from megaflow.messages.message import open_message
from megaflow.processing import processor as module
from megaflow.processing.processor import Processor
from tests.cli.bad_messages import EVIL

EXPLODING = r"([a-z0-9]+)*@example\.com(?<!x)"  # RE2 does not know what stands at its end, and cannot help
SECRET = "4111111111111111"


class Clock:
    """Time, which a matcher lets pass."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: float) -> Callable[[object], bool]:
        def slow(value: object) -> bool:
            self.now += seconds
            return True

        return slow


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    with caplog.at_level(logging.WARNING, "megaflow"):
        yield lambda: [
            each.getMessage().partition(": ")[2] for each in caplog.records if "matching took" in each.getMessage()
        ]


def handle(clock: Clock, body: str, *patterns: Any, kind: str = "on_data") -> None:
    router = Router()
    for place, pattern in enumerate(patterns):
        getattr(router, kind)(pattern, handler_name=f"shop.handle{place or ''}")(lambda payload: None)
    processor = Processor(router.handlers, clock=clock)
    verdict = processor.process(open_message(body, id="m"), lambda said: said)
    assert verdict is not None


START = "matching took 8.7 s, in which no other message may have been handled: "


def test_the_handler_and_the_path_of_a_function_are_said(clock: Clock, said: Callable[[], list[str]]) -> None:
    handle(clock, json.dumps({"user": {"email": SECRET}}), {"user": {"email": clock.taking(8.7)}})

    (line,) = said()
    assert line.startswith(f"{START}shop.handle asks Clock.taking.<locals>.slow() of user.email, a text of 16 char")
    assert SECRET not in line


def test_so_are_those_of_a_regular_expression_that_backtracks_and_it_is_named_first(
    clock: Clock, said: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    # No text here explodes: what lets the time pass is a function beside it.
    body = json.dumps({"user": {"email": "x@example.com", "name": "y" * 100, "id": 7}})
    patterns = [
        {"user": {"name": search("y+z?")}},
        {"user": {"id": clock.taking(8.7)}},
        {"user": {"email": match(EXPLODING)}},
        {"user": {"email": match(EXPLODING), "phone": match(EXPLODING)}},
        {"user": {"id": match(EXPLODING)}},
    ]

    handle(clock, body, *patterns)

    (line,) = said()
    exploding = f"asks match({EXPLODING!r}) of user.email, a text of 13 characters"
    assert line == (
        f"{START}shop.handle2 {exploding}; shop.handle3 {exploding}; "
        "shop.handle1 asks Clock.taking.<locals>.slow() of user.id; and 1 more"
    )
    (record,) = [each for each in caplog.records if "matching took" in each.getMessage()]
    assert record.handler == "shop.handle2, shop.handle3, shop.handle1"  # type: ignore[attr-defined]
    assert record.message_id == "m"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("pattern", "value", "found"),
    [
        (contains(search("a+b")), ["x", "a long one", 7], "search('a+b') of it, a text of 10 characters"),
        (all_items(search("a+b")), [7], ""),
        ([search("a+b"), "z"], ["xy"], "search('a+b') of it, a text of 2 characters"),
        (not_(fullmatch("a+b")), "text", "fullmatch('a+b') of it, a text of 4 characters"),
        (or_(prefix("x"), search("a+b")), "text", "search('a+b') of it, a text of 4 characters"),
        (re.compile("a+b"), "text", "match('a+b') of it, a text of 4 characters"),
        (search("a" * 300), "text", f"search('{'a' * 192}… of it, a text of 4 characters"),
        (length(7), "text", ""),
        (prefix("x"), "x" * 1_000, ""),
        (search("a+b"), {"a": "b"}, ""),
        (search("a+b"), None, ""),
    ],
)
def test_it_is_found_wherever_it_stands(
    clock: Clock, said: Callable[[], list[str]], pattern: Any, value: Any, found: str
) -> None:
    handle(clock, json.dumps({"it": value, "slow": 1}), {"it": pattern}, {"slow": clock.taking(8.7)})

    (line,) = said()
    assert f"shop.handle asks {found}" in line or not found
    assert ("shop.handle asks" in line) == bool(found)


@pytest.mark.parametrize(("kind", "body"), [("on_text", SECRET), ("on_message", SECRET), ("on_event", SECRET)])
def test_a_whole_text_and_a_whole_message_are_something_too(
    clock: Clock, said: Callable[[], list[str]], kind: str, body: str
) -> None:
    if kind == "on_event":
        event = {"name": SECRET, "timestamp": "2026-11-29T00:00:00Z"}
        router = Router()
        router.on_event(name=clock.taking(8.7), handler_name="shop.handle")(lambda payload: None)
        message = open_message(json.dumps({"protocol": "mega", "version": 1, "event": event}))
        Processor(router.handlers, clock=clock).process(message, lambda said: said)
        where = "event.name, a text of 16 characters"
    else:
        handle(clock, body, clock.taking(8.7), kind=kind)
        where = "all of it, a text of 16 characters" if kind == "on_text" else "all of it"

    (line,) = said()
    assert line == f"{START}shop.handle asks Clock.taking.<locals>.slow() of {where}"


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, 0), (module.SLOW_MATCHING - 0.001, 0), (module.SLOW_MATCHING, 1)])
def test_it_is_said_from_a_tenth_of_a_second_on(
    clock: Clock, said: Callable[[], list[str]], seconds: float, lines: int
) -> None:
    handle(clock, '{"a": 1}', {"a": clock.taking(seconds)})

    assert len(said()) == lines


def test_nothing_is_said_where_the_machine_was_slow(clock: Clock, said: Callable[[], list[str]]) -> None:
    class Late(Clock):
        def __call__(self) -> float:
            self.now += 1.0
            return self.now

    handle(Late(), '{"a": 1}', {"a": 1})

    assert said() == []


def test_a_path_of_a_pattern_is_one_line(clock: Clock, said: Callable[[], list[str]]) -> None:
    handle(clock, json.dumps({EVIL: 1}), {EVIL: clock.taking(8.7)})

    assert said()[0].isprintable()


def test_it_is_said_of_async_handlers_too(clock: Clock, said: Callable[[], list[str]]) -> None:
    router = Router()

    @router.on_message(clock.taking(8.7), handler_name="shop.handle")
    async def take(message: Message) -> None: ...

    Processor(router.handlers, clock=clock).steps(open_message("x", id="m"))

    assert said() == [f"{START}shop.handle asks Clock.taking.<locals>.slow() of all of it"]
