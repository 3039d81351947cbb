"""Payloads that lie outside of their messages, as commands show and move them."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from megaflow import SqsPublisher
from megaflow.messages.pointers import Pointer, write_pointer
from megaflow.payloads import DirectoryPayloads
from tests.cli.conftest import Run, take_all
from tests.cli.processes import piped
from tests.waiting import PATIENCE

LARGE = {"n": 1, "x": "x" * 1_048_576}
APP = """
from megaflow import App
from megaflow.payloads import DirectoryPayloads

app = App(large_payloads=DirectoryPayloads("payloads"))
without = App()
"""


@pytest.fixture
def payloads(tmp_path: Path) -> DirectoryPayloads:
    (tmp_path / "large_shop.py").write_text(APP)
    return DirectoryPayloads(tmp_path / "payloads", deletes_when_done=True)


@pytest.fixture
def sent(sqs: Any, orders: str, payloads: DirectoryPayloads) -> str:
    """Send a large message, and return where its payload lies."""
    SqsPublisher(queue_url=orders, client=sqs, large_payloads=payloads).publish(LARGE, attributes={"tenant": "acme"})
    (file,) = payloads.path.iterdir()
    return f"directory/{file.name}"


def test_peek_shows_where_it_lies_and_with_the_app_what_is_there(run: Run, sent: str) -> None:
    plain = run("peek", "orders")
    shown = run("peek", "orders", "--app", "large_shop.py:app")
    told = run("peek", "orders", "--app", "large_shop.py:app", "--json")

    assert write_pointer(Pointer(*sent.split("/"))) in plain.out
    assert shown.out.splitlines()[0].endswith(f"payload at {sent}")
    assert shown.out.splitlines()[1].startswith('  {"n": 1, "x": "xxx')
    assert shown.out.splitlines()[1].endswith("x… (--full)")
    (message,) = told.json
    assert (message["kind"], message["problem"], message["payload_at"]) == ("data", "", sent)
    assert json.loads(message["payload"]) == LARGE
    assert message["body"] == write_pointer(Pointer(*sent.split("/")))


def test_peek_says_why_it_cannot_be_had(run: Run, sent: str, payloads: DirectoryPayloads) -> None:
    payloads.delete(Pointer(*sent.split("/")))

    shown = run("peek", "orders", "--app", "large_shop.py:app")

    assert f"a pointer to a payload that cannot be had: {sent} is not there" in shown.out


def test_peek_says_that_it_is_out_of_reach(run: Run, sent: str, payloads: DirectoryPayloads) -> None:
    shutil.rmtree(payloads.path)
    payloads.path.touch()

    shown = run("peek", "orders", "--app", "large_shop.py:app")

    assert f"the payload at {sent} could not be read" in shown.out


def test_an_app_without_any_is_wrong_usage(run: Run, orders: str, payloads: DirectoryPayloads) -> None:
    ran = run("peek", "orders", "--app", "large_shop.py:without")

    assert ran.code == 2
    assert "that app has no large_payloads=" in ran.err


def test_tail_shows_it_too(sent: str) -> None:
    with piped("tail", "orders", "--app", "large_shop.py:app", "--json") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)

    assert json.loads(line)["payload_at"] == sent


@pytest.mark.parametrize("command", [["move", "orders", "orders-dead"], ["redrive", "orders-dead"]])
def test_what_moves_keeps_pointer_attribute_and_payload(
    run: Run, sqs: Any, orders: str, sent: str, payloads: DirectoryPayloads, command: list[str]
) -> None:
    source, target = orders, f"{orders}-dead"
    if command[0] == "redrive":
        assert run("move", "orders", "orders-dead").code == 0
        source, target = target, source

    ran = run(*command)

    assert ran.code == 0
    (moved,) = take_all(sqs, target)
    assert take_all(sqs, source) == []
    assert moved["MessageAttributes"].keys() == {"tenant", "ExtendedPayloadSize"}
    assert moved["Body"] == write_pointer(Pointer(*sent.split("/")))
    assert json.loads(payloads.read(Pointer(*sent.split("/")))) == LARGE


@pytest.mark.parametrize(("options", "moved"), [([], 0), (["--app", "large_shop.py:app"], 1)])
def test_a_pattern_is_asked_about_what_lies_there_where_an_app_reads_it(
    run: Run, sqs: Any, orders: str, sent: str, options: list[str], moved: int
) -> None:
    run("move", "orders", "orders-dead", "--pattern", '{"n": [1]}', *options)

    assert len(take_all(sqs, f"{orders}-dead")) == moved
