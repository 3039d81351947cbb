"""Workloads: the handlers and the events that matching is measured with. An event has about 560 bytes and 23 leaves."""

import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from megaflow import Handler, Router
from megaflow.event import deserialize_payload
from megaflow.match.conditions import Condition
from megaflow.match.functions import between, gt, gte, lt, match, not_, one_of, or_, prefix, search

WITHOUT_RE2 = "regexes, no re2"
FIRST_DAY = date(2000, 1, 1)

Document = dict[str, Any]
Rules = dict[str, Any]


def build_document(number: int) -> Document:
    """Return the event that handler *number* of every workload is for, and the one beside it."""
    pair = number // 2 * 2
    return {
        "protocol": "mega",
        "version": 1,
        "event": {
            "domain": f"domain-{pair // 2 % 100}",
            "name": f"event-{pair // 2}",
            "version": 1,
            "timestamp": "2026-05-04T15:53:23.123+00:00",
            "subject": "987650",
            "publisher": "cart",
            "attributes": {
                "tenant": f"tenant-{pair // 2}",
                "quantity": pair,
                "price": pair + 0.25,
                "code": f"{pair:05}-item",
                "day": (FIRST_DAY + timedelta(pair)).isoformat(),
                "path": f"/shop/{pair}/cart",
                f"key-{pair}": 5,
                f"key-{pair + 1}": 5,
            },
        },
        "object": {
            "type": "cart",
            "id": "18a3f92e-1fbf-45eb-8769-d836d0a1be55",
            "version": 2,
            "current": {"user_id": 987650, "currency": "USD", "value": "377.37"},
        },
        "extra": {"channel": "web"},
    }


def keyed(number: int) -> Rules:
    pair = number // 2
    rules = {"domain": f"domain-{pair % 100}", "name": f"event-{pair}", "version": one_of(1, 2)}
    return rules | {"attributes": {"quantity": gt(-1), "code": not_("")}}


def hot(number: int) -> Rules:
    return {"object_type": "cart", "attributes": {"tenant": f"tenant-{number // 2}", "quantity": gt(-1)}}


def ranges(number: int) -> Rules:
    low = number // 2 * 2
    return {"object_type": "cart", "attributes": {"quantity": between(low, low + 1), "path": prefix("/shop/")}}


def no_equality(number: int) -> Rules:
    pair = number // 2 * 2
    forms = (
        {"quantity": gte(pair) & lt(pair + 2), "code": not_("")},
        {"path": prefix(f"/shop/{pair}/"), "quantity": gt(-1)},
        {"code": match(rf"{pair:05}-[a-z]+$")},
    )
    return {"attributes": forms[pair % 5 % 3]}


def float_ranges(number: int) -> Rules:
    path = prefix(f"/shop/{str(number)[0]}" if number % 4 else "/cart/")
    return {"object_type": "cart", "attributes": {"price": float_range(number), "path": path}}


def float_ranges_and_more(number: int) -> Rules:
    path = or_(prefix("/shop/" if number % 4 else "/cart/"), search(rf"/{number}[0-9]*/basket$"))
    bounds = {"price": float_range(number), "quantity": gt(5_000 if number % 2 else 0)}
    return {"object_type": "cart", "attributes": {**bounds, "path": path}}


def float_range(number: int) -> Condition:
    """Return a range near *number*: an event lies in about one of them."""
    chance = random.Random(number)
    low = round(number + chance.uniform(-1, 1), 2)
    return gte(low) & lt(round(low + chance.uniform(0.5, 1.5), 2))


def many_paths(number: int) -> Rules:
    return {"attributes": {f"key-{number}": gt(0)}}


def dates(number: int) -> Rules:
    day = FIRST_DAY + timedelta(number // 2 * 2)
    return {"object_type": "cart", "attributes": {"day": between(day, day + timedelta(1))}}


def mixed(number: int) -> Rules:
    return (keyed, hot, ranges, no_equality, many_paths, dates)[number // 2 % 6](number)


def mixed_with_lambdas(number: int) -> Rules:
    rules = mixed(number)
    if number % 20 == 0:
        rules["extra"] = {"channel": lambda channel: channel == "web"}
    return rules


def lambdas_alone(number: int) -> Rules:
    wanted = number // 2 * 2
    return mixed(number) if number % 20 else {"attributes": {"quantity": lambda quantity: quantity == wanted}}


def regexes(number: int) -> Rules:
    return {"attributes": {"path": search(rf"p/{number // 2 * 2}/[a-z]+$")}}


WORKLOADS: dict[str, Callable[[int], Rules]] = {
    "keyed": keyed,
    "hot": hot,
    "ranges": ranges,
    "no equality": no_equality,
    "float ranges, prefix": float_ranges,
    "float ranges, or, bound": float_ranges_and_more,
    "many paths": many_paths,
    "mixed": mixed,
    "dates": dates,
    "mixed, 5 % lambdas": mixed_with_lambdas,
    "mixed, 5 % lambdas alone": lambdas_alone,
    "regexes": regexes,
    WITHOUT_RE2: regexes,
}
SECTIONS = {"object_type": ("object", "type"), "attributes": ("event", "attributes")}


def build_handlers(workload: Callable[[int], Rules], count: int, *, as_event: bool) -> tuple[Handler, ...]:
    """Return *count* handlers, for events or for data objects that look like them."""
    router = Router()
    for number in range(count):
        rules = workload(number)
        if as_event:
            router.on_event(**rules)(handle)
            continue
        pattern: Document = {}
        for name, wanted in rules.items():
            section, key = SECTIONS.get(name, ("event", name))
            pattern.setdefault(section, {})[key] = wanted
        router.on_data(pattern)(handle)
    return router.handlers


def handle(payload: Any) -> None:
    """Do nothing: handlers are selected here, and not run."""


def choose_events(count: int, number: int) -> list[Document]:
    """Return *number* events that handlers among the first *count* are for."""
    chance = random.Random(1)
    return [build_document(chance.randrange(count)) for _ in range(number)]


def as_payloads(documents: Sequence[Document], as_event: bool) -> list[Any]:
    return [deserialize_payload(each) for each in documents] if as_event else list(documents)
