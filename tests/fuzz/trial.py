"""The trial of one message: opened, handled, dead-lettered and shown, and what has to hold of all that."""

from __future__ import annotations

import io
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self
from unicodedata import category
from zlib import crc32

from megaflow import App, Message, ProcessStatus, Verdict
from megaflow.awslambda.records import open_record
from megaflow.cli import dev, queues
from megaflow.logs import JsonFormatter
from megaflow.messages.message import read_body
from megaflow.messages.origin import ORIGIN_ATTRIBUTE, digest_of, origin_of, read_origin
from megaflow.processing.dead_letters import describe_origin, has_room_for_origin
from megaflow.transport.queue import read_message
from tests.fuzz.app import make_apps
from tests.fuzz.messages import QUEUE_URL, Received, make
from tests.linear_twin import LinearTable
from tests.logs import find_unplain
from tests.verdicts.drivers import write_record

LONGEST: Final = 1.0
"""Seconds of the processor's time that a message may take, whatever it is."""

_ARN: Final = "arn:aws:sqs:eu-west-1:123456789012:orders"
_TELLING: Final = 40
"""Characters of a body that no log line has by chance."""

_KEEPING: Final = {ProcessStatus.RETRY_LATER, ProcessStatus.RETRIABLE_ERROR}


def read(raw: Received) -> Message:
    """Open a message that was received."""
    return read_message(raw, QUEUE_URL, 0.0, 30.0, lambda: 0.0)


def process(app: App, message: Message) -> Verdict:
    return app.process(message)


def show(app: App, verdict: Verdict) -> None:
    """Show a message as ``peek`` and ``tail`` do, and one of eight as ``dev`` and ``--full`` do, which takes longer."""
    queues._show(verdict.message, full=False, as_json=False)
    if crc32(verdict.message.id.encode()) % 8 == 0:
        queues._show(verdict.message, full=True, as_json=False)
        dev._show_verdict(app, verdict)


