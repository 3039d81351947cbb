"""Delivery policies: when a delivery over HTTP is tried again, how many go out in a second, and as what content type.

https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_RETRIES: Final = {
    "minDelayTarget": 20,
    "maxDelayTarget": 20,
    "numRetries": 3,
    "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0,
    "numMinDelayRetries": 0,
    "backoffFunction": "linear",
}
"""What holds where no policy says otherwise."""

_REQUESTS: Final = {"headerContentType": "text/plain; charset=UTF-8"}
_LONGEST: Final = 3600
"""Seconds of a delay, and of all delays together."""

_MOST_RETRIES: Final = 100
_BACKOFFS: Final[Mapping[str, Callable[[int, int], float]]] = {
    "linear": lambda place, last: place / last,
    "arithmetic": lambda place, last: place * (place + 1) / (last * (last + 1)),
    "geometric": lambda place, last: place / last,
    "exponential": lambda place, last: (2**place - 1) / (2**last - 1),
}
"""How far a retry is on the way from the least delay to the longest, by its place and that of the last one.

AWS shows these four as curves, without a formula; the geometric one goes this far in multiplying, not in adding.
"""

_TYPES: Final = (
    *(f"application/{kind}" for kind in ("json", "octet-stream", "soap+xml", "x-www-form-urlencoded", "xml")),
    *(f"text/{kind}" for kind in ("css", "csv", "html", "plain", "xml")),
)
_TYPE: Final = re.compile(rf"({'|'.join(map(re.escape, _TYPES))})(; ?charset=[Uu][Tt][Ff]-8)?")


class WrongPolicy(Exception):
    """What is wrong with a delivery policy."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How deliveries to one subscription are made."""

    delays: tuple[float, ...]
    """Seconds before each retry."""

    per_second: int
    """How many go out in a second at most; 0 is without limit."""

    content_type: str


def check_topic_policy(text: str) -> None:
    """Refuse a delivery policy that a topic cannot have.

    Raises:
        WrongPolicy: it is no JSON object, or has a part that is unknown or out of range.
    """
    document = _read_object(text)
    _check_names(document, ("http",))
    http = _part(document, "http")
    names = ("defaultHealthyRetryPolicy", "defaultSicklyRetryPolicy", "defaultThrottlePolicy", "defaultRequestPolicy")
    _check_names(http, (*names, "disableSubscriptionOverrides"))
    if not isinstance(http.get("disableSubscriptionOverrides", False), bool):
        raise WrongPolicy("disableSubscriptionOverrides must be true or false.")
    _check_parts(http, names)


def check_subscription_policy(text: str) -> None:
    """Refuse a delivery policy that a subscription cannot have.

    Raises:
        WrongPolicy: it is no JSON object, or has a part that is unknown or out of range.
    """
    document = _read_object(text)
    names = ("healthyRetryPolicy", "sicklyRetryPolicy", "throttlePolicy", "requestPolicy")
    _check_names(document, (*names, "guaranteed"))
    _check_parts(document, names)


def effective_for_topic(text: str) -> dict[str, Any]:
    """Return the delivery policy of a topic, with all that it leaves open."""
    http = _part(_loaded(text), "http")
    retries = {"defaultHealthyRetryPolicy": {**_RETRIES, **_part(http, "defaultHealthyRetryPolicy")}}
    usual = {**retries, "disableSubscriptionOverrides": False, "defaultRequestPolicy": _REQUESTS}
    return {"http": {**usual, **http, **retries}}


def effective_for_subscription(text: str, topic_text: str) -> dict[str, Any]:
    """Return the delivery policy of a subscription, with what it leaves to the policy of its topic."""
    http = _part(_loaded(topic_text), "http")
    own = {} if http.get("disableSubscriptionOverrides") else _loaded(text)
    retries = _part(own, "healthyRetryPolicy") or _part(http, "defaultHealthyRetryPolicy")
    return {
        "healthyRetryPolicy": {**_RETRIES, **retries},
        "sicklyRetryPolicy": own.get("sicklyRetryPolicy"),
        "throttlePolicy": _part(own, "throttlePolicy") or _part(http, "defaultThrottlePolicy") or None,
        "requestPolicy": {**_REQUESTS, **(_part(own, "requestPolicy") or _part(http, "defaultRequestPolicy"))},
        "guaranteed": bool(own.get("guaranteed", False)),
    }


