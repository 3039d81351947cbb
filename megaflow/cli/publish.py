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
from megaflow.cli.reading import read_text
from megaflow.messages.codec import decode
from megaflow.publishing.publisher import Publisher
from megaflow.publishing.sns import SnsPublisher
from megaflow.publishing.sqs import SqsPublisher
from megaflow.settings import QUEUE_URL_VARIABLE, TOPIC_ARN_VARIABLE
from megaflow.transport.addresses import name_of
from megaflow.transport.session import AwsOptions

_LINES: Final = (".jsonl", ".ndjson")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@click.option("--queue", help="Where to: a queue's name, URL or ARN.")
@click.option("--topic", help="Where to: a topic's name or ARN.")
@click.option("--lines/--whole", default=None, help="A message a line, as in *.jsonl and *.ndjson, or one in all.")
@click.option("--failed", type=click.Path(path_type=Path, dir_okay=False), help="For what fails. [FILE.failed.jsonl]")
@click.option("--skip", type=click.IntRange(min=0), default=0, help="Leave out so many lines first.")
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="A message attribute.")
@click.option("--group-id", default="", help="FIFO: the message group.")
@click.option("--group-key", help="FIFO: where an object has its message group: object.id")
@click.option("--deduplication-id", default="", help="FIFO: the deduplication id, of a single message.")
@click.option("--deduplication-key", help="FIFO: where an object has its deduplication id.")
@click.option("--delay", type=click.IntRange(0, 900), help="Queues: seconds until it can be received.")
@click.option("--subject", default="", help="Topics: the subject.")
@click.option("--binary-encoding", is_flag=True, help="Send objects as BSON in Base64.")
@click.option("--raw", is_flag=True, help="Send text as it is, whatever it is.")
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
    """Publish what is in FILE, or comes from the standard input, -, to a queue or topic.

    JSON objects go as they are; other text is a text message. With --lines each line is a message, a JSON object or
    string. Lines that fail are in a file, which is there only then, and can be published as it is.
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
            note("it is no JSON object, and goes as text", style="yellow")
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
        client, url = connect(queue, aws)
        to_queue = SqsPublisher(queue_url=url, client=client)
    elif os.environ.get(QUEUE_URL_VARIABLE):
        to_queue = SqsPublisher(**aws)
    else:
        raise WrongUsage(f"say where to: --queue or --topic, or set {QUEUE_URL_VARIABLE} or {TOPIC_ARN_VARIABLE}")
    return to_queue, name_of(to_queue.queue_url)


def _failed_of(file: Path) -> Path:
    name = "stdin" if str(file) == "-" else file.name.removesuffix(".jsonl").removesuffix(".ndjson")
    return (Path() if str(file) == "-" else file.parent) / f"{name}.failed.jsonl"
