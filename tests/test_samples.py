"""Every sample is a program that runs, and prints what it says."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest

from megaflow import PayloadBuilder, SqsPublisher
from samples.demo import Verdict, find_problems
from tests import forked
from tests.docs.test_sessions import find_port
from tests.postgresql import postgresql
from tests.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "samples").glob("[0-9]*.py"))
README = (ROOT / "tests" / "data" / "sqs-mega-python-README.md").read_text()

SKIPPED = "skipped: finished earlier with the same key"
PRINTED = {
    "01_quickstart.py": ["reserving 5 of 61fcc874", "notifying user 987650"],
    "02_shopping_cart.py": [
        "    event.attributes.quantity: wanted gt(0), found 0",
        "added 5 x 61fcc874",
        "removed 3c7f8798",
        "cart 18a3f92e is locked, later",
        "checked out 18a3f92e",
    ],
    "03_data_objects.py": [
        "archived test@example.com",
        "deleted (03_data_objects.archive: DONE)",
        "to johndoe_86@example.com: password_changed",
        "archived johndoe_86@example.com",
        "archived jane@example.com",
    ],
    "04_sns_fan_out.py": [
        "mail: welcome, johndoe_86@example.com",
        "audit: user.created of 987650, subject 'A new user'",
    ],
    "05_plaintext_and_binary.py": [
        "118 characters, the same object: True",
        "156 characters, the same object: True",
        "text: ping",
        'text: {"looks": "like JSON"}',
        "bytes: b'\\x00\\x01\\x02', sent as 'AAEC'",
    ],
    "06_fifo.py": ["order a: pay, pack, ship", "order b: pay, pack, ship"],
    "08_embedded_server.py": [
        "taken: 1, hidden from all others: True",
        "reserving 5 of 61fcc874, receive 2",
    ],
    "09_progress.py": [
        "charging A-1",
        "no boxes for A-1 yet",
        "packing A-1",
        "no boxes for A-1 yet",
        f"the second message is kept (09_progress.charge: {SKIPPED}, 09_progress.pack: RETRY_LATER)",
    ],
    "10_typed_handlers.py": [
        "the stock is opened, once",
        "reserving 5 of a",
        "deleted: None",
        "dead-lettered: event.attributes.quantity: greater_than 0, found int",
        "refunding 7.50 for A-1, a data",
        "kept",
        "the stock is closed",
    ],
    "11_testing.py": [
        "refunded A-1",
        "    kind: wanted 'refund', found 'refnd'",
        "all is as it should be",
    ],
    "12_lambda.py": ["shipping A-1", "shipping A-3"],
    "13_command_line.py": [
        "$ megaflow handlers 13_command_line.py",
        "$ megaflow explain 13_command_line.py",
        "    amount: wanted gt(0), found 0",
    ],
    "14_logs.py": [
        "[r-1 -] got an order",
        "[r-1 reserve] begins",
        "[r-1 reserve] reserving A-1",
        "[r-1 reserve] ends: ProcessStatus.DONE",
        "[r-1 ship] begins",
        "[r-1 ship] shipping A-1",
        "[r-1 ship] ends: ProcessStatus.DONE",
    ],
    "15_metrics.py": [
        'megaflow_handler_duration_seconds_count{handler="ship",queue="orders",status="DONE"} 1.0',
        'megaflow_messages_ended_total{fate="kept",queue="orders"} 1.0',
        "{'deleted': 1, 'kept': 1}",
    ],
    "16_several_queues.py": ["billing: an invoice for A-1", "mail: the invoice for A-1 is on its way"],
    "17_publish_async.py": [
        "100 orders are sent",
        "one after another they would have taken 50 s; it was less than a tenth of it: True",
        "the event loop went on meanwhile: True",
    ],
    "18_fastapi.py": [
        "shipping 7",
        "shipped: {'id': 7}",
        "nothing is received any more, and what was in hand is settled",
    ],
    "19_breaker.py": [
        "10 orders are stored",
        "an hour without it: 132 calls, 0 dead letters",
        "100 orders are stored",
        "received 2 times at most",
    ],
    "22_webhook.py": ["confirmed by a visit: 200", "order 7: not now", "order 7: done"],
    "26_large_payloads.py": [
        "3 rows, which lay within the message, whose body has 37 bytes",
        "300,000 rows, which lay outside of the message, whose body has 134 bytes",
    ],
    "20_batches.py": ["4 views at once, 1 of them to come again", "3 deleted, 1 kept, 1 dead-lettered"],
    "21_declared.py": ["orders 60", "orders-dead 30", "received: one order"],
    "23_provision.py": [
        "$ megaflow provision 23_provision.py --apply",
        "$ megaflow provision 23_provision.py",
        "same: what is declared is there",
        "shipping 7",
    ],
    "24_export.py": [
        "$ megaflow export 24_export.py --format cloudformation",
        "  OrdersDeadQueue: AWS::SQS::Queue",
        "  OrdersShopSubscription6f5c0d7e: AWS::SNS::Subscription",
        "$ megaflow export 24_export.py --format iam --role consumer",
        "  Consume: sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility, sqs:GetQueueAttributes",
        "$ megaflow export 24_export.py --format kubernetes",
        "  Deployment 24-export: killed 30 seconds after SIGTERM",
    ],
    "25_doctor.py": [
        "error: shop: the policy of orders does not let it send",
        'error: shop: 25_doctor.ship wants {"kind": "order"}, and the filter {"kind": ["invoice"]} keeps it away',
        'note: shop: its filter is {"kind": ["invoice"]}, and {"kind": ["order"]} would do',
        "$ megaflow provision 25_doctor.py --apply",
    ],
    "29_outbox.py": [
        "nothing left for order 8",
        "order 7 is charged, thank you",
        "[(7, 'charged')]",
    ],
    "30_django_outbox.py": ["nothing left for order 8", 'received {"type": "order.placed", "id": 7}'],
    "27_inbox.py": [
        "charging A-1",
        "deleted (27_inbox.charge: DONE)",
        "deleted (27_inbox.charge: skipped: done earlier)",
        "charging A-2",
        "dead-lettered (27_inbox.charge: FATAL_ERROR)",
        "charged: (1, 5)",
    ],
}
PRINTED_WITH_POSTGRESQL = {"28_fastapi_asyncpg.py": ["charging 7", "charged: [7]"]}
MIGRATED = ROOT / "samples" / "07_sqs_mega.py"
DEMO = ROOT / "samples" / "demo.py"

ELSEWHERE = {
    "AWS_PROFILE": "nobody",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_CA_BUNDLE": "/nowhere",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "http_proxy": "http://127.0.0.1:1",
    "MEGAFLOW_QUEUE_URL": "http://127.0.0.1:1/000000000000/other",
}
"""What the shell of someone who uses AWS may hold, and none of which is there."""


def run(path: Path, **environment: str) -> str:
    done = forked.run(str(path), env=os.environ | environment, cwd=ROOT, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_sample_has_a_test() -> None:
    assert [path.name for path in SAMPLES] == sorted([*PRINTED, *PRINTED_WITH_POSTGRESQL, MIGRATED.name])


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60


@pytest.mark.parametrize("name", PRINTED)
def test_a_sample_prints_what_it_says(name: str) -> None:
    printed = run(ROOT / "samples" / name).splitlines()

    assert [line for line in PRINTED[name] if line not in printed] == []


@pytest.mark.parametrize("name", PRINTED_WITH_POSTGRESQL)
def test_a_sample_with_postgresql_prints_what_it_says(name: str) -> None:
    with postgresql() as server:
        url = server.url(server.create_database(), "asyncpg")
        printed = run(ROOT / "samples" / name, DATABASE_URL=url).splitlines()

    assert printed == PRINTED_WITH_POSTGRESQL[name]


def test_the_web_server_consumes_under_uvicorn_until_it_is_told_to_end() -> None:
    port = find_port()
    command = [sys.executable, "-u", "-m", "uvicorn", "--app-dir", "samples", "18_fastapi:server", "--port", str(port)]
    command += ["--log-level", "warning"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: answers(port, "ready"))
            for number in (7, 8):
                assert "message_id" in ask(port, "orders", {"id": number})
                assert ask(port, "shipped") == {"id": number}
            process.send_signal(signal.SIGTERM)
            printed, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()

    assert printed.splitlines() == ["shipping 7", "shipping 8", PRINTED["18_fastapi.py"][-1]]
    # uvicorn ends as whoever sent the signal expects: by it.
    assert process.returncode == -signal.SIGTERM


def ask(port: int, path: str, order: object = None) -> Any:
    body = None if order is None else json.dumps(order).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def answers(port: int, path: str) -> bool:
    try:
        return bool(ask(port, path))
    except urllib.error.URLError:
        return False


@pytest.fixture(scope="module")
def demo() -> subprocess.CompletedProcess[str]:
    """The demo, run to its end by someone who has quite another AWS in mind."""
    return subprocess.run(
        [sys.executable, DEMO],
        env=os.environ | ELSEWHERE,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_the_demo_accounts_for_every_message(demo: subprocess.CompletedProcess[str]) -> None:
    assert (demo.returncode, demo.stderr) == (0, "")
    assert "34 messages are published" in demo.stdout
    assert re.search(r"the README's login as BSON over SNS, enveloped +\d+ +UserLogin +deleted", demo.stdout)
    assert re.search(r"the README's new user as JSON over SQS +\d+ +welcome +kept", demo.stdout)
    assert re.search(r"an unknown MEGA version +\d+ +\(nobody\) +dead-lettered", demo.stdout)
    assert "became:   dead-lettered 3, deleted 31\n" in demo.stdout
    assert "left in the queue: 0; in the dead-letter queue: 3\n" in demo.stdout
    assert "an order: demo_consumer.charge raised ValueError: this card has expired\n" in demo.stdout
    assert demo.stdout.endswith("every message is accounted for\n")


def test_both_consumers_of_the_demo_take_part(demo: subprocess.CompletedProcess[str]) -> None:
    (tally,) = re.findall(r"taken by: process (\d+) (\d+), process (\d+) (\d+)\n", demo.stdout)
    one, taken_by_one, two, taken_by_two = map(int, tally)

    assert {one, two} == read_consumers(demo.stdout)
    # Six messages are received twice, as their handler asks for.
    assert taken_by_one + taken_by_two == 34 + 6


def test_the_demo_leaves_no_process_behind(demo: subprocess.CompletedProcess[str]) -> None:
    assert find_running(demo.stdout) == []


def test_the_demo_leaves_no_process_behind_when_it_is_interrupted() -> None:
    started = subprocess.Popen(
        [sys.executable, "-u", DEMO], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert started.stdout is not None
    printed = ""
    while not read_consumers(printed):
        printed += started.stdout.readline()
    started.send_signal(signal.SIGINT)
    _, problems = started.communicate(timeout=PATIENCE)

    assert (started.returncode, problems) == (1, "interrupted\n")
    assert len(read_consumers(printed)) == 2
    assert find_running(printed) == []


def test_the_demo_fails_where_consumers_take_nothing(tmp_path: Path) -> None:
    idle = tmp_path / "idle.py"
    idle.write_text(r"""import os, sys; sys.stdout.write('{"process": %d}\n' % os.getpid()); sys.exit(3)""")
    program = "import sys, pathlib, demo; demo.CONSUMER = pathlib.Path(sys.argv[1]); sys.exit(demo.main())"

    done = subprocess.run(
        [sys.executable, "-c", program, idle],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=DEMO.parent,
        check=False,
    )

    assert done.returncode == 1, done.stderr
    assert "left in the queue: 34; in the dead-letter queue: 0\n" in done.stdout
    assert re.search(r"THIS DOES NOT ADD UP:\nprocess \d+ ended with 3\nprocess \d+ ended with 3\n", done.stdout)
    assert done.stdout.count(": no consumer took it\n") == 34
    assert find_running(done.stdout) == []


DONE = Verdict("text", 1, ["answer"], "deleted")
KEPT = Verdict("text", 1, ["answer"], "kept")
FAILED = Verdict("an order", 2, ["charge"], "dead-lettered")


@pytest.mark.parametrize(
    ("verdicts", "left", "dead", "problems"),
    [
        ([FAILED, DONE], 0, ["an order"], []),
        ([KEPT, FAILED, DONE], 0, ["an order"], []),
        ([FAILED], 0, ["an order"], ["text: no consumer took it"]),
        ([FAILED, KEPT], 0, ["an order"], ["text: it was kept, and did not come again"]),
        ([FAILED, DONE], 1, ["an order"], ["messages left in the queue: 1"]),
        ([FAILED, DONE], 0, [], ["in the dead-letter queue: []; it should hold ['an order']"]),
        (
            [FAILED, DONE],
            0,
            ["an order", "an order"],
            ["in the dead-letter queue: ['an order', 'an order']; it should hold ['an order']"],
        ),
        (
            [FAILED, DONE, Verdict("spam", 1, [], "deleted")],
            0,
            ["an order"],
            ["spam: nobody sent it"],
        ),
    ],
)
def test_the_demo_finds_what_does_not_add_up(
    verdicts: list[Verdict], left: int, dead: list[str], problems: list[str]
) -> None:
    assert find_problems(["text", "an order"], verdicts, left, dead) == problems


def read_consumers(printed: str) -> set[int]:
    """Return the process ids of the consumers that the demo says it started."""
    return {int(number) for found in re.findall(r"^processes (\d+) and (\d+) are", printed, re.M) for number in found}


def find_running(printed: str) -> list[str]:
    """Return which processes of a demo still run: consumers by the ids that it printed, the server by its port."""
    running = [str(number) for number in sorted(read_consumers(printed)) if is_running(number)]
    (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)/", printed)
    with socket.socket() as caller:
        return [*running, *([port] if caller.connect_ex(("127.0.0.1", int(port))) == 0 else [])]


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_migrated_program_differs_from_the_readme_only_in_its_imports() -> None:
    promised = re.sub(r"\bmega\.(?=aws|event|match)", "megaflow.", README)
    inventory = re.compile(r"\n\nclass Inventory:.*?(?=\n\n\nclass )", re.DOTALL)
    program = inventory.sub("", MIGRATED.read_text().split('"""\n', 1)[1])

    # What is the reader's own in the README's program, and what Python wants in one that can be imported.
    own = {'print(f"added {payload.event.quantity} of {item}", flush=True)', 'if __name__ == "__main__":'}
    lines = [line.strip() for line in program.splitlines() if line.strip() and line.strip() not in own]

    others = [line for line in lines if line not in {each.strip() for each in promised.splitlines()}]
    # One import brings what two of the README's bring.
    assert others == ["from megaflow.aws.sqs.subscribe import EventSubscriber, ProcessStatus, SqsListener"]


def test_the_migrated_program_listens_until_it_is_told_to_stop(moto_url: str) -> None:
    options = {"region_name": "us-east-2", "aws_access_key_id": "AKIA", "aws_secret_access_key": "secret"}
    sqs = boto3.client("sqs", endpoint_url=moto_url, **options)
    url = sqs.create_queue(QueueName="sqs-mega-test")["QueueUrl"]
    event = PayloadBuilder().with_event(domain="shopping_cart", name="item.added", item_id="61fcc874", quantity=5)
    SqsPublisher(queue_url=url, client=sqs).publish(event.build())

    program = subprocess.Popen(
        [sys.executable, MIGRATED],
        env=os.environ | {"AWS_ENDPOINT_URL": moto_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "added 5 of item 61fcc874\n"
    program.send_signal(signal.SIGTERM)
    _, problems = program.communicate(timeout=PATIENCE)

    assert program.returncode == 0, problems
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
