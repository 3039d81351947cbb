"""``megaflow local --config``, as boto3 sees it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from megaflow.local import Account, declare
from tests.local.declared.facts import facts_of, queues_of, subscriptions_of, topics_of
from tests.local.declared.test_document import EVERYTHING
from tests.local.test_main import NO_UVICORN, refused, started
from tests.waiting import PATIENCE


@contextmanager
def clients(url: str) -> Iterator[tuple[Any, Any]]:
    options = {"region_name": "us-east-1", "aws_access_key_id": "any", "aws_secret_access_key": "any"}
    with (
        closing(boto3.client("sqs", endpoint_url=url, **options)) as sqs,
        closing(boto3.client("sns", endpoint_url=url, **options)) as sns,
    ):
        yield sqs, sns


def test_boto3_sees_what_is_declared_and_it_outlives_a_kill(tmp_path: Path) -> None:
    config, data = tmp_path / "local.toml", tmp_path / "orders.db"
    config.write_text(EVERYTHING)
    with started("--config", str(config), "--data", str(data)) as program, clients(program.url) as (sqs, sns):
        queues, topics, subscriptions = queues_of(sqs), topics_of(sns), subscriptions_of(sns)
        sns.publish(TopicArn=topics["news"]["TopicArn"], Message='{"kind": "order"}')
        sns.publish(TopicArn=topics["news"]["TopicArn"], Message='{"kind": "other"}')
        program.stop(signal.SIGKILL)

    with started("--data", str(data)) as again, clients(again.url) as (sqs, sns):
        kept = queues_of(sqs), topics_of(sns), subscriptions_of(sns)
        again.stop(signal.SIGKILL)

    with started("--config", str(config), "--data", str(data)) as third, clients(third.url) as (sqs, sns):
        twice = queues_of(sqs), topics_of(sns), subscriptions_of(sns)
        received = sqs.receive_message(QueueUrl="orders")["Messages"]

    expected = Account()
    declare(expected, config)
    assert (queues, topics) == facts_of(expected)[:2]
    assert f"kept in {data}: 5 queues, 3 topics, 0 messages\n" in program.first_line
    for seen in (queues, kept[0], twice[0]):
        # Its message is delayed, or not any more.
        seen["orders"] = {name: value for name, value in seen["orders"].items() if "NumberOfMessages" not in name}
    assert kept == (queues, topics, subscriptions)
    assert twice == (queues, topics, subscriptions)
    assert [message["Body"] for message in received] == ['{"kind": "order"}']


def test_in_memory_its_first_line_says_how_much_there_is(tmp_path: Path) -> None:
    config = tmp_path / "local.toml"
    config.write_text("[queues.orders]\nsubscribe = ['shop']\n[topics.shop]\n")

    with started("--config", str(config)) as program:
        ended = program.stop()

    assert program.first_line.endswith("in us-east-1, in memory: 1 queue, 1 topic, 0 messages\n")
    assert ended[:2] == (0, "")


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "local.toml"
    config.write_text("[queues.orders]\ndelya = 3\n")

    complaint = refused("--config", str(config))

    assert complaint.startswith(f"megaflow.local: {config}: queues.orders.delya: there is no such key: did you mean ")
    assert complaint.count("\n") == 1


def test_parameters_are_for_a_template() -> None:
    assert refused("--parameter", "Stage=dev") == (
        "megaflow.local: --parameter is for a template: name it with --config\n"
    )


def test_what_a_template_has_beside_them_is_said_once(tmp_path: Path) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text(
        "Parameters: {Stage: {Type: String}}\n"
        "Resources:\n"
        "  Orders: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub '${Stage}-orders'}}\n"
        "  Worker: {Type: AWS::Lambda::Function}\n"
        "  Mailer: {Type: AWS::Lambda::Function}\n"
    )

    options = ("--config", str(config), "--parameter", "Stage=dev")
    with started(*options) as program, clients(program.url) as (sqs, _):
        queues = list(queues_of(sqs))
        _, complaints, _ = program.stop()

    assert queues == ["dev-orders"]
    (line,) = complaints.splitlines()
    assert line.endswith(f"WARNING {config}: nothing is made of AWS::Lambda::Function (Worker, Mailer)")


def test_without_the_extra_toml_and_json_are_read_and_yaml_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[queues.orders]\n")
    (tmp_path / "a.yaml").write_text("queues: {orders: {}}\n")
    program = NO_UVICORN.replace('"uvicorn", ', '"yaml", "uvicorn", ') + (
        "from megaflow.local import Account, declare\n"
        "declare(Account(), 'a.toml')\n"
        "try:\n    declare(Account(), 'a.yaml')\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == (
        "ConfigurationError a.yaml: a file in YAML needs the extra local (No module named 'yaml'): "
        "pip install 'megaflow-sqs[local]'\n"
    )


@pytest.mark.parametrize("region", ["eu-west-1"])
def test_it_is_declared_for_the_region_and_account_that_are_given(tmp_path: Path, region: str) -> None:
    config = tmp_path / "local.toml"
    config.write_text("[queues.orders]\ndead_letter_queue = true\n")

    with (
        started("--config", str(config), "--region", region, "--account", "123456789012") as program,
        closing(
            boto3.client(
                "sqs",
                endpoint_url=program.url,
                region_name=region,
                aws_access_key_id="any",
                aws_secret_access_key="any",
            )
        ) as sqs,
    ):
        queues = queues_of(sqs)

    assert f'"arn:aws:sqs:{region}:123456789012:orders-dead"' in queues["orders"]["RedrivePolicy"]