@dataclass
class Trials:
    """Tries messages, one after another. Tests give other functions, to see that what these do wrong is noticed."""

    read: Callable[[Received], Message] = read
    process: Callable[[App, Message], Verdict] = process
    show: Callable[[App, Verdict], None] = show
    clock: Callable[[], float] = time.thread_time
    records: list[logging.LogRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._apps = make_apps()
        self._twins = [LinearTable(app.handlers) for app in self._apps]
        self._handler = _Noting(self.records)

    def __enter__(self) -> Self:
        """Hear what is logged."""
        log = logging.getLogger("megaflow")
        self._before = log.level, log.propagate
        log.addHandler(self._handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Leave the log as it was."""
        log = logging.getLogger("megaflow")
        log.removeHandler(self._handler)
        log.setLevel(self._before[0])
        log.propagate = self._before[1]

    def find_faults(self, raw: Received) -> list[str]:
        """Return what does not hold of a message, in words."""
        began = self.clock()
        try:
            faults = list(self._try(raw))
        except Exception:  # noqa: BLE001 - nothing may escape, whatever it is
            faults = [f"it raised: {traceback.format_exc()}"]
        took = self.clock() - began
        return faults if took <= LONGEST else [*faults, f"it took {took:.1f} s of the processor's time"]

    def _try(self, raw: Received) -> Iterator[str]:
        message = self.read(raw)
        yield from _check_opening(raw, message)
        for app, twin in zip(self._apps, self._twins, strict=True):
            self.process(app, self.read(_forge(raw, message)))
            self.records.clear()
            verdict = self.process(app, message)
            yield from _check_choice(twin, message, verdict)
            yield from _check_fate(verdict)
            yield from _check_words(verdict, self.records)
            yield from _check_origin(verdict)
        yield from _check_shown(raw, message, lambda: self.show(app, verdict))


class _Noting(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


def _forge(raw: Received, message: Message) -> Received:
    """Return another message, which would reach the same handlers, and says that it has been *message*."""
    said = {"message_id": message.id, "queue": QUEUE_URL, "digest": digest_of(message), "finished": ["order", "text"]}
    origin = {ORIGIN_ATTRIBUTE: {"DataType": "String", "StringValue": json.dumps(said)}}
    return {**raw, "MessageId": "forged", "Body": f"{raw['Body']} ", "MessageAttributes": origin}


def _check_opening(raw: Received, message: Message) -> Iterator[str]:
    said = json.loads(message.to_json())
    if said["kind"] != message.kind.value:
        yield "what it tells of itself is not what it is"
    by_lambda = open_record(write_record({"MD5OfBody": "", **raw}, _ARN), 30.0, lambda: 0.0)
    if (by_lambda.kind, by_lambda.problem, repr(by_lambda.payload)) != (
        message.kind,
        message.problem,
        repr(message.payload),
    ):
        yield "Lambda reads it differently"
    for value in message.attributes.values():
        if value != value or value == 1e400:
            yield f"an attribute became {value!r}"
    if message.kind.value == "text" and not message.problem and _claims_to_be_an_event(message):
        yield "it claims to be a MEGA event, and is text without a problem"


def _claims_to_be_an_event(message: Message) -> bool:
    """Tell whether Python reads an event in the body, which says of no attribute that it is something else."""
    if "megaflow-kind" in message.attributes or '"protocol"' not in message.body:
        return False
    try:
        document = json.loads(message.body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("protocol") == "mega"


def _check_choice(twin: LinearTable, message: Message, verdict: Verdict) -> Iterator[str]:
    selection = twin.select(message)
    wanted = [handler.name for handler in (*selection.raised, *selection.matched)]
    # A function that was registered several times is called once.
    got = [outcome.handler.name for outcome in verdict.outcomes]
    if sorted(set(wanted)) != sorted(got):
        yield f"it was for {wanted}, and went to {got}"
    yield from (f"{outcome.handler.name} was skipped" for outcome in verdict.outcomes if outcome.skipped)


def _check_fate(verdict: Verdict) -> Iterator[str]:
    statuses = {outcome.status for outcome in verdict.outcomes}
    if verdict.deletes + verdict.keeps + verdict.dead_letters != 1:
        yield "it has no fate, or several"
    if statuses & _KEEPING:
        expected = "kept"
    elif ProcessStatus.FATAL_ERROR in statuses or (not statuses and verdict.message.problem):
        expected = "dead-lettered"
    else:
        expected = "deleted"
    if verdict.fate.value != expected:
        names = sorted(status.name for status in statuses) or [verdict.message.problem or "no handler"]
        yield f"it is {verdict.fate.value} after {', '.join(names)}"
    if verdict.deletes and verdict.message.problem and not verdict.outcomes:
        yield "it is deleted, though nobody wanted it and it has a problem"


def _check_words(verdict: Verdict, records: list[logging.LogRecord]) -> Iterator[str]:
    message = verdict.message
    texts = [record.getMessage() for record in records]
    if not any(message.id in text and verdict.fate.value in text for text in texts):
        yield f"nothing says that it is {verdict.fate.value}"
    for record, text in zip(records, texts, strict=True):
        if found := find_unplain(record):
            yield f"a log record has {', '.join(found)}"
        if len(message.body) > _TELLING and message.body in text:
            yield "a log line holds its body"
        line = JsonFormatter().format(record)
        if "\n" in line or not line.isascii():
            yield "a JSON log line is no line"


def _check_origin(verdict: Verdict) -> Iterator[str]:
    said = read_origin(verdict.message)
    if not all(isinstance(value, str) for value in said.values()) or not isinstance(origin_of(verdict.message), dict):
        yield "its origin is none"
    for with_texts in (True, False):
        origin = describe_origin(verdict, with_texts=with_texts)
        if not origin.isascii() or not isinstance(json.loads(origin)["failed"], dict):
            yield "its next origin cannot be sent"
        has_room_for_origin(verdict.message, origin, 0)
    if "what it says" in origin:
        yield "its next origin holds the text of an error"


def _check_shown(raw: Received, message: Message, show: Callable[[], None]) -> Iterator[str]:
    with _captured() as shown:
        show()
    text = shown.getvalue()
    if not text.replace("\n", "").isprintable() and (odd := {char for char in text if not _is_printable(char)}):
        yield f"what is shown holds {sorted(odd)!a}"
    if message.id not in text:
        yield "what is shown does not name it"
    with _captured() as shown:
        queues._show(message, full=False, as_json=True)
    said = json.loads(shown.getvalue())
    if said["body"] != raw["Body"] or shown.getvalue().count("\n") != 1:
        yield "its JSON is not what was received"
    read_body(message).encode(errors="surrogatepass")


@contextmanager
def _captured() -> Iterator[io.StringIO]:
    shown = io.StringIO()
    with redirect_stdout(shown):
        yield shown


def _is_printable(char: str) -> bool:
    return char.isprintable() or char in "\n\t" or category(char) == "Zs"


def describe(seed: int, place: int, raw: Any, faults: list[str]) -> str:
    """Say what does not hold of a message, and how to try it again."""
    lines = [f"seed {seed}, message {place}:", *(f"  {fault}" for fault in faults)]
    return "\n".join([*lines, f"  {raw!a}", f"  again: python -m tests.fuzz --seed {seed} --at {place}"])


def find_faults(seed: int, places: range) -> list[str]:
    """Return what does not hold of the messages at *places*, each with how to try it again."""
    found = []
    with Trials() as trials:
        for place in places:
            raw = make(seed, place)
            if faults := trials.find_faults(raw):
                found.append(describe(seed, place, raw, faults))
    return found
