"""Every sample is a program that runs, and prints what it says."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from megaflow import PayloadBuilder, SqsPublisher

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "samples").glob("[0-9]*.py"))
README = (ROOT / "tests" / "data" / "sqs-mega-python-README.md").read_text()

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
        "deleted (__main__.archive: DONE)",
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
}
MIGRATED = ROOT / "samples" / "07_sqs_mega.py"


def run(path: Path) -> str:
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_sample_has_a_test() -> None:
    assert [path.name for path in SAMPLES] == [*PRINTED, MIGRATED.name]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60


@pytest.mark.parametrize("name", PRINTED)
def test_a_sample_prints_what_it_says(name: str) -> None:
    printed = run(ROOT / "samples" / name).splitlines()

    assert [line for line in PRINTED[name] if line not in printed] == []


def test_the_demo_accounts_for_every_message() -> None:
    printed = run(ROOT / "samples" / "demo.py")

    assert "34 messages are published; 8 handlers are waiting" in printed
    assert re.search(r"the README's login as BSON over SNS, enveloped +UserLogin +deleted", printed)
    assert re.search(r"an unknown MEGA version +\(nobody\) +dead-lettered", printed)
    assert "became:  dead-lettered 3, deleted 31" in printed
    assert printed.endswith("every message is accounted for\n")


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
    _, problems = program.communicate(timeout=30)

    assert program.returncode == 0, problems
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
