from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from megaflow.dispatch.check import Oddity, check
from megaflow.dispatch.index import Sizes
from megaflow.dispatch.table import DispatchTable
from megaflow.event import Event, Payload, deserialize_payload
from megaflow.handlers.router import Router
from megaflow.match.functions import and_, contains, gt, gte, lt, lte
from megaflow.messages.message import message_with
from tests.linear_twin import LinearTable
from tests.matching import Spy, handle

FILED = Sizes(small=0, large=0)


def nine(hour: int) -> datetime:
    return datetime(2020, 1, 1, hour, tzinfo=UTC)


def agree(router: Router, payload: Any) -> bool:
    message = message_with(payload)
    return DispatchTable(router.handlers, FILED).select(message) == LinearTable(router.handlers).select(message)


@pytest.mark.parametrize("rule", ["domain", "subject", "publisher", "object_type", "object_version", "current_object"])
def test_a_field_that_is_not_set_is_not_null(rule: str) -> None:
    router = Router()
    for wanted in (None, "a", "b"):
        router.on_event(**{rule: wanted})(handle)  # type: ignore[arg-type]

    assert DispatchTable(router.handlers, FILED).handlers_for(Payload(event=Event(name="n"))) == ()


def test_a_list_that_holds_an_item_twice_reaches_a_handler_once() -> None:
    router, asked = Router(), Spy()
    router.on_data({"a": contains("x"), "b": asked})(handle)

    found = DispatchTable(router.handlers, FILED).handlers_for({"a": ["x", "x"], "b": 1})

    assert found == router.handlers
    assert asked.asked == [1]


@pytest.mark.parametrize(
    "pattern", [and_(gte(nine(10)), gt(nine(9))), and_(lte(nine(9)), lt(nine(10))), and_(gt(nine(8)), lt(nine(12)))]
)
@pytest.mark.parametrize("value", ["2020-01-01", date(2020, 1, 1), date(2020, 1, 2), nine(9), nine(10), nine(11)])
def test_a_date_is_compared_with_each_bound_by_the_day(pattern: object, value: object) -> None:
    router = Router()
    router.on_data({"a": pattern})(handle)

    assert agree(router, {"a": value})


def test_check_says_nothing_about_datetimes_that_a_date_would_belie() -> None:
    router = Router()
    for pattern in (gt(nine(8)), gte(nine(9)), and_(gte(nine(10)), lte(nine(9)))):
        router.on_data({"a": pattern})(lambda payload: None)

    assert check(DispatchTable(router.handlers)) == ()


@pytest.mark.parametrize("pattern", [and_(gt(float("-inf")), lt(float("inf"))), gt(10**300)])
def test_check_bears_endless_ranges(pattern: object) -> None:
    router = Router()
    router.on_data({"a": pattern})(handle)

    assert check(DispatchTable(router.handlers)) == ()


def test_an_empty_object_is_no_pattern_for_all_text() -> None:
    router = Router()
    router.on_text({})(handle)

    assert Oddity.MATCHES_EVERYTHING not in [finding.oddity for finding in check(DispatchTable(router.handlers))]


def test_the_attributes_of_an_event_are_its_own() -> None:
    data = {"protocol": "mega", "version": 1, "event": {"name": "n", "timestamp": "2020-01-01", "attributes": {"a": 1}}}

    deserialize_payload(data).event.attributes["a"] = 2

    assert data["event"]["attributes"] == {"a": 1}  # type: ignore[index]
