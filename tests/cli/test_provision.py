"""``megaflow provision``: what it shows, what it makes, and its exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from megaflow import App
from megaflow.cli.run import announce
from tests.cli.conftest import Run

SHOP = """
from megaflow import App
from megaflow.provision import Queue, Topic

app = App(queue=Queue("orders", subscribe=[Topic("shop", json_only=True)]), topic="shop")


@app.on_data({"type": "order"})
def order(data: dict) -> None: ...
"""

PAIR = """
from megaflow import App
from megaflow.provision import Queue, Topic

topic = Topic("shop", fifo=True)
orders = App(queue=Queue("orders", fifo=True, subscribe=[topic]), topic=topic)
mails = App(queue=Queue("mails", fifo=True, subscribe=[topic]))


@orders.on_data({"type": "order"})
@mails.on_data({"type": "order"})
def show(data: dict) -> None: ...
"""


@pytest.fixture(autouse=True)
def _region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-mine")


@pytest.fixture(autouse=True)
def shop(tmp_path: Path) -> Path:
    (tmp_path / "pair.py").write_text(PAIR)
    path = tmp_path / "shop.py"
    path.write_text(SHOP)
    return path


def test_it_differs_is_made_and_is_the_same(run: Run, sqs: Any) -> None:
    before = run("provision", "shop.py")

    assert before.code == 3
    assert [line.split()[:2] for line in before.out.splitlines()[1:]] == [
        ["queue", "orders-dead"],
        ["queue", "orders"],
        ["queue", "orders"],
        ["topic", "shop"],
        ["queue", "policy"],
        ["subscription", "orders"],
    ]
    assert "--apply makes what differs" in before.err
    assert "QueueUrls" not in sqs.list_queues()

    made = run("provision", "shop.py", "--apply")

    assert made.code == 0
    assert all("  made" in line for line in made.out.splitlines()[1:])
    after = run("provision", "shop.py")
    assert (after.code, after.out) == (0, "same: what is declared is there\n")
    assert run("provision", "shop.py", "--apply").out == "same: what is declared is there\n"


def test_json_is_one_object(run: Run, server: Any) -> None:
    differs = run("provision", "shop.py", "--json")

    assert differs.code == 3
    (said,) = differs.json
    assert said["same"] is False
    assert said["differences"][0] == {
        "resource": "queue",
        "name": "orders-dead",
        "attribute": None,
        "found": None,
        "declared": {"MessageRetentionPeriod": "1209600"},
        "state": "differs",
        "reason": None,
    }
    assert {each["state"] for each in run("provision", "shop.py", "--apply", "--json").json[0]["differences"]} == {
        "made"
    }
    assert run("provision", "shop.py", "--json").json == [{"same": True, "differences": []}]


def test_a_filter_is_narrowed_with_narrow_alone(run: Run, server: Any, shop: Path) -> None:
    assert run("provision", "shop.py", "--apply").code == 0
    shop.write_text(SHOP.replace('"type": "order"', '"type": "invoice"'))

    both = run("provision", "shop.py", "--apply")
    left = run("provision", "shop.py", "--apply")
    shown = run("provision", "shop.py")
    narrowed = run("provision", "shop.py", "--apply", "--narrow")

    assert (both.code, left.code, shown.code, narrowed.code) == (0, 0, 3, 0)
    assert "it lets through what either wants" in both.out
    assert "narrower" in left.out
    assert "--narrow does it" in shown.out
    assert "--apply makes" not in shown.err
    assert run("provision", "shop.py").code == 0


def test_several_apps_are_provisioned_together(run: Run, sqs: Any) -> None:
    assert run("provision", "pair.py:orders", "pair.py:mails", "--apply").code == 0

    names = sorted(url.rpartition("/")[2] for url in sqs.list_queues()["QueueUrls"])
    assert names == ["mails-dead.fifo", "mails.fifo", "orders-dead.fifo", "orders.fifo"]
    assert run("provision", "pair.py:mails").code == 0
    assert run("provision", "pair.py:orders").code == 0


def test_why_there_is_no_filter_is_said(run: Run, server: Any) -> None:
    said = run("provision", "pair.py:mails", "--apply")

    assert "mails.fifo to shop.fifo: no filter, as " in said.err
    assert "BSON" in said.err


def test_the_same_queue_in_two_regions_is_two(run: Run, server: Any, tmp_path: Path) -> None:
    (tmp_path / "regions.py").write_text(
        "from megaflow import App\n"
        'here = App(queue="orders", region_name="eu-west-1")\n'
        'there = App(queue="orders", region_name="us-east-2")\n'
    )

    made = run("provision", "regions.py:here", "regions.py:there", "--apply")

    assert made.code == 0
    assert [line.split()[1] for line in made.out.splitlines()[1:]] == ["orders-dead", "orders", "orders"] * 2
    assert run("provision", "regions.py:here", "regions.py:there").code == 0


def test_two_apps_that_consume_one_queue_are_refused(run: Run, server: Any, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text('from megaflow import App\na = App(queue="orders")\nb = App(queue="orders")\n')

    refused = run("provision", "one.py:a", "one.py:b", "--apply")

    assert refused.code == 2
    assert "one.py:a and one.py:b both consume the queue orders" in refused.err


def test_an_app_that_declares_nothing_is_told_how(run: Run, server: Any, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("from megaflow import App\napp = App('http://127.0.0.1:1/1/orders')\n")

    refused = run("provision", "shop.py", "plain.py")

    assert refused.code == 2
    assert 'plain.py declares neither a queue nor a topic: say App(queue="orders")' in refused.err


def test_narrow_says_something_about_apply(run: Run, server: Any) -> None:
    assert run("provision", "shop.py", "--narrow").code == 2


def test_what_is_refused_fails_and_the_rest_is_shown(
    run: Run, server: Any, monkeypatch: pytest.MonkeyPatch, sqs: Any
) -> None:
    orders = sqs.create_queue(QueueName="orders")["QueueUrl"]
    sqs.delete_queue(QueueUrl=orders)

    failed = run("provision", "shop.py", "--apply")

    assert failed.code == 1
    assert "less than 60 seconds ago" in failed.out
    assert ["topic", "shop"] in [line.split()[:2] for line in failed.out.splitlines()]


def test_no_connection_is_an_error_after_what_was_done(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    failed = run("provision", "shop.py", "--region", "eu-west-1")

    assert (failed.code, failed.out) == (1, "")
    assert "does anybody listen there?" in failed.err


def test_what_was_made_before_the_connection_is_lost_is_shown(
    run: Run, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", server.url)

    failed = run("provision", "shop.py", "--apply", "--json", "--region", "eu-west-1")

    assert failed.code == 1
    (said,) = failed.json
    assert said["same"] is False
    assert [(each["name"], each["state"]) for each in said["differences"]] == [
        ("orders-dead", "made"),
        ("orders", "made"),
        ("orders", "made"),
    ]
    assert "does anybody listen there?" in failed.err


def test_nothing_secret_and_nothing_of_others_is_shown(run: Run, sqs: Any) -> None:
    assert run("provision", "shop.py", "--apply").code == 0
    url = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
    theirs = '{"Version": "2012-10-17", "Statement": [{"Sid": "of-others", "Effect": "Allow", "Principal": "*"}]}'
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": theirs})

    shown = [run("provision", "shop.py", *more) for more in ((), ("--json",), ("--apply",))]

    for each in shown:
        assert "a-secret-of-mine" not in each.out + each.err
        assert "of-others" not in each.out + each.err
        assert "topic shop" in each.out


def test_run_says_the_name_of_the_queue_and_looks_nothing_up(capsys: pytest.CaptureFixture[str]) -> None:
    announce(App(queue="orders", topic="shop"), "text")

    said = capsys.readouterr().err
    assert "queue         orders\n" in said
    assert "publishes to  the topic shop\n" in said
