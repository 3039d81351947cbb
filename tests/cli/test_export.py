"""``megaflow export``: what it prints, and what it says where it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from megaflow.cli.export import FORMATS
from tests.cli.conftest import Run

SHOP = """
from megaflow import App
from megaflow.provision import Queue, Topic

app = App(queue=Queue("orders", subscribe=[Topic("shop", json_only=True)]), topic="shop", retry_on=())
app.on_data({"kind": {"a": "\\u00e9"}})(print)
"""
HERE = ("--region", "eu-west-1", "--account", "123456789012")


@pytest.fixture(autouse=True)
def shop(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)


@pytest.mark.parametrize("name", FORMATS)
def test_a_document_is_all_that_is_printed_and_the_same_each_time(name: str, run: Run) -> None:
    ran = run("export", "shop.py", "--format", name, *HERE)
    documents = [*yaml.safe_load_all(ran.out)]

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith("\n")
    assert ran.out == run("export", "shop.py", "--format", name, *HERE).out
    assert all(documents)
    if name in ("terraform", "iam", "ecs"):
        assert [json.loads(ran.out)] == documents


@pytest.mark.parametrize("name", ["cloudformation", "terraform", "compose"])
def test_why_a_subscription_has_no_filter_is_said_beside_the_document(name: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP.replace(", json_only=True", ""))

    ran = run("export", "shop.py", "--format", name)

    assert ran.code == 0
    assert [*yaml.safe_load_all(ran.out)] != []
    assert "orders to shop: no filter, as builtins.print" in ran.err


def test_what_a_compose_file_lacks_is_said(run: Run, tmp_path: Path) -> None:
    kept = 'retry_on=(), progress=DynamoDbStore("orders-progress")'
    (tmp_path / "shop.py").write_text(
        SHOP.replace("retry_on=()", kept).replace("import App", "import App, DynamoDbStore")
    )

    assert run("export", "shop.py", "--format", "compose").err == "there is no DynamoDB in it for orders-progress\n"
    assert run("export", "shop.py", "--format", "cloudformation").err == ""


def test_a_role_is_one_policy(run: Run) -> None:
    policies = json.loads(run("export", "shop.py", "--format", "iam", *HERE).out)

    assert list(policies) == ["consumer", "producer", "operator"]
    for role, policy in policies.items():
        assert json.loads(run("export", "shop.py", "--format", "iam", "--role", role, *HERE).out) == policy


def test_a_topic_of_somebody_else_is_named(run: Run) -> None:
    ran = run("export", "shop.py", "--format", "cloudformation", "--existing-topic", "shop")

    assert "AWS::SNS::Topic" not in ran.out
    assert "AWS::SNS::Subscription" in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "iam"], "the region is not known, as no address of an app names it: give --region eu-west-1"),
        (["--format", "iam", "--region", "eu-west-1"], "give --account 123456789012"),
        (["--format", "ecs", "--region", "Europe"], "--region 'Europe' must be a region, such as eu-west-1"),
        (["--format", "ecs", "--account", "12"], "--account '12' must be twelve digits"),
        (["--format", "ecs", "--existing-topic", "x"], "--existing-topic 'x': no app publishes or subscribes to"),
        (["--format", "ecs", "--role", "consumer"], "--role consumer says something about --format iam, and this is"),
        ([], "Missing option '--format'"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_a_line(arguments: list[str], said: str, run: Run) -> None:
    ran = run("export", "shop.py", *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_without_the_extra_yaml_is_missing_and_json_is_not(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "yaml.py").write_text("raise ModuleNotFoundError(\"No module named 'yaml'\", name='yaml')")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "without"), *sys.path])}

    def run(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "megaflow", "export", "shop.py", "--format", name, *HERE]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run("terraform").returncode == 0
    without = run("kubernetes")
    assert without.returncode == 2
    assert without.stderr == (
        "megaflow: YAML needs the extra provision (No module named 'yaml'): pip install 'megaflow-sqs[provision]'\n"
    )
