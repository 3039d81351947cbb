"""The main job, shown: events over SQS and SNS reach the right functions, and every message is accounted for.

``make demo`` runs it. Beside itself it starts the embedded server, and twice the application in demo_consumer.py; all
of them speak real boto3 over HTTP. It publishes the sqs-mega README's own events and some bad bodies, and says of each
message which consumer took it, who handled it and what became of it.
"""

import base64
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import boto3

from megaflow import PayloadBuilder, SnsPublisher, SqsPublisher

CONSUMER = Path(__file__).with_name("demo_consumer.py")
DEADLINE = 60.0
"""Seconds that the consumers have. They need about one."""


def main() -> int:
    print("starting the embedded server", flush=True)
    with embedded_server() as url:
        use_instead_of_aws(url)
        sqs, sns = boto3.client("sqs"), boto3.client("sns")
        dead_letters = create_queue(sqs, "demo-dead-letters")
        redrive = {"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": "5"}
        queue = create_queue(sqs, "demo", RedrivePolicy=json.dumps(redrive))
        let_topics_in(sqs, queue)
        ways: dict[str, SqsPublisher | SnsPublisher] = {
            "SQS": SqsPublisher(queue_url=queue.url),
            "SNS, raw": SnsPublisher(topic_arn=create_topic(sns, "demo-raw", queue, raw=True)),
            "SNS, enveloped": SnsPublisher(topic_arn=create_topic(sns, "demo-enveloped", queue, raw=False)),
        }

        print("starting two consumers", flush=True)
        with two_consumers(queue) as (consumers, log):
            wait_for_both(log)
            print(f"processes {consumers[0].pid} and {consumers[1].pid} are waiting for messages on {queue.url}")
            sent = publish_all(ways)
            print(f"{len(sent)} messages are published\n")
            verdicts = follow(log, sent)
            for consumer in consumers:
                consumer.terminate()
            # They finish what they have begun, and end by themselves; then the log ends too.
            verdicts += read_verdicts(log)
            problems = [f"process {each.pid} ended with {each.returncode}" for each in consumers if each.wait() != 0]

        left, dead = count_messages(sqs, queue), read_dead_letters(sqs, dead_letters)
    show_tally(verdicts, left, dead)
    problems += find_problems(sent, verdicts, left, [message for message, _ in dead])
    print("every message is accounted for" if not problems else "\n".join(["THIS DOES NOT ADD UP:", *problems]))
    return 1 if problems else 0


# On the server, with boto3 as on AWS: a queue with its dead-letter queue, and two topics.


class Queue(NamedTuple):
    url: str
    arn: str


def create_queue(sqs: Any, name: str, **attributes: str) -> Queue:
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return Queue(url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])


def let_topics_in(sqs: Any, queue: Queue) -> None:
    topics = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}}
    policy = {"Statement": [{**topics, "Action": "sqs:SendMessage", "Resource": queue.arn}]}
    sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": json.dumps(policy)})


def create_topic(sns: Any, name: str, queue: Queue, *, raw: bool) -> str:
    """Return the ARN of a new topic to which *queue* is subscribed."""
    topic_arn: str = sns.create_topic(Name=name)["TopicArn"]
    delivery = {"RawMessageDelivery": "true" if raw else "false"}
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue.arn, Attributes=delivery)
    return topic_arn


def count_messages(sqs: Any, queue: Queue) -> int:
    """Count what is visible, in flight or delayed."""
    attributes = sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])["Attributes"]
    return sum(int(value) for name, value in attributes.items() if name.startswith("ApproximateNumberOfMessages"))


def read_dead_letters(sqs: Any, queue: Queue) -> list[tuple[str, str]]:
    """Return every dead letter with the reason why it is one."""
    found = []
    receive = {"QueueUrl": queue.url, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}
    while messages := sqs.receive_message(**receive).get("Messages"):
        for message in messages:
            attributes = {name: each["StringValue"] for name, each in message["MessageAttributes"].items()}
            # megaflow says why; a message that was received too often is brought here by SQS, which does not.
            origin = json.loads(attributes.get("megaflow-origin", "{}"))
            failures = [f"{handler} raised {error}" for handler, error in origin.get("failed", {}).items()]
            found.append((attributes["what"], origin.get("problem") or ", ".join(failures) or "received too often"))
    return found


