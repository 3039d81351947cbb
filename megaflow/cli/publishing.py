"""Lines of a file as messages: read, published in bulk, and those that fail kept in a file of their own."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from megaflow import private_files
from megaflow.cli.errors import FAILED, INTERRUPTED, WrongUsage
from megaflow.cli.output import count_messages, make_progress, note, show, show_json
from megaflow.cli.reading import LONGEST
from megaflow.consumer.threads.signals import stopping_on_signals
from megaflow.errors import EncodeError, FailedEntry
from megaflow.messages.codec import KIND_ATTRIBUTE, decode, encode
from megaflow.publishing.batches import Sent
from megaflow.publishing.outgoing import Outgoing
from megaflow.publishing.publisher import Publisher

_REASONS_SHOWN: Final = 5
_SHOW_EVERY: Final = 1_000
"""Messages between two looks at the progress bar."""


@dataclass(frozen=True)
class Form:
    """How text becomes a message."""

    raw: bool
    binary_encoding: bool
    group_key: str | None
    deduplication_key: str | None
    deduplication_id: str
    options: Mapping[str, Any]

    @classmethod
    def read(
        cls,
        attributes: Iterable[str],
        group_id: str,
        group_key: str | None,
        deduplication_id: str,
        deduplication_key: str | None,
        delay: int | None,
        subject: str,
        binary_encoding: bool,
        raw: bool,
    ) -> Form:
        """Return what the options say; raise `WrongUsage` where they contradict one another."""
        for one, other in ((group_id, group_key), (deduplication_id, deduplication_key)):
            if one and other:
                raise WrongUsage("a group, or a deduplication id, is the same for all or of each: not both")
        if raw and (binary_encoding or group_key or deduplication_key):
            raise WrongUsage("--raw does not look into what it sends")
        options = {
            "attributes": dict(map(_read_attribute, attributes)),
            "group_id": group_id,
            "delay_seconds": delay,
            "subject": subject,
        }
        return cls(raw, binary_encoding, group_key, deduplication_key, deduplication_id, options)

    def publish_one(self, publisher: Publisher, text: str) -> str:
        """Publish *text* as one message, and return its id."""
        said = self._find_keys(_read_json(text)) if self.group_key or self.deduplication_key else {}
        if self.deduplication_id:
            said["deduplication_id"] = self.deduplication_id
        options = {**self.options, **said}
        if self.binary_encoding:
            return publisher.publish(decode(text).payload, binary_encoding=True, **options)
        if self.raw or is_object(text):
            return publisher.publish_raw_message(text, **options)
        return publisher.publish(text, **options)

    def read_line(self, line: str) -> Outgoing:
        """Return the message in *line*; raise `EncodeError` where it is none."""
        text = line.rstrip("\r\n")
        if self.raw:
            return Outgoing(text, **self.options)
        value = _read_json(text)
        options = {**self.options, **self._find_keys(value)}
        if isinstance(value, dict):
            return Outgoing(decode(text).payload if self.binary_encoding else text, **options)
        if not isinstance(value, str):
            raise EncodeError("is no JSON object, and no string")
        if hint := encode(value).hint:
            options["attributes"] = {**options["attributes"], KIND_ATTRIBUTE: str(hint)}
        return Outgoing(value, **options)

    def _find_keys(self, value: object) -> dict[str, str]:
        """Return the message group and the deduplication id that *value* has."""
        paths = {"group_id": self.group_key, "deduplication_id": self.deduplication_key}
        return {name: _find(value, path) for name, path in paths.items() if path}


@dataclass
class Lines:
    """The lines of a file on their way."""

    file: Path
    publisher: Publisher
    form: Form
    failed_path: Path
    skip: int
    place: str
    as_json: bool
    sent: int = field(default=0, init=False)
    failures: int = field(default=0, init=False)
    unknown: int = field(default=0, init=False)
    reasons: list[str] = field(default_factory=list, init=False)
    lines_read: int = field(default=0, init=False)
    bytes_read: int = field(default=0, init=False)
    unwritten: list[int] = field(default_factory=list, init=False)
    """The numbers of lines that failed, and could not be written to the file of those."""

    disk_problem: str = field(default="", init=False)
    interrupted: bool = field(default=False, init=False)
    is_too_long: bool = field(default=False, init=False)
    """Whether the next line has more than a message may have, and perhaps no end."""

    _is_reading: bool = field(default=False, init=False)
    _under_way: deque[tuple[int, str, str]] = field(default_factory=deque, init=False)
    """The number of each line whose end is not known yet, the line, and why it is no message."""

    def run(self) -> int:
        if self.failed_path.exists():
            raise WrongUsage(f"{self.failed_path} is there from before: publish it, remove it, or say --failed")
        began = time.monotonic()
        with open_text(self.file) as stream, stopping_on_signals(self._stop):
            try:
                self._publish(stream, began)
            finally:
                seconds = time.monotonic() - began
                self._tell(seconds)
        if self.interrupted:
            return INTERRUPTED
        return FAILED if self.failures or self.is_too_long else 0

    def _publish(self, stream: IO[str], began: float) -> None:
        size = self.file.stat().st_size if self.file.is_file() else None
        with make_progress() as progress, _Failed(self.failed_path) as failed:
            task = progress.add_task(self.place, total=size, count="", rate="")
            messages = (self._read(line) for line in self._lines(stream))
            try:
                for done in self.publisher.publish_stream(messages, raw=not self.form.binary_encoding):
                    self._note(done, failed)
                    if not progress.disable and (self.sent + self.failures) % _SHOW_EVERY == 0:
                        rate = f"{self.sent / (time.monotonic() - began):,.0f}/s"
                        progress.update(task, completed=self.bytes_read, count=f"{self.sent:,}", rate=rate)
            except BaseException as error:
                self._give_up(failed, error)
                raise

    def _lines(self, stream: IO[str]) -> Iterator[str]:
        """Give the lines that hold something, until they end or are interrupted."""
        while not self.interrupted and not self.disk_problem:
            try:
                self._is_reading = True
                line = stream.readline(LONGEST + 1)
                self._is_reading = False
            except _Enough:
                return
            self.is_too_long = len(line) > LONGEST
            if not line or self.is_too_long:
                return
            self.lines_read += 1
            self.bytes_read += len(line)
            if self.lines_read > self.skip and not line.isspace():
                yield line

    def _read(self, line: str) -> Outgoing:
        try:
            message, problem = self.form.read_line(line), ""
        except EncodeError as error:
            # What cannot be sent, so that its place in the order is kept.
            message, problem = Outgoing(None), str(error)
        self._under_way.append((self.lines_read, line, problem))
        return message

    def _note(self, done: Sent, failed: _Failed) -> None:
        number, line, problem = self._under_way.popleft()
        if done.failure is None:
            self.sent += 1
            return
        self.failures += 1
        self.unknown += done.failure.unknown
        try:
            failed.write(line)
        except OSError as error:
            # It is still where it came from: say which one it is, and read no more.
            self.unwritten.append(number)
            self.disk_problem = error.strerror or str(error)
        if len(self.reasons) < _REASONS_SHOWN:
            self.reasons.append(f"line {number}: {problem or f'{done.failure.code}: {done.failure.reason}'}")

    def _give_up(self, failed: _Failed, error: BaseException) -> None:
        """Keep the lines that nobody waits for any more."""
        while self._under_way:
            index = self.sent + self.failures
            reason = FailedEntry(index, "", type(error).__name__, "it was under way", unknown=True)
            self._note(Sent(index, failure=reason), failed)

    def _tell(self, seconds: float) -> None:
        if self.as_json:
            told = {"sent": self.sent, "failed": self.failures, "unknown": self.unknown, "seconds": round(seconds, 3)}
            show_json({**told, "to": self.place, "failed_file": str(self.failed_path) if self.failures else None})
        else:
            rate = f"{self.sent / seconds:,.0f}/s" if seconds else ""
            show(f"sent {count_messages(self.sent)} to {self.place} in {seconds:.1f} s ({rate})")
        written = self.failures - len(self.unwritten)
        if written:
            note(f"{count_messages(written)} failed: they are in {self.failed_path}", style="red")
        if self.unknown:
            note(f"of {self.unknown:,} of them nobody knows whether they went", style="red")
        for reason in self.reasons:
            note(f"  {reason}", style="red")
        self._say_where_it_ended()

    def _say_where_it_ended(self) -> None:
        more = "" if str(self.file) == "-" else f"; go on with --skip {self.lines_read}"
        if self.disk_problem:
            numbers = ", ".join(map(str, self.unwritten))
            note(f"{self.failed_path}: {self.disk_problem}, so these lines failed and are not in it: {numbers}{more}")
        elif self.is_too_long:
            what = f"line {self.lines_read + 1} is too long for a message: it has more than {LONGEST:,} characters"
            note(f"{what}, and nothing was read from there on", style="red")
        elif self.interrupted:
            note(f"interrupted after {self.lines_read:,} lines, all of which have been dealt with{more}")

    def _stop(self, now: bool) -> None:
        """End the input, or *now* everything; a second signal may be heard before the first is."""
        self.interrupted = True
        if now:
            raise KeyboardInterrupt
        if self._is_reading:
            self._is_reading = False
            raise _Enough


class _Enough(Exception):
    """No more is to be read."""


class _Failed:
    """A file of lines, there only where one is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: IO[str] | None = None

    def __enter__(self) -> _Failed:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            with suppress(OSError):
                self._stream.close()

    def write(self, line: str) -> None:
        """Add *line*."""
        if self._stream is None:
            descriptor = private_files.create(self._path)
            self._stream = os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="")
        self._stream.write(line if line.endswith("\n") else f"{line}\n")
        # What cannot be written has to be known now.
        self._stream.flush()


@contextmanager
def open_text(file: Path) -> Iterator[IO[str]]:
    """Open *file*, or the standard input; what is no UTF-8 is found when it is sent, and written back as it was."""
    descriptor: Path | int = sys.stdin.fileno() if str(file) == "-" else file
    closes = isinstance(descriptor, Path)
    with open(descriptor, encoding="utf-8", errors="surrogateescape", newline="\n", closefd=closes) as stream:
        yield stream


def _read_attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise WrongUsage(f"--attribute {text!r} is not NAME=VALUE")
    return name, value


def _read_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EncodeError(f"is no JSON: {error}") from error


def is_object(text: str) -> bool:
    """Tell whether *text* is a JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _find(value: object, path: str) -> str:
    """Return the text or number at *path* in *value*, names with dots between."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise EncodeError("there is no text or whole number", path)
    return str(value)
