"""``megaflow run`` and ``megaflow dev`` with several apps: one worker, one port, one local server."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from megaflow.cli.errors import WrongUsage
from megaflow.cli.targets import load_apps
from megaflow.local.server import Server
from tests.cli.conftest import Run
from tests.cli.processes import Process, running
from tests.runtime.test_health_server import HOST, ask
from tests.waiting import wait_until

BILLING = """
from megaflow import App
app = App({queue!r}, retry_on=())
@app.on_data({{"kind": "order"}})
def bill(data):
    print("billed " + str(data["id"]), flush=True)
    app.publish({{"kind": "invoice", "id": data["id"]}})
"""
MAIL = """
from megaflow import App
app = App({queue!r}, retry_on=())
@app.on_data({{"kind": "invoice"}})
def mail(data):
    print("mailed " + str(data["id"]), flush=True)
"""


def write(**queues: str | None) -> None:
    """Write both apps into the package ``shop``, each with its queue."""
    Path("shop").mkdir()
    Path("shop/__init__.py").touch()
    Path("shop/billing.py").write_text(BILLING.format(queue=queues.get("billing")))
    Path("shop/mail.py").write_text(MAIL.format(queue=queues.get("mail")))


TARGETS = ("shop.billing:app", "shop.mail:app")


@pytest.mark.parametrize("processes", ["1", "2"])
def test_run_consumes_several_queues_and_names_each_app_on_one_port(server: Server, sqs: Any, processes: str) -> None:
    urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("billing", "mail")}
    write(**urls)

    with running("run", *TARGETS, "--health-port", "0", "--health-host", HOST, "--processes", processes) as process:
        for target, url in zip(TARGETS, urls.values(), strict=True):
            process.wait_for(f"megaflow .*: {target}")
            process.wait_for(f"queue .*{url}")
        port = int(process.wait_for("health is answered on port").split(" on port ")[1].split()[0])
        wait_until(lambda: ask(port, "/ready")[0] == 200)
        live, said = ask(port, "/live")
        sqs.send_message(QueueUrl=urls["billing"], MessageBody='{"kind": "order", "id": 7}')
        sqs.send_message(QueueUrl=urls["mail"], MessageBody='{"kind": "invoice", "id": 8}')
        process.wait_for_all("billed 7", "mailed 8")

        assert process.end() == 0
    assert live == 200
    assert {name: each["ready"] for name, each in said["apps"].items()} == dict.fromkeys(TARGETS, True)


@pytest.mark.parametrize("processes", [1, 2])
def test_signals_pause_all_apps_in_all_processes_and_resume_them(server: Server, sqs: Any, processes: int) -> None:
    urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("billing", "mail")}
    write(**urls)

    with running("run", *TARGETS, "--processes", str(processes)) as process:
        for _ in range(2 * processes):
            process.wait_for("consuming http")
        process.interrupt(signal.SIGUSR1)
        for _ in range(2 * processes):
            process.wait_for("paused: nothing is received until it is resumed")
        process.interrupt(signal.SIGUSR2)
        for _ in range(2 * processes):
            process.wait_for("resumed: messages are received again")
        sqs.send_message(QueueUrl=urls["mail"], MessageBody='{"kind": "invoice", "id": 8}')
        process.wait_for("mailed 8")

        assert process.end() == 0


def test_a_child_leaves_the_signals_that_pause_to_its_parent(server: Server, sqs: Any) -> None:
    urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("billing", "mail")}
    write(**urls)

    with running("run", *TARGETS, "--processes", "2") as process:
        pid = int(process.wait_for("process 1 of 2 started").rpartition(" ")[2])
        for _ in range(4):
            process.wait_for("consuming http")
        os.kill(pid, signal.SIGUSR1)
        process.interrupt(signal.SIGUSR1)
        for _ in range(4):
            process.wait_for("paused: nothing is received until it is resumed")

        assert process.end() == 0


def test_an_app_that_cannot_work_ends_run_as_one_alone_does(server: Server, sqs: Any, run: Run) -> None:
    write(billing=sqs.create_queue(QueueName="billing")["QueueUrl"], mail=f"{server.url}/000000000000/nowhere")

    ran = run("run", *TARGETS)

    assert ran.code == 2
    assert "shop.mail:app has failed, so that all are stopped" in ran.err
    assert ran.err.splitlines()[-1].startswith("megaflow: --queue-url 'http://")


def test_run_says_for_programs_which_app_consumes_which_queue(server: Server, sqs: Any) -> None:
    write(**{name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("billing", "mail")})

    with running("run", *TARGETS, "--log-format", "json") as process:
        said = [json.loads(process.wait_for(f"with {target}"))["message"] for target in TARGETS]
        process.wait_for_all("consuming http.*billing", "consuming http.*mail")

        assert process.end() == 0
    assert all(
        re.fullmatch(r"megaflow \S+ consumes http://\S+, and publishes to the queue.*, with \S+", each) for each in said
    )


@pytest.mark.parametrize("command", ["run", "dev"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shop.mail:app", "shop.billing:app", "shop.mail:app"], "shop.mail:app is named 2 times: name each app once"),
        ([], "Missing argument 'TARGET...'"),
    ],
)
def test_each_app_is_named_once(run: Run, command: str, arguments: list[str], said: str) -> None:
    write()

    ran = run(command, *arguments)

    assert ran.code == 2
    assert said in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shop.mail", "shop.mail:app"], "shop.mail and shop.mail:app are the same app: name it once"),
        ([*TARGETS, "--queue-url", "orders"], "--queue-url orders is one queue, for 2 apps: give each a queue_url= of"),
        ([*TARGETS], "shop.billing:app and shop.mail:app consume one queue, https://sqs.eu-west-1.amazonaws.com/"),
    ],
)
def test_what_cannot_run_together_is_said(run: Run, arguments: list[str], said: str) -> None:
    queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
    write(billing=queue, mail=queue)

    ran = run("run", *arguments)

    assert ran.code == 2
    assert said in ran.err


def test_several_apps_of_one_file_are_those_of_one_module() -> None:
    Path("two.py").write_text("from megaflow import App\none, other = App(), App()\nboth = one, other\n")

    apps = load_apps(["two.py:one", "two.py:other"])

    assert tuple(apps.values()) == sys.modules["two"].both


def test_two_files_that_would_be_one_module_are_refused() -> None:
    for folder in ("billing", "mail"):
        Path(folder).mkdir()
        Path(folder, "jobs.py").write_text("from megaflow import App\napp = App()\n")

    with pytest.raises(WrongUsage, match=r"billing/jobs\.py and mail/jobs\.py would both be the module jobs"):
        load_apps(["billing/jobs.py", "mail/jobs.py"])


def end_of_start(process: Process) -> str:
    """Return the URL of the server, once all has begun."""
    url = process.wait_for("AWS_ENDPOINT_URL=").split("=")[1]
    process.wait_for("megaflow redrive shop-mail-dead")
    return url


def test_dev_runs_several_apps_on_one_server_with_a_topic_that_leads_to_all(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    Path("order.json").write_text('{"kind": "order", "id": 7}')
    Path("odd.json").write_text('{"kind": "odd"}')

    with running("dev", *TARGETS, "--port", "0") as process:
        monkeypatch.setenv("AWS_ENDPOINT_URL", end_of_start(process))
        topic = next(line.split()[3] for line in process.said if "--topic" in line)
        assert run("publish", "order.json", "--topic", topic).code == 0
        # What one publishes reaches the other; what is for one of them is nothing that the other one misses.
        process.wait_for_all("billed 7", "mailed 7", "deleted  shop.mail.mail DONE")
        assert run("publish", "odd.json", "--topic", topic).code == 0
        process.wait_for_all("no handler of shop.billing:app matched", "no handler of shop.mail:app matched")

        # What is sent to a queue itself is missed by its app alone.
        assert run("publish", "order.json", "--queue", "shop-mail").code == 0
        process.wait_for("no handler of shop.mail:app matched")
        Path("shop/mail.py").write_text(MAIL.format(queue=None).replace("mailed", "posted"))
        process.wait_for("mail.py changed: starting anew")
        process.wait_for("on the queue shop-mail")
        assert run("publish", "order.json", "--queue", "shop-billing").code == 0
        process.wait_for_all("billed 7", "posted 7")

        assert process.end(signal.SIGINT) == 0
    assert topic.endswith(":shared")
    assert sum("no handler of" in line for line in process.said) == 3


TOPIC = "arn:aws:sns:us-east-1:000000000000:events"


def test_dev_publishes_where_each_app_says(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/mail"
    write(mail=queue)
    Path("shop/billing.py").write_text(BILLING.format(queue=None).replace("App(None, ", f"App(None, {TOPIC!r}, "))

    with running("dev", *TARGETS, "--port", "0", "--no-reload") as process:
        process.wait_for("1 handler on the queue shop-billing,")
        process.wait_for(f"  publishes to the topic {TOPIC}")
        process.wait_for("1 handler on the queue mail,")
        process.wait_for("  publishes to the queue, as no topic is set")
        process.wait_for("--queue shop-billing FILE")
        process.wait_for("--queue mail FILE")
        process.wait_for(f"--topic {TOPIC} FILE")

        assert process.end() == 0


def test_dev_without_reload_ends_with_the_error_of_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write()
    Path("shop/mail.py").write_text("from megaflow import App\napp = App()\n")

    with running("dev", *TARGETS, "--port", "0", "--no-reload") as process:
        process.wait_for("megaflow: shop.mail:app: no handler is registered")

        assert process.wait() == 2
