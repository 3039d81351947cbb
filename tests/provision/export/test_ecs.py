"""ECS: definitions of tasks that boto3 and moto take."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import boto3
import pytest

from megaflow import App, ConfigurationError
from megaflow.local import Account, SqsClient
from megaflow.provision.export.deployment import deploy
from megaflow.provision.export.ecs import write_task_definition
from megaflow.provision.export.text import write_json
from tests.docs.test_sessions import find_port
from tests.provision.export.deployments import DEPLOYMENTS, HERE, NUMBER, everything, make, name_alone

ONE = [name for name in DEPLOYMENTS if len(DEPLOYMENTS[name].services) == 1]


def definition(app: App) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(write_json(write_task_definition(make(shop=app))))
    return written


@pytest.mark.parametrize("name", ONE)
def test_a_definition_is_registered(name: str, moto_url: str) -> None:
    options = {"endpoint_url": moto_url, "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    ecs = boto3.client("ecs", region_name="eu-west-1", **options)

    # boto3 knows every member and its type, and refuses others.
    answer = ecs.register_task_definition(**json.loads(write_json(write_task_definition(DEPLOYMENTS[name]))))

    assert answer["taskDefinition"]["status"] == "ACTIVE"


def test_a_task_has_the_time_that_its_handlers_have_and_the_roles_of_its_account() -> None:
    written = definition(everything())
    (container,) = written["containerDefinitions"]

    assert container["stopTimeout"] == 61
    assert written["taskRoleArn"] == f"arn:aws:iam::{NUMBER}:role/shop-consumer"
    assert written["executionRoleArn"] == f"arn:aws:iam::{NUMBER}:role/ecsTaskExecutionRole"
    assert container["command"][:3] == ["megaflow", "run", "shop.py:app"]
    assert container["readonlyRootFilesystem"]
    assert container["logConfiguration"]["options"]["mode"] == "non-blocking"


def test_the_health_check_asks_the_app_without_curl(monkeypatch: pytest.MonkeyPatch) -> None:
    port = find_port()
    kind, *command = definition(name_alone())["containerDefinitions"][0]["healthCheck"]["command"]
    check = [sys.executable, *(each.replace("8080", str(port)) for each in command[1:])]
    sqs = SqsClient(Account())
    app = App(sqs.create_queue(QueueName="orders")["QueueUrl"], client=sqs, retry_on=(), wait_time_seconds=1)
    answered: list[int] = []

    @app.on_data()
    def ask(data: dict[str, Any]) -> None:
        answered.append(subprocess.run(check, check=False).returncode)
        app.stop()

    app.publish({"order": 1})
    app.run(health_port=port)

    assert (kind, command[0], answered) == ("CMD", "python", [0])
    assert subprocess.run(check, check=False, capture_output=True).returncode == 1


def test_what_fargate_would_kill_too_early_is_refused() -> None:
    assert definition(App(queue="orders", shutdown_timeout=115))["containerDefinitions"][0]["stopTimeout"] == 120
    with pytest.raises(ConfigurationError, match=r"shutdown_timeout=116: Fargate kills after 120 seconds"):
        definition(App(queue="orders", shutdown_timeout=116))


def test_a_task_is_one_service() -> None:
    with pytest.raises(ConfigurationError, match="name one TARGET at a time"):
        write_task_definition(DEPLOYMENTS["a FIFO pair on one topic"])
    with pytest.raises(ConfigurationError, match="consumes no queue"):
        write_task_definition(deploy({"shop.py": App(topic="shop")}, **HERE))
