"""``megaflow run`` and ``megaflow dev``, as processes: what they say, and that they lose nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from megaflow.local.server import Server
from tests.cli.conftest import Run
from tests.cli.processes import running

SHOP = """
from megaflow import App, Reject
app = App()
@app.on_data({"kind": "refund"})
def refund(data):
    if data["amount"] > 100:
        raise Reject("too much")
    print("refunded", data["amount"], flush=True)
"""


def test_run_says_what_it_runs_and_what_becomes_of_messages(server: Server, sqs: Any, orders: str) -> None:
    Path("shop.py").write_text(SHOP)
    with running("run", "shop.py:app", "--queue-url", orders, "--concurrency", "3") as process:
        process.wait_for(f"queue .*{orders}")
        process.wait_for("handlers +1, up to 3 at once")
        process.wait_for(r"shop\.refund  data: \{'kind': 'refund'\}  \(.*shop\.py:4\)")
        sqs.send_message(QueueUrl=orders, MessageBody='{"kind": "refund", "amount": 7}')
        process.wait_for("refunded 7")
        process.wait_for(r"INFO +message .*: deleted \(shop.refund: DONE\)")

        assert process.end() == 0


def test_run_takes_an_arn_as_every_command_does(server: Server, sqs: Any, orders: str) -> None:
    Path("shop.py").write_text(SHOP)
    with running("run", "shop.py:app", "--queue-url", "arn:aws:sqs:us-east-1:000000000000:orders") as process:
        process.wait_for(f"queue .*{orders}")
        sqs.send_message(QueueUrl=orders, MessageBody='{"kind": "refund", "amount": 7}')
        process.wait_for("refunded 7")

        assert process.end() == 0


def test_run_looks_a_name_up_where_the_app_itself_is(server: Server, run: Run) -> None:
    Path("shop.py").write_text(SHOP.replace("App()", "App(region_name='eu-west-1')"))

    ran = run("run", "shop.py:app", "--queue-url", "nowhere")

    assert ran.code == 2
    assert re.search("there is no queue nowhere at .*, in eu-west-1", ran.err)


def test_an_app_takes_addresses_alone(server: Server, run: Run) -> None:
    Path("shop.py").write_text(SHOP.replace("App()", "App('orders')"))

    ran = run("run", "shop.py:app")

    assert ran.code == 2
    assert "'orders' is not the URL or the ARN of a queue, but a name, which says neither region nor" in ran.err


def test_run_logs_for_programs(server: Server, sqs: Any, orders: str) -> None:
    Path("shop.py").write_text(SHOP)
    sent = sqs.send_message(QueueUrl=orders, MessageBody='{"kind": "refund", "amount": 500}')["MessageId"]
    began = time.monotonic()
    with running("run", "shop.py", "--queue-url", orders, "--log-format", "json") as process:
        failed = json.loads(process.wait_for("rejects it"))
        became = json.loads(process.wait_for('"fate"'))
        process.end()
        took = time.monotonic() - began

    assert failed["message_id"] == became["message_id"] == sent
    assert (failed["level"], failed["handler"], failed["status"]) == ("ERROR", "shop.refund", "FATAL_ERROR")
    assert failed["message"].endswith("rejects it: too much")
    assert failed["queue"] == became["queue"] == orders
    assert (became["fate"], became["handler"], became["status"]) == ("dead-lettered", "shop.refund", "FATAL_ERROR")
    assert 0 <= failed["seconds"] == became["seconds"] < took
    assert all(json.loads(line) for line in process.said)


LOGGING_SHOP = """
import asyncio, logging
from megaflow import App
log = logging.getLogger("shop")
app = App()
app.propagate("x-request-id")
@app.on_data({"kind": "refund"})
async def refund(data):
    await asyncio.sleep(0)
    log.info("refunding", extra={"amount": data["amount"], "tags": {1}, "order": {"id": 7}})
