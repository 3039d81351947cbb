"""Terraform: configurations whose arguments the provider knows, and whose references lead somewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from megaflow import App
from megaflow.provision import Queue
from megaflow.provision.export.deployment import Deployment
from megaflow.provision.export.terraform import write_configuration
from megaflow.provision.export.text import write_json
from tests.provision.export.deployments import DEPLOYMENTS, make

# https://registry.terraform.io/providers/hashicorp/aws/latest/docs, the page of each resource. Each argument with its
# type; those that are required first, and what the resource has when it is made last.
PROVIDER: Final[Mapping[str, tuple[Mapping[str, type], Mapping[str, type], tuple[str, ...]]]] = {
    "aws_sqs_queue": (
        {},
        {
            "name": str,
            "content_based_deduplication": bool,
            "fifo_queue": bool,
            "kms_master_key_id": str,
            "message_retention_seconds": int,
            "redrive_policy": str,
            "sqs_managed_sse_enabled": bool,
            "visibility_timeout_seconds": int,
        },
        ("arn", "url", "name"),
    ),
    "aws_sqs_queue_policy": ({"policy": str, "queue_url": str}, {}, ()),
    "aws_sns_topic": (
        {},
        {"name": str, "content_based_deduplication": bool, "fifo_topic": bool, "kms_master_key_id": str},
        ("arn", "name"),
    ),
    "aws_sns_topic_subscription": (
        {"endpoint": str, "protocol": str, "topic_arn": str},
        {"filter_policy": str, "filter_policy_scope": str, "raw_message_delivery": bool},
        ("arn",),
    ),
    "aws_dynamodb_table": (
        {"name": str},
        {"attribute": list, "billing_mode": str, "hash_key": str, "ttl": dict},
        ("arn", "name"),
    ),
    "aws_cloudwatch_metric_alarm": (
        {"alarm_name": str, "comparison_operator": str, "evaluation_periods": int},
        {
            "alarm_actions": str,  # an expression for a list
            "alarm_description": str,
            "dimensions": dict,
            "metric_name": str,
            "namespace": str,
            "period": int,
            "statistic": str,
            "threshold": int,
            "treat_missing_data": str,
        },
        ("arn",),
    ),
}

# https://developer.hashicorp.com/terraform/language/meta-arguments
META: Final = {"depends_on": list, "lifecycle": dict}
IDENTIFIER: Final = r"[A-Za-z_][A-Za-z0-9_-]*"


def configuration(name: str) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(write_json(write_configuration(DEPLOYMENTS[name])))
    return written


def resources(of: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for kind, named in of["resource"].items():
        for label, arguments in named.items():
            yield kind, label, arguments


def texts(of: Any) -> Iterator[str]:
    if isinstance(of, str):
        yield of
    for each in of.values() if isinstance(of, dict) else of if isinstance(of, list) else ():
        yield from texts(each)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_provider_knows_every_argument(name: str) -> None:
    for kind, label, arguments in resources(configuration(name)):
        required, optional, _ = PROVIDER[kind]

        assert re.fullmatch(IDENTIFIER, label)
        assert required.keys() <= arguments.keys()
        for argument, value in arguments.items():
            assert type(value) is ({**required, **optional, **META})[argument]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_reference_leads_to_a_resource_and_something_that_it_has(name: str) -> None:
    written = configuration(name)
    made = {f"{kind}.{label}" for kind, label, _ in resources(written)}
    said = [text for text in texts(written) if "var." not in text]
    referred = [each for text in said for each in re.findall(r"(?<!\$)\$\{([^}]*)\}", text)]
    depended = [each for _, _, arguments in resources(written) for each in arguments.get("depends_on", ())]

    assert referred
    for reference in referred:
        kind, label, attribute = reference.split(".")
        assert f"{kind}.{label}" in made
        assert attribute in PROVIDER[kind][2]
    assert set(depended) <= made


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_all_that_is_needed_is_there_under_a_name_of_its_own(name: str) -> None:
    deployment: Deployment = DEPLOYMENTS[name]
    made = configuration(name)["resource"]
    needs = deployment.needs

    assert len(made["aws_sqs_queue"]) == len(needs.queues)
    assert len(made.get("aws_sns_topic", ())) == len(needs.topics)
    assert len(made.get("aws_sns_topic_subscription", ())) == len(needs.subscriptions)
    assert len(made.get("aws_dynamodb_table", ())) == len(deployment.tables)
    assert len(made["aws_cloudwatch_metric_alarm"]) == 3 * len(needs.consumed)


def test_a_configuration_says_what_is_declared() -> None:
    queues = configuration("everything")["resource"]["aws_sqs_queue"]
    redrive = json.loads(queues["orders"].pop("redrive_policy"))

    assert redrive == {"deadLetterTargetArn": "${aws_sqs_queue.failed.arn}", "maxReceiveCount": 3}
    assert queues["orders"] == {
        "name": "orders",
        "visibility_timeout_seconds": 120,
        "kms_master_key_id": "alias/orders",
        "message_retention_seconds": 86_400,
        "lifecycle": {"prevent_destroy": True},
    }


def test_what_a_pattern_has_is_no_expression_for_terraform() -> None:
    subscriptions = configuration("everything")["resource"]["aws_sns_topic_subscription"]
    policy = subscriptions["orders-shop"]["filter_policy"]

    assert "$${x}" in policy
    assert "%%{y}" in policy
    assert json.loads(policy.replace("$${", "${").replace("%%{", "%{")) == {
        "type": ["order"],
        "currency": ["EUR", "USD"],
        "%{y}": ["${x} $z"],
    }


def test_a_topic_of_somebody_else_is_looked_up() -> None:
    mine = make(shop=App(queue=Queue("orders", subscribe=["shop"])))
    written = write_configuration(replace(mine, existing_topics=frozenset({"shop"})))

    assert written["data"] == {"aws_sns_topic": {"shop": {"name": "shop"}}}
    assert "aws_sns_topic" not in written["resource"]
    subscribed = written["resource"]["aws_sns_topic_subscription"]["orders-shop"]
    assert subscribed["topic_arn"] == "${data.aws_sns_topic.shop.arn}"
