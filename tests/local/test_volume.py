"""A million calls, and a million messages: what they take of memory and time, each in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

MEGABYTE = 1_000_000

CALLS = """
import resource
from megaflow.local import Account, SqsClient

class Clock:
    now = 1_700_000_000.0
    def __call__(self):
        return self.now

def cycle(number):
    \"\"\"Make twenty calls, which leave the queues as they were.\"\"\"
    clock.now += 1
    for url, own in ((standard, {}), (fifo, {"MessageDeduplicationId": str(number)})):
        group = {"MessageGroupId": f"group-{number % 1000}"}
        for _ in range(2):
            sqs.send_message(QueueUrl=url, MessageBody="x" * 570, **group, **own)
        entries = [{"Id": n, "MessageBody": n, **group, **{key: n + own[key] for key in own}} for n in "ab"]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
        received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, ReceiveRequestAttemptId=str(number)) \\
            if own else sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        for message in received["Messages"]:
            handle = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
            sqs.change_message_visibility(**handle, VisibilityTimeout=43_000)
            sqs.delete_message(**handle)
            global calls
            calls += 2
        calls += 4

clock = Clock()
sqs = SqsClient(Account(clock=clock))
standard = sqs.create_queue(QueueName="standard")["QueueUrl"]
fifo = sqs.create_queue(QueueName="fifo.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
calls = number = 0
peaks = []
for goal in (100_000, 1_000_000):
    while calls < goal:
        number += 1
        cycle(number)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(*peaks)
"""

FILL = """
import sys
from pathlib import Path
from megaflow.local import Account
from megaflow.local.calls import perform
from megaflow.local.file.store import Store

account, store = Account(), Store(Path(sys.argv[1]))
store.load(account)
perform(account, "sqs", "CreateQueue", {"QueueName": "orders"})
url = account.queue_url("orders")
for start in range(0, 1_000_000, 10):
    entries = [{"Id": str(n), "MessageBody": f"{start + n:0570d}"} for n in range(10)]
    perform(account, "sqs", "SendMessageBatch", {"QueueUrl": url, "Entries": entries})
store.close()
"""


def peak_of_children() -> float:
    """Return the most memory that any process had which ended, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def seconds_of_children() -> float:
    """Return for how long processes that have ended kept a processor busy, whatever else it had to do."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.long
def test_a_million_calls_hold_memory_flat() -> None:
    run = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True)
    early, late = (int(peak) for peak in run.stdout.split())

    print(f"memory after 100,000 calls and after a million: {early:,} and {late:,}")
    assert late < early * 1.03


@pytest.mark.long
def test_a_million_messages_fit_and_open_again(tmp_path: Path) -> None:
    file = tmp_path / "queue.db"
    subprocess.run([sys.executable, "-c", FILL, str(file)], check=True)

    before = seconds_of_children()
    command = [sys.executable, "-m", "megaflow.local", "--port", "0", "--data", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        server.terminate()
    took = seconds_of_children() - before

    print(f"opened in {took:.1f} s of a processor, with {peak_of_children() / MEGABYTE:,.0f} MB at most")
    assert "1000000 messages" in said
    assert took < 30
    assert peak_of_children() < 2_000 * MEGABYTE
