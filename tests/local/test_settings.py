from __future__ import annotations

import json

import pytest

from megaflow.local.refused import Refused
from megaflow.local.settings import Redrive, allows_source, new_settings, read_redrive

ARN = "arn:aws:sqs:us-east-1:000000000000:dead"


def test_numbers_are_shown_in_their_plain_form() -> None:
    settings = new_settings("orders", {"VisibilityTimeout": "007"})

    assert settings.visibility_timeout == 7
    assert settings.shown["VisibilityTimeout"] == "7"


@pytest.mark.parametrize("value", ["", " 1", "1.5", "-1", "+1", "٣", "43201"])
def test_what_is_no_number_in_range_is_refused(value: str) -> None:
    with pytest.raises(Refused, match="Invalid value for the parameter VisibilityTimeout"):
        new_settings("orders", {"VisibilityTimeout": value})


def test_truth_may_be_written_in_capitals() -> None:
    settings = new_settings("a.fifo", {"FifoQueue": "true", "ContentBasedDeduplication": "True"})

    assert settings.content_based_deduplication


@pytest.mark.parametrize(
    ("name", "value"),
    [("ContentBasedDeduplication", "yes"), ("DeduplicationScope", "group"), ("FifoQueue", "false")],
)
def test_a_choice_is_one_of_few(name: str, value: str) -> None:
    settings = new_settings("a.fifo", {"FifoQueue": "true"})

    with pytest.raises(Refused, match=f"Invalid value for the parameter {name}"):
        settings.with_attributes({name: value})


def test_an_unknown_attribute_is_refused() -> None:
    with pytest.raises(Refused, match="Unknown Attribute Colour"):
        new_settings("orders", {"Colour": "red"})


def test_throughput_by_group_needs_deduplication_by_group() -> None:
    attributes = {"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"}

    with pytest.raises(Refused, match="DeduplicationScope messageGroup"):
        new_settings("a.fifo", attributes)
    settings = new_settings("a.fifo", {**attributes, "DeduplicationScope": "messageGroup"})

    assert settings.deduplication_by_group


def test_an_empty_redrive_policy_takes_it_away() -> None:
    policy = json.dumps({"deadLetterTargetArn": ARN, "maxReceiveCount": 3})
    settings = new_settings("orders", {"RedrivePolicy": policy})

    without = settings.with_attributes({"RedrivePolicy": ""})

    assert settings.redrive == Redrive(ARN, 3)
    assert without.redrive is None
    assert "RedrivePolicy" not in without.shown


@pytest.mark.parametrize(
    "policy",
    [
        "not json",
        "[]",
        "{}",
        json.dumps({"deadLetterTargetArn": ARN}),
        json.dumps({"deadLetterTargetArn": ARN, "maxReceiveCount": 3, "more": 1}),
        json.dumps({"deadLetterTargetArn": ARN, "maxReceiveCount": 0}),
        json.dumps({"deadLetterTargetArn": ARN, "maxReceiveCount": 1001}),
        json.dumps({"deadLetterTargetArn": ARN, "maxReceiveCount": 1.5}),
    ],
)
def test_a_redrive_policy_names_a_queue_and_a_count(policy: str) -> None:
    with pytest.raises(Refused, match="RedrivePolicy"):
        read_redrive(policy)


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        ({"redrivePermission": "allowAll"}, True),
        ({"redrivePermission": "denyAll"}, False),
        ({"redrivePermission": "byQueue", "sourceQueueArns": [ARN]}, True),
        ({"redrivePermission": "byQueue", "sourceQueueArns": [f"{ARN}-{number}" for number in range(10)]}, False),
    ],
)
def test_a_redrive_allow_policy_says_who_may(policy: dict[str, object], allowed: bool) -> None:
    settings = new_settings("dead", {"RedriveAllowPolicy": json.dumps(policy)})

    assert allows_source(settings.shown["RedriveAllowPolicy"], ARN) is allowed


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"redrivePermission": "some"},
        {"redrivePermission": "byQueue"},
        {"redrivePermission": "byQueue", "sourceQueueArns": []},
        {"redrivePermission": "byQueue", "sourceQueueArns": ARN},
        {"redrivePermission": "byQueue", "sourceQueueArns": [f"{ARN}-{number}" for number in range(11)]},
        {"redrivePermission": "allowAll", "sourceQueueArns": [ARN]},
    ],
)
def test_a_wrong_redrive_allow_policy_is_refused(policy: dict[str, object]) -> None:
    with pytest.raises(Refused, match="RedriveAllowPolicy"):
        new_settings("dead", {"RedriveAllowPolicy": json.dumps(policy)})


def test_a_key_is_kept_and_shown() -> None:
    settings = new_settings("orders", {"KmsMasterKeyId": "alias/orders", "KmsDataKeyReusePeriodSeconds": "600"})

    assert settings.shown["KmsMasterKeyId"] == "alias/orders"
    assert settings.shown["KmsDataKeyReusePeriodSeconds"] == "600"
