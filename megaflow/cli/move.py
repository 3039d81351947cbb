"""``megaflow move`` and ``megaflow redrive``: messages from one queue to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias

import click

from megaflow.cli.errors import FAILED, INTERRUPTED, WrongUsage
from megaflow.cli.mover import FindTarget, Mover, Nowhere, Tally
from megaflow.cli.options import Command, aws_options, connect, json_option, read_aws
from megaflow.cli.output import count_messages, make_progress, note, show, show_json
from megaflow.cli.payloads import Open, app_option, open_with
from megaflow.consumer.threads.signals import stopping_on_signals
from megaflow.errors import PatternError
from megaflow.event import Payload, serialize_payload
from megaflow.match.filters import from_eventbridge
from megaflow.messages.message import Message
from megaflow.messages.origin import read_origin
from megaflow.transport.addresses import is_same_queue, name_of
from megaflow.transport.errors import is_missing_queue
from megaflow.transport.numbers import read_whole
from megaflow.transport.protocols import SqsClient
from megaflow.transport.queue import OpenQueue
from megaflow.transport.session import AwsOptions

Matches: TypeAlias = Callable[[Message], bool]

_AT_ONCE: Final = 8
_AGREES_WITHIN: Final = timedelta(seconds=2)
_VISIBLE: Final = "ApproximateNumberOfMessages"
_UNLIMITED: Final = float("inf")
_SHOWN: Final = 200
"""Characters of what a message names as its queue."""


def move_options(command: Command) -> Command:
    """Give a command the options that say what moves, and how fast."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Say what would move, and move nothing."),
        click.option(
            "--max-rate", type=click.FloatRange(min=0, min_open=True), help="How many messages a second at most."
        ),
        click.option("--count", type=click.IntRange(min=1), help="How many messages at most."),
        click.option(
            "--pattern", "pattern", help='Only messages that this event pattern matches: {"event": {"name": ["added"]}}'
        ),
    ):
        command = option(command)
    return command


@click.command(short_help="Move messages from one queue to another.")
@click.argument("source")
@click.argument("destination")
@move_options
@app_option
@json_option
@aws_options
def move(source: str, destination: str, as_json: bool, endpoint_url: Any, region: Any, profile: Any, **how: Any) -> int:
    """Move messages from the queue SOURCE to the queue DESTINATION.

    Both are a name, a URL or an ARN. Only what is there at the start moves. Each message is sent first, and deleted
    then: an interrupt loses none, and repeats at most what is in hand. A message that stays is hidden from consumers
    meanwhile, and its receive count rises by one. FIFO queues keep their order.

    --pattern is an event pattern of Amazon EventBridge, for the JSON object that a message holds. A MEGA event is
    matched as it is written: {"event": …, "object": …}. A message whose payload lies outside of it moves as it is, and
    the payload stays where it lies; with --app, the pattern is asked about that.
    """
    aws = read_aws(endpoint_url, region, profile)
    place = _open(source, aws)
    client, to = _connect_another(destination, source, place, aws)
    client.get_queue_attributes(QueueUrl=to, AttributeNames=["QueueArn"])
    return _Job(place, lambda message: to, lambda url: client, as_json=as_json, **how).run()


@click.command(short_help="Send dead-lettered messages back to where they came from.")
@click.argument("queue")
@click.option("--to", help="Where all messages go: a name, URL or ARN. [each to where it was]")
@move_options
@app_option
@json_option
@aws_options
def redrive(queue: str, to: str | None, as_json: bool, endpoint_url: Any, region: Any, profile: Any, **how: Any) -> int:
    """Send the messages of the dead-letter queue QUEUE back to the queues that they came from.

    QUEUE is a name, a URL or an ARN. A message goes to a queue whose redrive policy names QUEUE: to the one that it was
    in, or to the only one where nothing says which. Any other message needs --to, and stays without it. The rest is as
    with move.
    """
    aws = read_aws(endpoint_url, region, profile)
    place = _open(queue, aws)
    if to is None:
        return _Job(place, _Sources(place).find, lambda url: place.client, as_json=as_json, **how).run()
    client, url = _connect_another(to, queue, place, aws)
    return _Job(place, lambda message: url, lambda url: client, as_json=as_json, **how).run()


@dataclass(frozen=True)
class _Place:
    """A queue, and the client that reaches it."""

    client: Any
    url: str
    queue: OpenQueue


def _open(queue: str, aws: AwsOptions) -> _Place:
    client, url = connect(queue, aws)
    return _Place(client, url, OpenQueue(client, url))


def _connect_another(queue: str, than: str, place: _Place, aws: AwsOptions) -> tuple[Any, str]:
    client, url = connect(queue, aws)
    if is_same_queue(url, place.url):
        raise WrongUsage(f"{than} and {queue} are the same queue")
    return client, url


