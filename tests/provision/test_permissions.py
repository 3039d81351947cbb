"""Permissions: per role and feature, the calls that megaflow makes are those that its policies allow, and no others."""

from __future__ import annotations

import ast
import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.loaders import Loader

import megaflow
from megaflow import App, DynamoDbStore, Reject, RetryLater
from megaflow.app import parts_of
from megaflow.cli.main import main
from megaflow.limits import SQS_MESSAGE_SIZE
from megaflow.match.functions import any_
from megaflow.payloads import S3Payloads
from megaflow.provision import Queue
from megaflow.provision.export.deployment import deploy
from megaflow.provision.export.iam import write_policy
from megaflow.provision.permissions import IMPLIED, PERMISSIONS, Role
from tests.cli.conftest import wait_for_no_message
from tests.cli.processes import running
from tests.conftest import ACCOUNT
from tests.provision.calls import ACTIONS, Recorder, actions_of, recording
from tests.syntax import parse
from tests.unmocked import making_unmocked
from tests.waiting import PATIENCE

REGION = "eu-west-1"


@pytest.fixture
def recorder(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A server that is called by whatever looks for AWS."""
    wait_for_no_message(monkeypatch)
    with recording(moto_url) as recorder, making_unmocked():
        monkeypatch.setenv("AWS_ENDPOINT_URL", recorder.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        yield recorder


@pytest.fixture
def make(moto_url: str) -> Callable[[str], Any]:
    """boto3's clients past the recorder, to make what is there already."""
    options = {"endpoint_url": moto_url, "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return lambda service: boto3.client(service, region_name=REGION, **options)


def make_queues(make: Callable[[str], Any], name: str, *, dead_letters: bool = True) -> str:
    sqs = make("sqs")
    attributes = {}
    if dead_letters:
        sqs.create_queue(QueueName=f"{name}-dead")
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-dead"
        attributes["RedrivePolicy"] = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": "5"}}'
    sqs.create_queue(QueueName=name, Attributes=attributes)
    return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"


def allowed(app: App, role: Role) -> set[tuple[str, str]]:
    """Return what the policy of *role* allows, but for what SQS and SNS do by themselves."""
    actions = actions_of(write_policy(deploy({"shop.py": app}, region=REGION, account_id=ACCOUNT), role))
    return {(action, name) for action, name in actions if not action.startswith("kms:")}


def consume(app: App, make: Callable[[str], Any], url: str, *there: str) -> None:
    """Let *app* handle messages that end in every way: done, kept for later, and failed for good."""
    seen: list[str] = []

    def handle(data: dict[str, str]) -> None:
        order = data["order"]
        seen.append(order)
        if len(seen) == 4 + len(there):
            app.stop()
        if order == "later" and seen.count(order) == 1:
            raise RetryLater(after=0)
        if order == "never":
            raise Reject("no")

    has_store = parts_of(app).assembly.stores.keys is not None
    app.on_data({"order": any_()}, idempotency_key=(lambda data: data["order"]) if has_store else None)(handle)
    for order in ("done", "later", "never"):
        make("sqs").send_message(QueueUrl=url, MessageBody=json.dumps({"order": order}))
    running = threading.Thread(target=app.run)
    running.start()
    running.join(PATIENCE)
    assert sorted(seen) == sorted(["done", "later", "later", "never", *there])


def make_table(make: Callable[[str], Any], name: str) -> DynamoDbStore:
    DynamoDbStore(name, client=make("dynamodb")).create_table()
    return DynamoDbStore(name)


FAST: dict[str, Any] = {"wait_time_seconds": 1, "retry_on": ()}


def test_a_consumer_of_a_queue_by_address(recorder: Recorder, make: Callable[[str], Any]) -> None:
    url = make_queues(make, "by-address")
    app = App(url, **FAST)

    consume(app, make, url)

    assert recorder.actions == allowed(app, Role.CONSUMER)


def test_a_consumer_of_a_queue_by_name_without_dead_letters(recorder: Recorder, make: Callable[[str], Any]) -> None:
    url = make_queues(make, "by-name", dead_letters=False)
    app = App(queue=Queue("by-name", dead_letter_queue=None), **FAST)

    consume(app, make, url)

    assert recorder.actions == allowed(app, Role.CONSUMER)


def test_a_consumer_that_names_its_dead_letter_queue(recorder: Recorder, make: Callable[[str], Any]) -> None:
    url = make_queues(make, "named")
    app = App(url, dead_letter_queue_url=f"{url}-dead", **FAST)

    consume(app, make, url)

    assert recorder.actions == allowed(app, Role.CONSUMER)


def test_a_consumer_with_a_store(recorder: Recorder, make: Callable[[str], Any]) -> None:
    url = make_queues(make, "stored")
    app = App(queue="stored", progress=make_table(make, "progress"), **FAST)

    consume(app, make, url)

    assert recorder.actions == allowed(app, Role.CONSUMER)
    assert ("dynamodb:UpdateItem", "progress") in recorder.actions


def test_payloads_in_s3(recorder: Recorder, make: Callable[[str], Any]) -> None:
    url = make_queues(make, "large")
    make("s3").create_bucket(Bucket="large", CreateBucketConfiguration={"LocationConstraint": REGION})
    app = App(url, large_payloads=S3Payloads("large", prefix="orders/", delete="when-done"), **FAST)
    app.publish({"order": "large", "x": "x" * SQS_MESSAGE_SIZE})
    written, recorder.operations = recorder.actions, set()

    consume(app, make, url, "large")

    assert written == allowed(app, Role.PRODUCER)
    # S3 looks for it where something is missing.
    assert recorder.actions | {("s3:ListBucket", "large")} == allowed(app, Role.CONSUMER)
    resources = {
        resource
        for role in (Role.CONSUMER, Role.PRODUCER)
        for statement in write_policy(deploy({"shop.py": app}, region=REGION, account_id=ACCOUNT), role)["Statement"]
        for resource in statement["Resource"]
        if ":s3:" in resource
    }
    assert resources == {"arn:aws:s3:::large", "arn:aws:s3:::large/orders/*"}


def publish_in_every_way(app: App) -> None:
    app.publish({"order": 1})
    app.publish_batch([{"order": number} for number in range(3)])
    app.publish_raw_message("raw")
    assert all(sent.message_id for sent in app.publish_stream([{"order": 2}]))
    asyncio.run(publish_from_coroutines(app))


async def publish_from_coroutines(app: App) -> None:
    await app.apublish({"order": 3})
    await app.apublish_batch([{"order": 4}, {"order": 5}])


@pytest.mark.parametrize("by", ["address", "name"])
def test_a_producer_to_a_queue(by: str, recorder: Recorder, make: Callable[[str], Any]) -> None:
    url = make_queues(make, f"sent-by-{by}")
    app = App(url) if by == "address" else App(queue=f"sent-by-{by}")

    publish_in_every_way(app)

    assert recorder.actions == allowed(app, Role.PRODUCER)


@pytest.mark.parametrize("by", ["address", "name"])
def test_a_producer_to_a_topic(by: str, recorder: Recorder, make: Callable[[str], Any]) -> None:
    name = f"published-by-{by}"
    arn = make("sns").create_topic(Name=name)["TopicArn"]
    app = App(topic_arn=arn) if by == "address" else App(queue="whatever", topic=name)

    publish_in_every_way(app)

    assert recorder.actions == allowed(app, Role.PRODUCER)


APP = """
from megaflow import App
from megaflow.provision import DeadLetterQueue, Queue, Topic

subscribed = Topic("operated-in"{of_topic})
app = App(queue=Queue("operated", subscribe=[subscribed]{of_queue}), topic="operated-out", retry_on=())
app.on_data({{"order": 1}})(print)
"""
BEFORE = APP.format(of_topic=", json_only=True", of_queue="")
AFTER = APP.format(
    of_topic=', encryption="alias/in"',
    of_queue=", retention=86_400, dead_letter_queue=DeadLetterQueue(retention=86_401)",
).replace('topic="operated-out"', 'topic=Topic("operated-out", encryption="alias/out")')

ASKED_WHERE_ALLOWED = {("sqs:GetQueueUrl", "operated.fifo"), ("sqs:GetQueueUrl", "operated-dead.fifo")}
"""Whether what is missing is there as FIFO: it is told where that may be known, and otherwise not."""


def test_an_operator(recorder: Recorder, make: Callable[[str], Any], tmp_path: Path) -> None:
    file = tmp_path / "operated_shop.py"
    subscribed = Queue("operated", subscribe=["operated-in"])
    app = App(queue=subscribed, topic="operated-out", progress=DynamoDbStore("operated-progress"))

    DynamoDbStore("operated-progress").create_table()
    file.write_text(BEFORE)
    run("provision", file, "--apply")
    file.write_text(AFTER)
    run("provision", file, "--apply", "--narrow")
    # It finds keys that it may not ask for, or whatever else: that is no matter here.
    assert main(["doctor", str(file)]) in (0, 1)
    look_and_move(make, "operated-dead", "operated")
    look_and_move(make, "operated", "operated-dead")
    run("redrive", "operated-dead")

    assert recorder.actions - ASKED_WHERE_ALLOWED == allowed(app, Role.OPERATOR)


def look_and_move(make: Callable[[str], Any], queue: str, other: str) -> None:
    url = make("sqs").get_queue_url(QueueName=queue)["QueueUrl"]
    make("sqs").send_message(QueueUrl=url, MessageBody="ping")
    run("stats", queue)
    run("peek", queue)
    run("move", queue, other)
    run("purge", queue, "--yes")
    # At the end: moto gives messages to polls that have hung up.
    make("sqs").send_message(QueueUrl=url, MessageBody="ping")
    with running("tail", queue, "--json") as process:
        process.wait_for("ping")
        assert process.end() == 0


def run(*arguments: object) -> None:
    assert main([str(each) for each in arguments]) == 0


NOT_OURS = ("local", "testing")
"""Rooms that call no account."""

OTHER_MEANING = {"dynamodb:Query"}
"""Operations whose names mean something else here."""


def names_in(path: Path) -> Iterator[str]:
    """Give the names that a module calls methods by, and texts that may be such names."""
    for node in ast.walk(parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield node.attr
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value


def test_no_call_that_the_code_can_make_is_forgotten() -> None:
    """What has no feature above would be recorded by none of its tests."""
    package = Path(megaflow.__file__).parent
    files = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] not in NOT_OURS]
    named = {name for path in files for name in names_in(path)}
    called = {
        f"{service}:{operation}"
        for service in ("sqs", "sns", "dynamodb", "s3")
        for operation in Loader().load_service_model(service, "service-2")["operations"]
        if xform_name(operation) in named
    }
    actions = {ACTIONS.get(operation, operation) for operation in called - OTHER_MEANING}

    # A waiter of boto3's asks for the one by another name, and S3 itself for the other.
    assert actions | {"dynamodb:DescribeTable", "s3:ListBucket"} == {
        action for each in PERMISSIONS for action in each.actions
    }


def test_each_statement_has_a_name_of_its_own_in_its_role() -> None:
    names = Counter((each.role, each.sid) for each in (*PERMISSIONS, *IMPLIED))

    assert set(names.values()) == {1}
    assert {each.sid for each in IMPLIED} == {
        "DecryptReceived",
        "EncryptDeadLetters",
        "EncryptSent",
        "EncryptPublished",
        "ReadAndMoveEncrypted",
    }
    assert {action.partition(":")[0] for each in IMPLIED for action in each.actions} == {"kms"}
