"""``megaflow peek``, ``tail``, ``stats`` and ``purge``: looking into a queue, and emptying it."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import click

from megaflow import limits
from megaflow.cli.errors import FAILED, WrongUsage, describe
from megaflow.cli.held_messages import give_back
from megaflow.cli.options import aws_options, connect, json_option, read_aws
from megaflow.cli.output import count_messages, note, show, show_facts, show_json
from megaflow.cli.payloads import Open, app_option, open_plainly, open_with
from megaflow.messages.message import Message
from megaflow.messages.origin import origin_of, read_origin
from megaflow.transport.addresses import name_of
from megaflow.transport.numbers import read_time, read_whole
from megaflow.transport.queue import OpenQueue, QueueFacts

_WAIT: Final = 1
"""Seconds that a receive waits, so that SQS asks all its servers before it says that there is nothing."""

_HIDDEN_FOR: Final = 30
"""Seconds that a message stays hidden at most while somebody looks at it."""

_REMEMBERED: Final = 100_000
_SHOWN: Final = 500
"""Characters of a body."""

_DEPTHS: Final = {
    "visible": "ApproximateNumberOfMessages",
    "in_flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}


@click.command(short_help="Show messages of a queue, and leave them there.")
@click.argument("queue")
@click.option("--count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many at most.")
@click.option("--full", is_flag=True, help="Show all of a long body.")
@app_option
@json_option
@aws_options
def peek(queue: str, count: int, full: bool, target: str | None, as_json: bool, **aws: Any) -> None:
    """Show messages of QUEUE, and leave them there.

    QUEUE is a name, a URL or an ARN. SQS cannot show messages without delivering them: the receive count of each rises
    by one.
    """
    open_ = open_with(target)
    client, url = connect(queue, read_aws(**aws))
    place = OpenQueue(client, url)
    seen: dict[str, Message] = {}
    facts = place.inspect()
    _warn(facts, "what is shown")
    try:
        for batch in _receive_up_to(place, count):
            new = [each for each in batch if each.id not in seen]
            seen |= {each.id: each for each in batch}
            for message in new:
                _show(message, full, as_json, open_)
    finally:
        _give_back(client, place, seen.values())
    if not seen:
        hidden = f"; {facts.in_flight} are in flight" if facts.in_flight else ""
        note(f"there is no message to be seen{hidden}")


@click.command(short_help="Show messages as they come to a queue, and leave them there.")
@click.argument("queue")
@click.option("--full", is_flag=True, help="Show all of a long body.")
@app_option
@json_option
@aws_options
def tail(queue: str, full: bool, target: str | None, as_json: bool, **aws: Any) -> None:
    """Show messages as they come to QUEUE, and leave them there, until interrupted.

    QUEUE is a name, a URL or an ARN. SQS cannot show messages without delivering them: each is hidden from consumers
    for up to 30 seconds, and its receive count rises by one each time. What a consumer gets first is not shown.
    """
    open_ = open_with(target)
    client, url = connect(queue, read_aws(**aws))
    place = OpenQueue(client, url)
    _warn(place.inspect(), f"what is shown is hidden from consumers for up to {_HIDDEN_FOR} seconds, and")
    # By id, as long as one remembers: what was hidden comes again. Those of the last while are to be given back.
    seen: OrderedDict[str, Message] = OrderedDict()
    try:
        while True:
            found = place.receive(10, wait_time_seconds=limits.WAIT_TIME, visibility_timeout=_HIDDEN_FOR)
            new = [each for each in found if each.id not in seen]
            seen |= {each.id: each for each in found}
            for message in new:
                _show(message, full, as_json, open_)
                sys.stdout.flush()
            while len(seen) > _REMEMBERED:
                seen.popitem(last=False)
    except KeyboardInterrupt:
        pass
    finally:
        _give_back(client, place, seen.values())


@click.command(short_help="Count the messages of queues, and show how these are set up.")
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE...")
@json_option
@aws_options
def stats(queues: Sequence[str], as_json: bool, **aws: Any) -> None:
    """Count the messages of each QUEUE, and show how it is set up.

    QUEUE is a name, a URL or an ARN. The counts of SQS are approximate.
    """
    failures: list[Exception] = []
    for place, queue in enumerate(queues):
        try:
            known = _read_stats(queue, aws)
        except Exception as error:  # noqa: BLE001 - whatever one queue is, the others are told
            failures.append(error)
            continue
        if as_json:
            show_json(known)
            continue
        if place:
            show()
        show_facts((name.replace("_", " "), value) for name, value in known.items())
    for each in failures[:-1]:
        note(f"megaflow: {describe(each)[0]}")
    if failures:
        raise failures[-1]


@click.command(short_help="Delete all messages of a queue.")
@click.argument("queue")
@click.option("--yes", is_flag=True, help="Do not ask.")
@aws_options
def purge(queue: str, yes: bool, **aws: Any) -> int:
    """Delete all messages of QUEUE for good, also those in flight.

    QUEUE is a name, a URL or an ARN. The command asks before it deletes.
    """
    client, url = connect(queue, read_aws(**aws))
    facts = OpenQueue(client, url).inspect()
    about = "messages" if facts.problem else f"about {count_messages(facts.visible + facts.in_flight)}"
    if not yes:
        if not sys.stdin.isatty():
            raise WrongUsage(f"this deletes {about} of {name_of(url)}: say --yes where nobody can be asked")
        if not click.confirm(f"Delete {about} of {name_of(url)}?", err=True):
            note("nothing was deleted")
            return FAILED
    client.purge_queue(QueueUrl=url)
    show(f"{about} of {name_of(url)} are being deleted; that takes SQS up to a minute")
    return 0


def _receive_up_to(place: OpenQueue, count: int) -> Iterator[Sequence[Message]]:
    """Give messages as they come, until there are so many, or no more come."""
    left = count
    while left > 0:
        found = place.receive(min(left, 10), wait_time_seconds=_WAIT, visibility_timeout=_HIDDEN_FOR)
        if not found:
            return
        left -= len(found)
        yield found


def _give_back(client: Any, place: OpenQueue, messages: Iterable[Message]) -> None:
    # What is given back would come to a poll that was interrupted, as long as its connection is there.
    client.close()
    give_back(place, [each.lease.receipt_handle for each in messages if each.lease and not each.lease.lost])


def _warn(facts: QueueFacts, what: str) -> None:
    most = f"; at {facts.max_receive_count} it goes to the dead-letter queue" if facts.max_receive_count else ""
    counts = "counts one delivery more"
    note(f"{what} {counts}{most}", style="yellow")


def _show(message: Message, full: bool, as_json: bool, open_: Open = open_plainly) -> None:
    message, text = open_(message)  # what is around the text is the same for all
    if as_json:
        show_json(_describe(message, text))
        return
    sent = f"{message.sent_at:%Y-%m-%d %H:%M:%S}" if message.sent_at else ""
    times = "once" if message.receive_count == 1 else f"{message.receive_count} times"
    group = f"group {message.group_id}" if message.group_id else ""
    topic = f"by {message.sns.topic_arn.rpartition(':')[2]}" if message.sns else ""
    lay = f"payload at {message.pointer}" if message.pointer else ""
    told = [message.id, message.kind.value, f"sent {sent}", f"received {times}", group, topic, lay]
    show("  ".join(filter(None, told)), style="bold")
    body = text if full or len(text) <= _SHOWN else f"{text[:_SHOWN]}… (--full)"
    for line in body.splitlines() or [""]:
        show(f"  {line}")
    for reason in _read_reasons(message):
        show(f"  {reason}", style="red")


def _describe(message: Message, text: str) -> dict[str, Any]:
    fetched = {"payload_at": str(message.pointer), "payload": text} if message.pointer else {}
    attributes = {
        name: {"type": each.type, "value": _write_value(each.value)} for name, each in message.sqs_attributes.items()
    }
    return {
        "id": message.id,
        "kind": message.kind.value,
        "problem": message.problem,
        "sent_at": message.sent_at.isoformat() if message.sent_at else None,
        "receive_count": message.receive_count,
        "group_id": message.group_id,
        "attributes": attributes,
        "body": message.body,
        **fetched,
    }


def _write_value(value: str | bytes) -> str:
    return value if isinstance(value, str) else b64encode(value).decode()


def _read_reasons(message: Message) -> Iterator[str]:
    """Give what is wrong with the message, and why it was dead-lettered, where it says so."""
    if message.problem:
        yield message.problem
    origin = origin_of(message)
    if was := read_origin(message):
        yield f"was {was.get('message_id', '?')} in {name_of(was.get('queue', '?'))}"
    failed = origin.get("failed")
    for handler, error in failed.items() if isinstance(failed, dict) else ():
        if isinstance(error, str):
            yield f"{handler}: {error}"
    problem = origin.get("problem")
    if isinstance(problem, str) and problem and problem != message.problem:
        yield problem


def _read_stats(queue: str, aws: Any) -> dict[str, Any]:
    client, url = connect(queue, read_aws(**aws))
    said = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    policy, created = json.loads(said.get("RedrivePolicy") or "{}"), read_time(said.get("CreatedTimestamp"))
    known: dict[str, Any] = {"queue": name_of(url), "url": url}
    known |= {name: read_whole(said.get(attribute), 0) for name, attribute in _DEPTHS.items()}
    known |= {
        "fifo": said.get("FifoQueue") == "true",
        "visibility_timeout": read_whole(said.get("VisibilityTimeout"), 30),
        "retention": read_whole(said.get("MessageRetentionPeriod"), 345_600),
        "delay": read_whole(said.get("DelaySeconds"), 0),
        "dead_letter_queue": str(policy.get("deadLetterTargetArn", "")).rpartition(":")[2] or None,
        "max_receive_count": read_whole(policy.get("maxReceiveCount"), 0) or None,
        "created": created.isoformat() if created else None,
    }
    return known