# What is published: the README's events, and bodies that nobody should send.

item_added = (
    PayloadBuilder()
    .with_event(domain="shopping_cart", name="item.added", subject="987650", publisher="shopping-cart-service")
    .with_event(item_id="61fcc874-624e-40f8-8fd7-0e663c7837e8", quantity=5, price="19.99")
    .with_object(
        type="shopping_cart", id="18a3f92e-1fbf-45eb-8769-d836d0a1be55", version=2, current={"currency": "USD"}
    )
    .with_extra(channel="web/desktop", user_ip_address="177.182.205.103")
    .build()
)
user_created = (
    PayloadBuilder()
    .with_event(name="user.created", subject="987650", email="johndoe_86@example.com")
    .with_object(current={"id": 987650, "username": "john.doe", "email": "johndoe_86@example.com"})
    .build()
)
user_login = {
    "protocol": "mega",
    "version": "1",
    "event": {
        "domain": "user",
        "name": "user:login:web",
        "timestamp": "2020-06-12T17:29:58.000",
        "subject": "987650",
        "attributes": {"success": True, "attempts": 4},
    },
    "object": {"type": "user", "current": {"username": "john-doe", "created_at": "2020-03-28T15:23:01"}},
}
notification = {
    "type": "user_notification",
    "notification_type": "email",
    "user": {"id": 987650, "email": "johndoe_86@example.com"},
}
bson_bomb = base64.b64encode(struct.pack("<i", 40) + b"\x03a\0" * 5 + struct.pack("<i", -20) + b"\0" * 17).decode()

PAYLOADS = {
    "the README's cart event": item_added,
    "the README's new user": user_created,
    "the README's login": user_login,
    "the README's data object": notification,
}
OTHER_PAYLOADS = {"an order": {"order": 1}, "text": "ping", "text for nobody": "pong", "bytes": b"\0\1\2"}
BAD_BODIES = {
    "truncated JSON": '{"type": "user_notif',
    "random bytes in Base64": base64.b64encode(bytes(range(200, 256))).decode(),
    "a BSON bomb": bson_bomb,
    "200 kB of nesting": '{"a":' * 40_000,
    "an unknown MEGA version": json.dumps(user_login | {"version": 7}),
    "a MEGA event without a name": json.dumps(user_login | {"event": {"timestamp": "2020-06-12T17:29:58"}}),
}


def publish_all(ways: Mapping[str, SqsPublisher | SnsPublisher]) -> list[str]:
    """Publish everything, and return what each message is; it says so itself, in its attribute ``what``."""
    sent = []
    for way, publisher in ways.items():
        for name, payload in PAYLOADS.items():
            for binary in (False, True):
                sent.append(f"{name} as {'BSON' if binary else 'JSON'} over {way}")
                publisher.publish(payload, binary_encoding=binary, attributes={"what": sent[-1]})
    for name, other in OTHER_PAYLOADS.items():
        sent.append(name)
        ways["SQS"].publish(other, attributes={"what": name})
    for name, body in BAD_BODIES.items():
        sent.append(name)
        ways["SQS"].publish_raw_message(body, attributes={"what": name})
    return sent


# What the consumers say of it, and whether it adds up.


@dataclass(frozen=True)
class Verdict:
    message: str
    process: int
    handlers: Sequence[str]
    fate: str

    @property
    def keeps(self) -> bool:
        return self.fate == "kept"


Log = Iterator[Mapping[str, Any]]


def wait_for_both(log: Log) -> None:
    processes = set()
    for line in log:
        processes.add(line["process"])
        if len(processes) == 2:
            return
    raise RuntimeError("the consumers did not start")


def read_verdicts(log: Log) -> Iterator[Verdict]:
    for line in log:
        if "fate" in line:
            yield Verdict(line["message"], line["process"], line["handlers"], line["fate"])


