"""A process that runs an app imports what it uses, beside what botocore imports: each has its memory and its start."""

from __future__ import annotations

import os
import subprocess
import sys

from megaflow.local import Account, SqsClient
from megaflow.local.server import Server

BOTOCORE = """
import sys
import botocore.session
botocore.session.Session().create_client("sqs").get_queue_attributes(QueueUrl=sys.argv[1])
print(*sys.modules)
"""
CONSUMER = """
import sys
from megaflow import App
app = App(sys.argv[1])
@app.on_data({"id": 7})
def handle(data):
    print(*sys.modules)
    app.stop()
app.run()
"""
HEAVY = {"asyncio", "boto3", "difflib", "http.server", "multiprocessing", "re2", "s3transfer", "sqlite3", "ssl"}
ROOMS = ("aws", "awslambda", "cli", "consumer.asyncio", "local", "match.filter_tree", "payloads", "sql", "testing")


def modules_of(program: str, server: Server, url: str) -> set[str]:
    """Return what *program* has imported once SQS has answered it."""
    environment = os.environ | {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
    }
    command = [sys.executable, "-c", program, url]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return set(said.split())


def test_a_plain_consumer_imports_none_of_what_it_does_not_use() -> None:
    with Server(Account()) as server:
        sqs = SqsClient(server.account)
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody='{"id": 7}')

        botocores, consumers = modules_of(BOTOCORE, server, url), modules_of(CONSUMER, server, url)

    assert "megaflow.consumer.threads.runner" in consumers
    assert not (consumers - botocores) & HEAVY
    assert not consumers & {f"megaflow.{room}" for room in ROOMS}
