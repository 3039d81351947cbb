from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.local.endpoints.delivery_policy import (
    WrongPolicy,
    check_subscription_policy,
    check_topic_policy,
    effective_for_topic,
    rules_by,
)

FUNCTIONS = ("linear", "arithmetic", "geometric", "exponential")


def delays(**retries: Any) -> tuple[float, ...]:
    policy = json.dumps({"healthyRetryPolicy": retries})
    check_subscription_policy(policy)
    return rules_by(policy, "").delays


def test_what_no_policy_says_is_what_aws_does() -> None:
    delivery = rules_by("", "")

    assert list(delivery.delays) == [20, 20, 20]
    assert delivery.per_second == 0
    assert delivery.content_type == "text/plain; charset=UTF-8"


def test_the_phases_come_one_after_another() -> None:
    found = delays(
        numRetries=9,
        numNoDelayRetries=2,
        numMinDelayRetries=2,
        numMaxDelayRetries=2,
        minDelayTarget=1,
        maxDelayTarget=5,
    )

    assert found == (0, 0, 1, 1, 1, 3, 5, 5, 5)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("linear", (10, 20, 30, 40)),
        ("arithmetic", (10, 15, 25, 40)),
        ("geometric", (10, 15.9, 25.2, 40)),
        ("exponential", (10, 14.3, 22.9, 40)),
    ],
)
def test_delays_grow_by_the_function(function: str, expected: tuple[float, ...]) -> None:
    found = delays(numRetries=4, minDelayTarget=10, maxDelayTarget=40, backoffFunction=function)

    assert found == pytest.approx(expected, abs=0.05)


def test_a_single_retry_comes_after_the_least_delay() -> None:
    for function in FUNCTIONS:
        assert delays(numRetries=1, minDelayTarget=5, maxDelayTarget=50, backoffFunction=function) == (5,)


@given(st.integers(0, 100), st.integers(1, 30), st.integers(0, 6), st.sampled_from(FUNCTIONS), st.data())
def test_delays_never_shrink_and_keep_their_bounds(
    retries: int, least: int, more: int, function: str, data: st.DataObject
) -> None:
    at_once = data.draw(st.integers(0, retries))
    early = data.draw(st.integers(0, retries - at_once))
    late = data.draw(st.integers(0, retries - at_once - early))

    found = delays(
        numRetries=retries,
        minDelayTarget=least,
        maxDelayTarget=least + more,
        numNoDelayRetries=at_once,
        numMinDelayRetries=early,
        numMaxDelayRetries=late,
        backoffFunction=function,
    )

    assert len(found) == retries
    assert found == tuple(sorted(found))
    assert all(each == 0 or least <= each <= least + more for each in found)


def test_the_last_delay_is_the_longest_and_not_a_little_more() -> None:
    assert delays(numRetries=2, minDelayTarget=19, maxDelayTarget=21, backoffFunction="geometric") == (19, 21)


@pytest.mark.parametrize(
    ("retries", "reason"),
    [
        ({"numRetries": 101}, "numRetries must be a whole number from 0 to 100"),
        ({"numRetries": -1}, "numRetries"),
        ({"numRetries": 1.5}, "numRetries"),
        ({"numRetries": True}, "numRetries"),
        ({"numRetries": "3"}, "numRetries"),
        ({"minDelayTarget": 0}, "minDelayTarget must be a whole number from 1 to 3600"),
        ({"maxDelayTarget": 3601}, "maxDelayTarget must be a whole number from 20 to 3600"),
        ({"minDelayTarget": 30}, "maxDelayTarget must be a whole number from 30"),
        ({"numNoDelayRetries": -1}, "numNoDelayRetries"),
        ({"numNoDelayRetries": 2, "numMaxDelayRetries": 2}, "numRetries must be as many as"),
        ({"backoffFunction": ["linear"]}, "backoffFunction must be one of linear, arithmetic, geometric, exponential"),
        ({"backoffFunction": "square"}, "backoffFunction must be one of linear, arithmetic, geometric, exponential"),
        ({"numRetries": 100, "minDelayTarget": 60, "maxDelayTarget": 60}, "all retries must be within 3600 seconds"),
        ({"tries": 3}, "tries is unknown"),
        ([], "healthyRetryPolicy must be a JSON object"),
    ],
)
def test_a_wrong_retry_policy_is_refused(retries: Any, reason: str) -> None:
    with pytest.raises(WrongPolicy, match=reason):
        check_subscription_policy(json.dumps({"healthyRetryPolicy": retries}))
    with pytest.raises(WrongPolicy):
        check_topic_policy(json.dumps({"http": {"defaultHealthyRetryPolicy": retries}}))


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "[]",
        "no policy",
        "[" * 100_000,
        '{"colour": {}}',
        '{"throttlePolicy": {"maxReceivesPerSecond": 0}}',
        '{"throttlePolicy": {"perSecond": 1}}',
        '{"requestPolicy": {"headerContentType": "text/bogus"}}',
        '{"requestPolicy": {"headerContentType": "text/plain\\r\\nX: y"}}',
        '{"requestPolicy": {"headerContentType": 1}}',
    ],
)
def test_a_wrong_policy_is_refused(policy: str) -> None:
    with pytest.raises(WrongPolicy):
        check_subscription_policy(policy)


@pytest.mark.parametrize(
    "policy", ['{"http": 1}', '{"https": {}}', '{"http": {"disableSubscriptionOverrides": "yes"}}']
)
def test_a_wrong_policy_of_a_topic_is_refused(policy: str) -> None:
    with pytest.raises(WrongPolicy):
        check_topic_policy(policy)


def test_what_aws_shows_can_be_given_back() -> None:
    shown = {
        "healthyRetryPolicy": {"numRetries": 0, "minDelayTarget": 1, "maxDelayTarget": 1},
        "sicklyRetryPolicy": None,
        "throttlePolicy": {"maxReceivesPerSecond": 1000},
        "requestPolicy": {"headerContentType": "application/json; charset=UTF-8"},
        "guaranteed": False,
    }

    check_subscription_policy(json.dumps(shown))
    check_topic_policy(json.dumps(effective_for_topic("")))

    delivery = rules_by(json.dumps(shown), "")
    assert (delivery.delays, delivery.per_second) == ((), 1000)


def test_each_part_that_a_subscription_leaves_open_is_its_topics() -> None:
    topic = json.dumps(
        {
            "http": {
                "defaultHealthyRetryPolicy": {"numRetries": 1},
                "defaultThrottlePolicy": {"maxReceivesPerSecond": 5},
                "defaultRequestPolicy": {"headerContentType": "text/xml"},
            }
        }
    )

    own = rules_by('{"throttlePolicy": {"maxReceivesPerSecond": 7}}', topic)

    assert (own.delays, own.per_second, own.content_type) == ((20,), 7, "text/xml")
