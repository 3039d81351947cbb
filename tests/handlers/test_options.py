"""Options of handlers: what is taken, and what is refused, and said."""

from __future__ import annotations

from typing import Any

import pytest

from megaflow import ConfigurationError, Router, exponential_backoff
from megaflow.handlers.rate import Rate


def options_of(**given: Any) -> Any:
    router = Router()
    router.on_text(**given)(lambda text: None)
    return router.handlers[0].options


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ("1/s", Rate(1, 1.0)),
        ("100/m", Rate(100, 60.0)),
        ("0100/m", Rate(100, 60.0)),
        ("1000000/h", Rate(1_000_000, 3_600.0)),
    ],
)
def test_a_rate_is_read(given: str, rate: Rate) -> None:
    assert options_of(rate=given).rate == rate
    assert str(rate) == given.lstrip("0")


@pytest.mark.parametrize(
    "given",
    [
        "0/s",
        "1000001/h",
        "99999999/s",
        "-1/s",
        "1.5/s",
        "1/d",
        "1 / s",
        "1/s\n",
        "/s",
        "1/",
        "1",
        "",
        "\u0661/s",
        5,
        5.0,
        True,
    ],
)
def test_what_is_no_rate_is_refused(given: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        options_of(rate=given)

    assert str(caught.value) == (
        f"rate={given!r} must be a number of calls from 1 to 1,000,000 within a second, a minute or an hour: "
        '"100/s", "100/m" or "100/h"'
    )


@pytest.mark.parametrize("given", [1, 10_000])
def test_so_many_may_run_at_once(given: int) -> None:
    assert options_of(max_concurrency=given).max_concurrency == given


@pytest.mark.parametrize("given", [0, -1, 10_001, 1.0, "1", True])
def test_what_is_no_number_of_calls_is_refused(given: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        options_of(max_concurrency=given)

    assert str(caught.value) == f"max_concurrency={given!r} must be a whole number from 1 to 10,000"


def test_a_backoff_is_a_function() -> None:
    backoff = exponential_backoff(first=60)

    assert options_of(backoff=backoff).backoff is backoff
    assert options_of(backoff=None).backoff is None


@pytest.mark.parametrize("given", [5, 5.0, "5", (5, 10)])
def test_what_is_no_backoff_is_refused(given: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        options_of(backoff=given)

    assert str(caught.value) == f"backoff={given!r} must be a function (receive_count) -> seconds"


@pytest.mark.parametrize("name", ["max_concurrency", "rate"])
def test_a_handler_with_a_limit_has_turns(name: str) -> None:
    limit = {"max_concurrency": 2, "rate": "2/s"}

    assert options_of(**{name: limit[name]}).has_turns
    assert not options_of(**{name: None}).has_turns
    assert not options_of(backoff=exponential_backoff(), timeout=1.0).has_turns


@pytest.mark.parametrize("given", [5, "", b"ship", ["ship"]])
def test_a_handlers_name_is_a_text(given: object) -> None:
    with pytest.raises(ConfigurationError, match="must be a text that says what the handler is called"):
        options_of(handler_name=given)