"""


def test_lines_of_ones_own_have_what_they_were_given_and_know_their_message(
    server: Server, sqs: Any, orders: str
) -> None:
    Path("shop.py").write_text(LOGGING_SHOP)
    attributes = {"x-request-id": {"DataType": "String", "StringValue": "r-1"}}
    body = '{"kind": "refund", "amount": 5}'
    sent = sqs.send_message(QueueUrl=orders, MessageBody=body, MessageAttributes=attributes)["MessageId"]
    with running("run", "shop.py", "--queue-url", orders, "--log-format", "json") as process:
        own = json.loads(process.wait_for("refunding"))
        process.end()

    known = {"message_id": sent, "queue": orders, "handler": "shop.refund", "receive_count": 1, "x-request-id": "r-1"}
    given = {"amount": 5, "tags": "{1}", "order": {"id": 7}, "logger": "shop", "message": "refunding"}
    assert {key: own.get(key) for key in known | given} == known | given


@pytest.mark.parametrize("processes", [1, 2])
def test_run_answers_for_its_health_where_it_is_told(server: Server, orders: str, processes: int) -> None:
    Path("shop.py").write_text(SHOP)
    told = ["--queue-url", orders, "--health-port", "0", "--health-host", "127.0.0.2"]
    with running("run", "shop.py", *told, "--processes", str(processes)) as process:
        said = process.wait_for("health is answered")
        process.wait_for("consuming http")

        assert process.end() == 0
    assert "of 127.0.0.2: /live, /ready" in said


def test_a_health_host_is_named_as_the_option_that_it_is(run: Run, server: Server, orders: str) -> None:
    Path("shop.py").write_text(SHOP)

    ran = run("run", "shop.py", "--queue-url", orders, "--health-host", "127.0.0.2")

    assert ran.code == 2
    assert "--health-host '127.0.0.2' needs a --health-port" in ran.err


def test_run_in_several_processes_connects_each_as_it_was_told_by_name(server: Server, sqs: Any, orders: str) -> None:
    # In one go: two processes and their threads write to the same pipe.
    Path("shop.py").write_text(
        f"import os\n{SHOP}".replace("print(", "os.write(1, b'refunded %d\\n' % data['amount']) #")
    )
    with running("run", "shop.py", "--queue-url", "orders", "--processes", "2", "--log-level", "info") as process:
        process.wait_for(f"queue .*{orders}")
        process.wait_for("handlers")
        for number in range(40):
            sqs.send_message(QueueUrl=orders, MessageBody=json.dumps({"kind": "refund", "amount": number}))
        done = {process.wait_for("refunded").split()[-1] for _ in range(40)}

        assert process.end() == 0
    assert done == {str(number) for number in range(40)}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["shop.py:nothing"], 2, "there is no 'nothing' in shop.py; there is shop.py:app"),
        (["shop.py"], 2, "--queue-url is not set: give --queue-url, or set MEGAFLOW_QUEUE_URL (a URL or an ARN)"),
        (["shop.py", "--queue-url", "nowhere"], 2, "there is no queue nowhere at "),
        (["shop.py", "--queue-url", "{server}/000000000000/nowhere"], 2, "there is no such queue"),
        (["shop.py", "--concurrency", "0"], 2, "Invalid value for '--concurrency'"),
    ],
)
def test_what_cannot_run_is_said(server: Server, run: Run, arguments: list[str], code: int, said: str) -> None:
    Path("shop.py").write_text(SHOP)

    ran = run("run", *(each.format(server=server.url) for each in arguments))

    assert ran.code == code
    assert said in ran.err


def test_dev_makes_all_that_an_app_needs_shows_messages_and_starts_anew(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("shop.py").write_text(SHOP)
    Path("some.jsonl").write_text(
        '{"kind": "refund", "amount": 7}\n{"kind": "refnd"}\n{"kind": "refund", "amount": 500}\n'
    )
    with running("dev", "shop.py:app", "--port", "0", "--data", "queues.db") as process:
        url = process.wait_for("AWS_ENDPOINT_URL=").split("=")[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        process.wait_for("publishes to the queue, as no topic is set")
        topic = process.wait_for("--topic").split()[-2]
        process.wait_for("megaflow redrive shop-dead")

        assert run("publish", "some.jsonl", "--queue", "shop").code == 0
        Path("one.json").write_text('{"kind": "refund", "amount": 8}')
        assert run("publish", "one.json", "--topic", topic).code == 0
        process.wait_for_all(
            "dead-lettered  shop.refund FATAL_ERROR", "refunded 8", "kind: wanted 'refund', found 'refnd'"
        )

        # A change that cannot be imported is said, and what is sent meanwhile waits for the next one.
        Path("shop.py").write_text("this is no Python")
        process.wait_for("shop.py changed: starting anew")
        process.wait_for("SyntaxError")
        Path("more.json").write_text('{"kind": "refund", "amount": 9}')
        assert run("publish", "more.json", "--queue", "shop").code == 0
        Path("shop.py").write_text(SHOP.replace("> 100", "> 1000"))
        process.wait_for("shop.py changed: starting anew")
        process.wait_for("refunded 9")

        assert run("redrive", "shop-dead").out == "moved 1 message to shop\n"
        process.wait_for("refunded 500")
        assert process.end(signal.SIGINT) == 0


PRINTING_SHOP = """
from megaflow import App
app = App(wait_time_seconds=1, retry_on=())
@app.on_text()
def take(text):
    print("taken", text, flush=True)
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_signals_pause_a_run_and_resume_it(server: Server, sqs: Any, orders: str, processes: int) -> None:
    Path("shop.py").write_text(PRINTING_SHOP)
    with running("run", "shop.py", "--queue-url", orders, "--processes", str(processes)) as process:
        for _ in range(processes):
            process.wait_for("consuming http")
        process.interrupt(signal.SIGUSR1)
        for _ in range(processes):
            process.wait_for("paused: nothing is received until it is resumed")
        sqs.send_message(QueueUrl=orders, MessageBody="a")
        process.interrupt(signal.SIGUSR2)
        for _ in range(processes):
            process.wait_for("resumed: messages are received again")
        process.wait_for_all("taken a")
        process.interrupt(signal.SIGUSR1)
        process.wait_for("paused")

        assert process.end() == 0