class _Sources:
    """The queues whose redrive policy names a dead-letter queue: nowhere else a message of it goes back to.

    Raises `WrongUsage` where there is none, and `click.ClickException` where that cannot be asked. They are in the
    region of the dead-letter queue:
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
    """

    def __init__(self, place: _Place) -> None:
        self._name = name_of(place.url)
        self._urls = self._list(place)
        if not self._urls:
            raise WrongUsage(
                f"no queue's redrive policy names {self._name}, so that nothing tells where its messages go back to: "
                "say --to"
            )

    def find(self, message: Message) -> str | Nowhere:
        """Return the URL of the one that *message* was in; SQS's word for it counts more than the message's own."""
        named = message.dead_letter_source or read_origin(message).get("queue", "")
        found = [url for url in self._urls if not named or is_same_queue(url, named)]
        if len(found) == 1:
            return found[0]
        if named:
            said = f"it says that it was in {named[:_SHOWN]}"
            return Nowhere(f"{said}, and that queue's redrive policy does not name {self._name}")
        return Nowhere(f"it does not say where it was, and {len(found)} queues' redrive policies name {self._name}")

    def _list(self, place: _Place) -> Sequence[str]:
        from botocore.exceptions import ClientError

        try:
            pages = place.client.get_paginator("list_dead_letter_source_queues").paginate(QueueUrl=place.url)
            return [url for page in pages for url in page.get("queueUrls", ())]
        except ClientError as error:
            if is_missing_queue(error):
                raise
            text = f"it cannot be asked which queues' redrive policies name {self._name}: {error}; say --to"
            raise click.ClickException(text) from error


@dataclass
class _Job:
    """A move, and what people see of it."""

    place: _Place
    find_target: FindTarget
    connect: Callable[[str], SqsClient]
    as_json: bool
    pattern: str | None
    count: int | None
    max_rate: float | None
    dry_run: bool
    target: str | None
    interrupted: bool = field(default=False, init=False)

    def run(self) -> int:
        matches = _read_pattern(self.pattern, open_with(self.target))
        began, waiting = _ask(self.place)
        with make_progress() as progress:
            total = min(waiting, self.count or waiting)
            task = progress.add_task(name_of(self.place.url), total=total, count="", rate="")
            mover = Mover(
                self.connect,
                self.place.queue,
                self.find_target,
                before=began,
                matches=matches,
                count=self.count or _UNLIMITED,
                rate=self.max_rate or _UNLIMITED,
                dry=self.dry_run,
                tell=lambda tally: progress.update(task, completed=tally.total, count=f"{tally.total:,}"),
            )
            try:
                with stopping_on_signals(lambda again: self._stop(mover, now=again)):
                    mover.run(_AT_ONCE)
            finally:
                progress.stop()
                self._tell(mover.tally)
        if self.interrupted:
            note("interrupted: what was in hand has been dealt with")
            return INTERRUPTED
        return FAILED if mover.tally.failed or mover.tally.lost_track or mover.tally.repeated else 0

    def _stop(self, mover: Mover, *, now: bool) -> None:
        """Let the move end in good order, or *now*."""
        if now:
            raise KeyboardInterrupt
        self.interrupted = True
        mover.stop()

    def _tell(self, tally: Tally) -> None:
        if self.as_json:
            show_json(
                {
                    "moved": dict(tally.moved),
                    "not_matched": tally.skipped,
                    "came_since": tally.late,
                    "lost_track": tally.lost_track,
                    "failed": tally.failed,
                    "not_deleted": tally.repeated,
                    "reasons": tally.reasons,
                    "dry_run": self.dry_run,
                }
            )
            return
        moved = "would move" if self.dry_run else "moved"
        for url, count in tally.moved.items():
            show(f"{moved} {count_messages(count)} to {name_of(url)}")
        if not tally.moved:
            show(f"{moved} nothing")
        if tally.late:
            show(f"{count_messages(tally.late)} came since it began, and stayed")
        if tally.skipped:
            show(f"{count_messages(tally.skipped)} did not match, and stayed")
        for what, count in (
            ("cannot go back by itself, and stayed: say --to", tally.lost_track),
            ("could not be sent, and stayed:", tally.failed),
            ("went, but could not be deleted, and will be seen in both queues", tally.repeated),
        ):
            if count:
                note(f"{count_messages(count)} {what}", style="red")
        for reason in tally.reasons:
            note(f"  {reason}", style="red")
        if self.dry_run and self.place.queue.fifo:
            note("of each group of a FIFO queue only the first few messages were looked at", style="yellow")


def _ask(place: _Place) -> tuple[datetime, int]:
    """Return what time it is for SQS, and about how many messages there are."""
    answer = place.client.get_queue_attributes(QueueUrl=place.url, AttributeNames=[_VISIBLE])
    date = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
    now = datetime.now(UTC)
    said = parsedate_to_datetime(date) if date else now
    # SQS says it to the second; a clock that agrees as far as that goes knows better.
    if abs(said - now) > _AGREES_WITHIN:
        now = said + timedelta(seconds=1)
    return now, read_whole(answer["Attributes"].get(_VISIBLE), 0)


def _read_pattern(pattern: str | None, open_: Open) -> Matches:
    if pattern is None:
        return lambda message: True
    try:
        condition = from_eventbridge(pattern)
    except PatternError as error:
        raise WrongUsage(f"--pattern: {error}") from error
    return lambda message: condition.test(_object_of(open_(message).message))


def _object_of(message: Message) -> object:
    return serialize_payload(message.payload) if isinstance(message.payload, Payload) else message.payload