def follow(log: Log, sent: Sequence[str]) -> list[Verdict]:
    """Show each verdict, until there is one on every message that does not keep it, or the log ends; return them."""
    print(f"  {'message':<52} {'taken by':<8} {'handled by':<39} fate\n  {'-' * 115}")
    verdicts, waiting = [], set(sent)
    for verdict in read_verdicts(log):
        handlers = ", ".join(verdict.handlers) or "(nobody)"
        print(f"  {verdict.message:<52} {verdict.process:<8} {handlers:<39} {verdict.fate}")
        verdicts.append(verdict)
        if not verdict.keeps:
            waiting.discard(verdict.message)
        if not waiting:
            break
    return verdicts


def read_fates(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Return what became of each message in the end: the last verdict counts."""
    return {verdict.message: verdict.fate for verdict in verdicts}


def show_tally(verdicts: Sequence[Verdict], left: int, dead: Sequence[tuple[str, str]]) -> None:
    tallies = {
        "handled": Counter(handler for verdict in verdicts for handler in verdict.handlers),
        "became": Counter(read_fates(verdicts).values()),
        "taken by": Counter(f"process {verdict.process}" for verdict in verdicts),
    }
    print()
    for name, tally in tallies.items():
        print(f"{name + ':':<9}", ", ".join(f"{what} {count}" for what, count in sorted(tally.items())))
    print(f"left in the queue: {left}; in the dead-letter queue: {len(dead)}")
    for message, reason in dead:
        print(f"  {message}: {reason}")


def find_problems(sent: Sequence[str], verdicts: Sequence[Verdict], left: int, dead: Sequence[str]) -> list[str]:
    """Say what does not add up: every message has to be deleted, and those that failed have to be dead letters."""
    fates = read_fates(verdicts)
    failed = sorted(message for message, fate in fates.items() if fate == "dead-lettered")
    problems = [f"{message}: no consumer took it" for message in sent if message not in fates]
    problems += [f"{message}: nobody sent it" for message in fates if message not in sent]
    problems += [f"{message}: it was kept, and did not come again" for message, fate in fates.items() if fate == "kept"]
    if left:
        problems.append(f"messages left in the queue: {left}")
    if sorted(dead) != failed:
        problems.append(f"in the dead-letter queue: {sorted(dead)}; it should hold {failed}")
    return problems


# The processes: each ends with its ``with``, whatever happens in it.


@contextmanager
def background(*arguments: str | Path, stdout: int, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program beside this one; after *seconds* it is killed."""
    # In a group of its own: Ctrl-C is for the demo, which ends the others.
    with subprocess.Popen([sys.executable, *arguments], stdout=stdout, text=True, process_group=0) as process:
        deadline = threading.Timer(seconds, process.kill)
        deadline.daemon = True
        deadline.start()
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def embedded_server() -> Iterator[str]:
    """Start the embedded server, and yield its URL."""
    # It outlives the consumers, to be asked what they left.
    with background("-m", "megaflow.local", "--port", "0", stdout=subprocess.PIPE, seconds=2 * DEADLINE) as server:
        assert server.stdout is not None
        found = re.search(r"http://[\w.:]+", server.stdout.readline())
        if found is None:
            raise RuntimeError("the embedded server did not start")
        yield found[0]


@contextmanager
def two_consumers(queue: Queue) -> Iterator[tuple[list[subprocess.Popen[str]], Log]]:
    """Start the application twice, and yield both processes, and what they log until both have ended."""
    os.environ["MEGAFLOW_QUEUE_URL"] = queue.url
    # One pipe for both: the lines of a log are short enough to be written whole.
    reader, writer = os.pipe()
    with (
        os.fdopen(reader) as log,
        background(CONSUMER, stdout=writer, seconds=DEADLINE) as one,
        background(CONSUMER, stdout=writer, seconds=DEADLINE) as two,
    ):
        os.close(writer)
        yield [one, two], map(json.loads, log)


def use_instead_of_aws(url: str) -> None:
    """Let boto3, here and in the consumers, speak to *url*, whatever AWS settings and proxies there are around us."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "MEGAFLOW_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ |= {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        # As an exception that passes through every ``with``, it leaves no process behind.
        signal.signal(number, lambda *_: sys.exit("interrupted"))
    sys.exit(main())
