"""``megaflow doctor``: what it shows, its exit codes, and that what was provisioned is healthy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.test_provision import PAIR, SHOP

README = """
from megaflow import App
from megaflow.match.functions import gt
from megaflow.provision import Queue, Topic

topic = Topic("shop", json_only=True)
app = App(queue=Queue("orders", subscribe=[topic]), topic=topic, retry_on=ConnectionError)


@app.on_data({"kind": "order", "total": gt(100)})
def say_thanks(order: dict) -> None:
    print(f"thank you for order {order['id']}")
"""

CARTS = """
from megaflow import App, Payload
from megaflow.match.functions import empty, gt, not_, one_of
from megaflow.provision import Queue, Topic

app = App(queue=Queue("carts", subscribe=[Topic("carts", json_only=True)]), topic="carts")


@app.on_event(
    domain="shopping_cart",
    name="item.added",
    version=one_of(1, 2),
    attributes={"item_id": not_(empty()), "quantity": gt(0)},
)
def item_added(payload: Payload) -> None: ...


@app.on_event(domain="shopping_cart", name="item.removed")
def item_removed(payload: Payload) -> None: ...


@app.on_event(domain="shopping_cart", name="checkout")
def checkout(payload: Payload) -> None: ...
"""


@pytest.fixture(autouse=True)
def _region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-mine")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    for name, text in {"shop": SHOP, "pair": PAIR, "orders": README, "carts": CARTS}.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "targets", [["orders.py"], ["carts.py"], ["pair.py:orders", "pair.py:mails"]], ids=["readme", "carts", "fifo"]
)
def test_from_an_empty_account_what_is_provisioned_has_no_findings(run: Run, server: Any, targets: list[str]) -> None:
    sick = run("doctor", *targets)
    made = run("provision", *targets, "--apply")
    well = run("doctor", *targets)

    assert (sick.code, made.code, well.code) == (1, 0, 0)
    assert "error: " in sick.out
    assert well.out.startswith("no findings: ")
    assert well.out.endswith(f" checks of {', '.join(targets)}\n")
    assert run("provision", *targets).code == 0


LET_IT_SEND = (
    "Let sns.amazonaws.com do sqs:SendMessage where aws:SourceArn is the topic; megaflow provision --apply does."
)


def test_a_finding_says_what_it_costs_what_to_do_and_where_to_read_on(run: Run, sqs: Any) -> None:
    assert run("provision", "shop.py", "--apply").code == 0
    url = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": "", "SqsManagedSseEnabled": "false"})

    said = run("doctor", "shop.py")

    assert said.code == 1
    assert said.out.splitlines() == [
        "error: shop: the policy of orders does not let it send",
        "  cost  SNS cannot deliver, tries for a while, and drops the messages.",
        f"  do    {LET_IT_SEND}",
        "  see   docs/how-to/fan-out.md  (topic-may-not-send)",
        "warning: orders: its messages are not encrypted where they are kept",
        "  cost  Bodies are kept as they are.",
        '  do    Queue(encryption="sqs"), which costs nothing, or a key of KMS.',
        "  see   docs/explanation/threat-model.md  (unencrypted)",
    ]


def test_warnings_alone_are_no_failure(run: Run, server: Any) -> None:
    assert run("provision", "shop.py", "--apply").code == 0

    said = run("doctor", "shop.py", "--grace-period", "10", "--json")

    assert said.code == 0
    (told,) = said.json
    assert [each["check"] for each in told.pop("findings")] == ["short-grace-period"]
    assert told == {"errors": 0, "warnings": 1, "notes": 0}


def test_json_is_one_object(run: Run, server: Any) -> None:
    assert run("provision", "shop.py", "--apply").code == 0
    assert run("doctor", "shop.py", "--json").json == [{"errors": 0, "warnings": 0, "notes": 0, "findings": []}]

    said = run("doctor", "pair.py:mails", "shop.py", "--json")

    assert said.code == 1
    (told,) = said.json
    assert told["findings"][0] == {
        "target": "pair.py:mails",
        "check": "missing",
        "severity": "error",
        "name": "the queue mails.fifo",
        "found": "is not there",
        "cost": "The app cannot start, or cannot publish.",
        "remedy": "megaflow provision --apply makes what is declared; or look whether region and account are right.",
        "page": "docs/reference/addresses.md",
    }


def test_of_several_targets_each_finding_says_whose_it_is(run: Run, server: Any) -> None:
    said = run("doctor", "pair.py:orders", "pair.py:mails")

    assert "error: pair.py:orders: the queue orders.fifo: is not there\n" in said.out
    assert "error: pair.py:mails: the queue mails.fifo: is not there\n" in said.out


def test_different_handlers_on_one_queue_are_an_error(run: Run, server: Any, folder: Path) -> None:
    (folder / "both.py").write_text(
        "from megaflow import App\n"
        'a, b = App(queue="orders"), App(queue="orders")\n'
        "@a.on_data({'type': 'order'})\ndef order(data: dict): ...\n"
        "@b.on_data({'type': 'mail'})\ndef mail(data: dict): ...\n"
    )
    assert run("provision", "both.py:a", "--apply").code == 0

    said = run("doctor", "both.py:a", "both.py:b")

    assert said.code == 1
    assert said.out.startswith(
        "error: both.py:b: orders: both.py:a consumes it, too, and only one of both has both.mail, both.order\n"
    )
    assert run("doctor", "both.py:b").code == 0


def test_the_timeout_of_a_function_is_told(run: Run, server: Any) -> None:
    assert run("provision", "shop.py", "--apply").code == 0

    too_long, long = (run("doctor", "shop.py", "--lambda-timeout", seconds) for seconds in (31, 6))
    fine = run("doctor", "shop.py", "--lambda-timeout", "5")

    assert (too_long.code, long.code, fine.code) == (1, 0, 0)
    assert "(visibility-below-lambda)" in too_long.out
    assert "six of that are 36 s  " not in long.out
    assert "and the Lambda function may take 6 s: six of that are 36 s" in long.out
    assert fine.out.startswith("no findings")
    assert run("doctor", "shop.py", "--lambda-timeout", "0").code == 2


def test_a_grace_period_is_known_of_where_it_runs(run: Run, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("provision", "shop.py", "--apply").code == 0
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert run("doctor", "shop.py").out.startswith("no findings")

    Path("shop.py").write_text(SHOP.replace("App(", "App(shutdown_timeout=60, "))

    assert (
        "warning: shutdown_timeout: Kubernetes gives, where nothing else is said, 30 s" in run("doctor", "shop.py").out
    )
    assert run("doctor", "shop.py", "--grace-period", "65").out.startswith("no findings")


def test_other_services_are_asked_where_that_is_said(run: Run, server: Any) -> None:
    assert run("provision", "shop.py", "--apply").code == 0

    # The embedded server is no Lambda.
    said = run("doctor", "shop.py", "--ask", "lambda")

    assert said.code == 0
    assert said.out.startswith("warning: the Lambda functions of the queue: could not be looked at: ")
    assert run("doctor", "shop.py", "--ask", "sqs").code == 2


def test_no_connection_is_a_finding(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    said = run("doctor", "shop.py", "--region", "eu-west-1")

    assert said.code == 1
    assert "(no-way-to-aws)" in said.out
    assert said.err == ""


def test_what_is_said_of_parameters_is_said_of_options(run: Run, folder: Path, server: Any) -> None:
    (folder / "there.py").write_text(
        'from megaflow import App\napp = App("https://sqs.eu-west-1.amazonaws.com/123456789012/orders")\n'
    )

    said = run("doctor", "there.py", "--region", "us-east-2")

    assert "--region 'us-east-2' was given" in said.out


def test_nothing_secret_is_shown(run: Run, server: Any) -> None:
    for said in (run("doctor", "shop.py"), run("doctor", "shop.py", "--json")):
        assert "a-secret-of-mine" not in said.out + said.err