def test_a_process_that_takes_the_place_of_another_one_begins_paused(server: Server, orders: str) -> None:
    Path("shop.py").write_text(PRINTING_SHOP)
    with running("run", "shop.py", "--queue-url", orders, "--processes", "2") as process:
        pid = int(process.wait_for("process 1 of 2 started").rpartition(" ")[2])
        for _ in range(2):
            process.wait_for("consuming http")
        process.interrupt(signal.SIGUSR1)
        for _ in range(2):
            process.wait_for("paused: nothing")
        os.kill(pid, signal.SIGKILL)
        process.wait_for("process 1 of 2 started")
        process.wait_for("paused: nothing")
        process.interrupt(signal.SIGUSR2)
        for _ in range(2):
            process.wait_for("resumed")

        assert process.end() == 0


def test_dev_without_reload_ends_with_the_app() -> None:
    Path("shop.py").write_text("from megaflow import App\napp = App()\n")

    with running("dev", "shop.py", "--port", "0", "--no-reload") as process:
        process.wait_for("megaflow: ")

        assert process.wait() == 2


TOPIC = "arn:aws:sns:us-east-1:000000000000:refunds"


@pytest.mark.parametrize(
    ("topic", "said"),
    [(TOPIC, f"the topic {TOPIC}"), ("", "the queue, as no topic is set (topic_arn=, MEGAFLOW_TOPIC_ARN)")],
)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_run_says_where_the_app_publishes_to(
    server: Server,
    sqs: Any,
    orders: str,
    topic: str,
    said: str,
    log_format: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MEGAFLOW_TOPIC_ARN", topic)
    Path("shop.py").write_text(f"{SHOP}\napp.stop()\n")
    with running("run", "shop.py", "--queue-url", orders, "--log-format", log_format) as process:
        line = process.wait_for("publishes to")

    assert said in line


def test_dev_says_to_which_topic_the_app_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEGAFLOW_TOPIC_ARN", TOPIC)
    Path("shop.py").write_text(SHOP)
    with running("dev", "shop.py", "--port", "0", "--no-reload") as process:
        line = process.wait_for("publishes to")

        assert process.end() == 0
    assert f"the topic {TOPIC}" in line