def delivery_by(text: str, topic_text: str) -> Delivery:
    """Return how deliveries to a subscription are made, by its own policy and that of its topic."""
    policy = effective_for_subscription(text, topic_text)
    throttle = policy["throttlePolicy"] or {}
    return Delivery(
        _delays(policy["healthyRetryPolicy"]),
        throttle.get("maxReceivesPerSecond") or 0,
        policy["requestPolicy"]["headerContentType"],
    )


def _delays(retries: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the seconds before each retry: at once, at the least delay, by the function, at the longest delay."""
    least, longest = retries["minDelayTarget"], retries["maxDelayTarget"]
    at_once, early, late = (retries[f"num{phase}DelayRetries"] for phase in ("No", "Min", "Max"))
    between = retries["numRetries"] - at_once - early - late
    share, function = _BACKOFFS[retries["backoffFunction"]], retries["backoffFunction"]
    shares = [share(place, between - 1) if place else 0.0 for place in range(between)]
    growing = (
        [min(least * (longest / least) ** part, longest) for part in shares]
        if function == "geometric"
        else [least + (longest - least) * part for part in shares]
    )
    return (*[0.0] * at_once, *[float(least)] * early, *map(float, growing), *[float(longest)] * late)


def _check_parts(document: Mapping[str, Any], names: tuple[str, str, str, str]) -> None:
    healthy, sickly, throttle, request = (_part(document, name) for name in names)
    for retries in (healthy, sickly):
        _check_retries(retries)
    _check_names(throttle, ("maxReceivesPerSecond",))
    if throttle.get("maxReceivesPerSecond") is not None:
        _check_number(throttle, "maxReceivesPerSecond", 1, None)
    _check_names(request, ("headerContentType",))
    if not _TYPE.fullmatch(str(request.get("headerContentType", "text/plain"))):
        raise WrongPolicy(f"headerContentType must be one of {', '.join(_TYPES)}.")


def _check_retries(given: Mapping[str, Any]) -> None:
    _check_names(given, tuple(_RETRIES))
    retries = {**_RETRIES, **given}
    _check_number(retries, "minDelayTarget", 1, _LONGEST)
    # Whoever gives one delay alone, below or above the other's usual one, is told so, as by AWS.
    _check_number(retries, "maxDelayTarget", retries["minDelayTarget"], _LONGEST)
    _check_number(retries, "numRetries", 0, _MOST_RETRIES)
    phases = [f"num{phase}DelayRetries" for phase in ("No", "Min", "Max")]
    for phase in phases:
        _check_number(retries, phase, 0, _MOST_RETRIES)
    # A list, not the table: what is no text may be nothing to look up.
    if retries["backoffFunction"] not in list(_BACKOFFS):
        raise WrongPolicy(f"backoffFunction must be one of {', '.join(_BACKOFFS)}.")
    if sum(retries[phase] for phase in phases) > retries["numRetries"]:
        raise WrongPolicy(f"numRetries must be as many as {', '.join(phases)} together, or more.")
    if sum(_delays(retries)) > _LONGEST:
        raise WrongPolicy(f"all retries must be within {_LONGEST} seconds.")


def _check_number(document: Mapping[str, Any], name: str, low: int, high: int | None) -> None:
    value = document[name]
    if type(value) is not int or value < low or (high is not None and value > high):
        bounds = f"from {low} to {high}" if high is not None else f"of {low} or more"
        raise WrongPolicy(f"{name} must be a whole number {bounds}.")


def _check_names(document: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in document:
        if name not in known:
            raise WrongPolicy(f"{name} is unknown; known: {', '.join(known)}.")


def _part(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a part of a policy, which is an object; one that is not there, or is null, has nothing in it."""
    part = document.get(name)
    if part is None:
        return {}
    if not isinstance(part, dict):
        raise WrongPolicy(f"{name} must be a JSON object.")
    return part


def _read_object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise WrongPolicy("Must be a JSON object.")
    return document


def _loaded(text: str) -> dict[str, Any]:
    """Return a policy that was checked when it was given; one that was taken away says nothing."""
    return _read_object(text) if text else {}
