"""``megaflow publish``: one message, or as many as a file has lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import click

from megaflow.cli.errors import WrongUsage
from megaflow.cli.options import aws_options, connect, find_topic, json_option, read_aws
from megaflow.cli.output import note, show, show_json
from megaflow.cli.publishing import Form, Lines, is_object, open_text
from megaflow.cli.reading import find_json_problem, read_text
from megaflow.messages.codec import decode
from megaflow.publishing.publisher import Publisher
from megaflow.publishing.sns import SnsPublisher
from megaflow.publishing.sqs import SqsPublisher
from megaflow.settings import QUEUE_URL_VARIABLE, TOPIC_ARN_VARIABLE
from megaflow.transport.addresses import name_of
from megaflow.transport.session import AwsOptions
from megaflow.transport.times import PUBLISHING

_LINES: Final = (".jsonl", ".ndjson")


@click.command(short_help="Send messages from a file to a queue or topic.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option("--queue", help="Where to: a queue's name, URL or ARN.")
@click.option("--topic", help="Where to: a topic's name or ARN.")
@click.option(
    "--lines/--whole", default=None, help="One message a line, or one in all. [--lines for *.jsonl and *.ndjson]"
)
@click.option(
    "--failed",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the lines that fail. [FILE.failed.jsonl]",
)
@click.option(
    "--skip", type=click.IntRange(min=0), default=0, help="With --lines: how many lines to leave out at the start."
)
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="A message attribute; may be given several times.",
)
@click.option("--group-id", default="", help="FIFO: the message group.")
@click.option("--group-key", help="FIFO: the path to the message group in each object: object.id")
@click.option("--deduplication-id", default="", help="FIFO: the deduplication id of a single message.")
@click.option("--deduplication-key", help="FIFO: the path to the deduplication id in each object.")
@click.option("--delay", type=click.IntRange(0, 900), help="Queues: seconds until the message can be received.")
@click.option("--subject", default="", help="Topics: the subject of the message.")
@click.option("--binary-encoding", is_flag=True, help="Send objects as BSON in Base64, in place of JSON.")
@click.option("--raw", is_flag=True, help="Send each text exactly as it is, without a hint of its kind.")
@json_option
@aws_options
def publish(
    file: Path,
    queue: str | None,
    topic: str | None,
    lines: bool | None,
    failed: Path | None,
    skip: int,
    as_json: bool,
    endpoint_url: str | None,
    region: str | None,
    profile: str | None,
    **said: Any,
) -> int:
    """Send what is in FILE to a queue or topic.

    FILE is one message: a JSON object as it stands, anything else as text; - is the standard input. With --lines each
    line is a message, a JSON object or a JSON string. Lines that fail are written to a file, which you can publish.
    """
    is_lines = file.suffix in _LINES if lines is None else lines
    if not is_lines and (skip or failed):
        option = "--skip" if skip else "--failed"
        raise WrongUsage(f"{option} is for lines, and {file} goes as one message: say --lines")
    aws = read_aws(endpoint_url, region, profile)
    publisher, place = _open(queue, topic, aws)
    form = Form.read(**said)
    if not is_lines:
        with open_text(file) as stream:
            text = read_text(stream, str(file))
        message_id = form.publish_one(publisher, text)
        if problem := decode(text).problem:
            note(f"it is {problem}", style="yellow")
        elif text.lstrip().startswith(("{", "[")) and not is_object(text):
            why = find_json_problem(text)
            note(
                f"it is no JSON ({why}), and goes as text" if why else "it is no JSON object, and goes as text",
                style="yellow",
            )
        show_json({"id": message_id, "to": place}) if as_json else show(f"{message_id}  sent to {place}")
        return 0
    if form.deduplication_id:
        raise WrongUsage("--deduplication-id is for one message: lines have a --deduplication-key")
    return Lines(file, publisher, form, failed or _failed_of(file), skip, place, as_json).run()


def _open(queue: str | None, topic: str | None, aws: AwsOptions) -> tuple[Publisher, str]:
    """Return what publishes to the queue or topic, and its name."""
    if queue and topic:
        raise WrongUsage("a message goes to a --queue or to a --topic, not to both")
    if topic or (not queue and os.environ.get(TOPIC_ARN_VARIABLE)):
        to_topic = SnsPublisher(topic_arn=topic and find_topic(topic, aws), **aws)
        return to_topic, name_of(to_topic.topic_arn)
    if queue:
        client, url = connect(queue, aws, PUBLISHING)
        to_queue = SqsPublisher(queue_url=url, client=client)
    elif os.environ.get(QUEUE_URL_VARIABLE):
        to_queue = SqsPublisher(**aws)
    else:
        raise WrongUsage(f"say where to: --queue or --topic, or set {QUEUE_URL_VARIABLE} or {TOPIC_ARN_VARIABLE}")
    return to_queue, name_of(to_queue.queue_url)


def _failed_of(file: Path) -> Path:
    name = "stdin" if str(file) == "-" else file.name.removesuffix(".jsonl").removesuffix(".ndjson")
    return (Path() if str(file) == "-" else file.parent) / f"{name}.failed.jsonl"
