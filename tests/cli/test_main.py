"""The command itself: its help, its exit codes, errors in one line; and what shows an app."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import megaflow
from megaflow.cli.main import COMMANDS
from tests import forked
from tests.cli.conftest import Run
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
SHOP = """
from megaflow import App
from megaflow.match.functions import gt
app = App(retry_on=ConnectionError)
@app.on_data({"kind": "refund", "amount": gt(5)})
def refund(data): ...
@app.on_data({"kind": "refund", "amount": gt(5)})
def again(data): ...
"""


def _run(*arguments: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "megaflow", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let boto3 try once."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def test_the_help_names_every_command(run: Run) -> None:
    ran = run("--help")

    assert ran.code == 0
    for name in COMMANDS:
        assert f"  {name} " in ran.out
    assert "..." not in ran.out.partition("Commands:")[2]
    assert max(map(len, ran.out.splitlines())) <= 80


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "local"])
def test_every_command_has_help(run: Run, name: str) -> None:
    ran = run(name, "--help")

    assert ran.code == 0
    assert ran.out.startswith(f"Usage: megaflow {name}")


def test_the_version(run: Run) -> None:
    assert run("--version").out == f"megaflow-sqs {megaflow.__version__}\n"


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "Usage: megaflow"),
        (("nonsense",), 2, "megaflow: No such command 'nonsense'. (megaflow --help says more)\n"),
        (("peek",), 2, "megaflow: Missing argument 'QUEUE'. (megaflow peek --help says more)\n"),
        (("explain", "shop", "nowhere.json"), 2, "megaflow: Invalid value for 'FILE'"),
        (("peek", "q", "--region", "eu-west-1"), 1, "megaflow: Unable to locate credentials. Set them in the"),
        (("peek", "q"), 2, "megaflow: no AWS region for sqs: give --region, or set"),
        (("peek", "q"), 2, "for SQS and SNS on this machine, set AWS_ENDPOINT_URL"),
        (("peek", "q", "--endpoint-url", "nowhere"), 2, "megaflow: --endpoint-url 'nowhere' must begin with http"),
        (("handlers", ".:app"), 2, "megaflow: '.:app' names no module and no file"),
        (("peek", "q", "--profile", "nowhere"), 2, "megaflow: --profile 'nowhere'"),
        (("peek", "q", "--endpoint-url", "http://127.0.0.1:9"), 1, "megaflow: Could not connect to the endpoint URL"),
    ],
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(
    run: Run, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ran = run(*arguments)

    assert ran.code == code
    assert said in ran.err + ran.out
    if code == 1 or arguments:
        assert ran.err.count("\n") == 1


def test_debug_shows_the_traceback(run: Run) -> None:
    assert "Traceback" in run("--debug", "peek", "q", "--profile", "nowhere").err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    Path("shop.py").write_text(SHOP)
    command = f"{sys.executable} -m megaflow handlers shop | true"

    ran = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=PATIENCE)

    assert ran.stderr == ""


def test_without_the_extra_it_is_named() -> None:
    Path("click.py").write_text("raise ModuleNotFoundError('there is no click', name='click')")

    ran = _run("--help")

    assert ran.returncode == 2
    assert ran.stderr == (
        "megaflow: the command line needs the extra cli (there is no click): pip install 'megaflow-sqs[cli]'\n"
    )


def test_without_what_sees_changes_dev_names_the_extra_and_starts_nothing() -> None:
    Path("shop.py").write_text(SHOP)
    Path("watchfiles.py").write_text("raise ModuleNotFoundError('there is no watchfiles', name='watchfiles')")

    ran = _run("dev", "shop.py", "--port", "0")

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "megaflow: starting anew when the code changes needs the extra cli (there is no watchfiles): "
        "pip install 'megaflow-sqs[cli]'; --no-reload does without\n"
    )


def test_completion_is_for_three_shells() -> None:
    for shell in ("bash", "zsh", "fish"):
        environment = os.environ | {"_MEGAFLOW_COMPLETE": f"{shell}_source"}
        assert "_MEGAFLOW_COMPLETE" in forked.run("-m", "megaflow", env=environment, timeout=PATIENCE).stdout


def test_handlers_are_shown_with_what_is_odd_about_them(run: Run) -> None:
    Path("shop.py").write_text(SHOP)

    shown, told = run("handlers", "shop.py"), run("handlers", "shop.py", "--json")

    heading, *rows = shown.out.splitlines()
    assert heading.split() == ["handler", "kind", "pattern", "where"]
    assert rows[0].split("  ")[0] == "shop.refund"
    assert "{'kind': 'refund', 'amount': gt(5)}" in rows[0]
    assert "shop.py:5" in rows[0]
    assert "shop.again" in rows[2]
    known = json.loads(told.out)
    assert [each["name"] for each in known["handlers"]] == ["shop.refund", "shop.again"]
    assert known["findings"][0]["other"] == "shop.refund"
    assert "\x1b" not in shown.out


def test_the_filter_policy_for_a_topic(run: Run) -> None:
    Path("shop.py").write_text(SHOP)

    cut, whole = (
        run("handlers", "shop.py", "--sns-filter-policy", "--json-only"),
        run("handlers", "shop.py", "--sns-filter-policy"),
    )

    assert (cut.code, json.loads(cut.out)["kind"]) == (0, ["refund"])
    assert whole.code == 1
    assert "BSON" in whole.err
    assert "--json-only" in whole.err


def test_a_body_is_explained(run: Run) -> None:
    Path("shop.py").write_text(SHOP)
    Path("body.json").write_text('{"kind": "refund", "amount": 3}\n')

    shown = run("explain", "shop.py", "body.json")
    told = _run("explain", "shop.py", "-", "--json", text='{"kind": "refund", "amount": 7}')

    assert shown.code == 1
    assert "shop.refund: not matched" in shown.out
    assert "amount: wanted gt(5), found 3" in shown.out
    assert told.returncode == 0
    assert [each["matched"] for each in json.loads(told.stdout)["handlers"]] == [True, True]


@pytest.mark.parametrize("command", [["dev", "shop.py", "--no-reload"], ["local"]], ids=lambda command: command[0])
def test_a_port_that_is_taken_is_said_with_a_way_out(command: list[str]) -> None:
    Path("shop.py").write_text(SHOP)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ran = forked.run("-m", "megaflow", *command, "--port", str(port), timeout=PATIENCE)

    said = f"cannot listen on 127.0.0.1:{port}: Address already in use (is another one running?); port 0"
    assert ran.returncode == 2
    assert said in ran.stderr


def test_what_is_wrong_in_broken_json_is_named(run: Run) -> None:
    Path("shop.py").write_text(SHOP)
    Path("order.json").write_text('{"kind":\n "refund",}')

    ran = run("explain", "shop.py", "order.json")

    # Python's words for it changed with 3.13.
    assert "it is no JSON (line 2, column 1" in ran.err
