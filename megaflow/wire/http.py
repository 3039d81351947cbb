"""HTTP/1.1 answers, read from a connection: strict, and bounded in size.

https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

LONGEST_HEAD: Final = 65_536
LONGEST_BODY: Final = 64 * 1024 * 1024
"""Bytes: ten of SQS's largest messages fit in, however they are escaped."""

_MOST_INTERIM: Final = 10
_CHUNK: Final = 65_536
_END_OF_HEAD: Final = b"\r\n\r\n"
_STATUS_LINE: Final = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_USUAL: Final = {
    name: name.lower()
    for each in ("x-amzn-RequestId", "Content-Type", "Content-Length", "Date", "Connection", "Server")
    for name in (each, each.lower())
}
"""Names of headers that need no check."""

_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")

ReceiveBytes: TypeAlias = Callable[[int], bytes]
"""Gives up to so many bytes, and none at the end."""


class BrokenAnswerError(Exception):
    """What came is no answer of HTTP, ends halfway, or is too long."""


class NoAnswerError(BrokenAnswerError):
    """Nothing came at all."""


class HttpAnswer(NamedTuple):
    """An answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    keeps_alive: bool
    """Whether the connection can be used again."""


def read_answer(receive: ReceiveBytes) -> HttpAnswer:
    """Read one answer to a POST. Raises `BrokenAnswerError`, and whatever *receive* raises."""
    data = bytearray()
    for _ in range(_MOST_INTERIM):
        version, status, headers = _read_head(data, receive)
        if status >= 200:
            break
    else:
        raise BrokenAnswerError("nothing but interim answers")
    has_end, body = _read_body(data, receive, status, headers)
    said = headers.get("connection", "").lower()
    persists = "close" not in said if version else "keep-alive" in said
    return HttpAnswer(status, headers, body, keeps_alive=persists and has_end and not data)


def _read_head(data: bytearray, receive: ReceiveBytes) -> tuple[int, int, dict[str, str]]:
    """Take the head of an answer out of *data*: the minor version of HTTP, the status, the headers."""
    while (end := data.find(_END_OF_HEAD)) < 0:
        if len(data) > LONGEST_HEAD:
            raise BrokenAnswerError(f"its head is longer than {LONGEST_HEAD:,} bytes")
        _fill(data, receive, "head")
    lines = data[:end].decode("latin-1").split("\r\n")
    del data[: end + len(_END_OF_HEAD)]
    first = _STATUS_LINE.fullmatch(lines[0])
    if first is None:
        raise BrokenAnswerError(f"it begins with {lines[0][:60]!r}, which is not HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        name = _USUAL.get(name) or _read_name(name, line)
        if not colon:
            raise _not_a_header(line)
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(first[1]), int(first[2]), headers


def _read_name(name: str, line: str) -> str:
    if not _NAME.fullmatch(name):
        raise _not_a_header(line)
    return name.lower()


def _not_a_header(line: str) -> BrokenAnswerError:
    return BrokenAnswerError(f"{line[:60]!r} is not a header")


def _read_body(data: bytearray, receive: ReceiveBytes, status: int, headers: dict[str, str]) -> tuple[bool, bytes]:
    """Take the body out of *data*, and tell whether it said where it ends."""
    if status in (204, 304):
        return True, b""
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked" or "content-length" in headers:
            raise BrokenAnswerError(f"its transfer encoding is {coding[:60]!r}")
        return True, _read_chunks(data, receive)
    said = headers.get("content-length")
    if said is None:
        return False, _read_to_end(data, receive)
    if not _LENGTH.fullmatch(said):
        raise BrokenAnswerError(f"its length is {said[:60]!r}")
    return True, _take(data, receive, _bounded(int(said)))


def _read_chunks(data: bytearray, receive: ReceiveBytes) -> bytes:
    body = bytearray()
    while True:
        line = _take_line(data, receive)
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise BrokenAnswerError(f"{bytes(line[:60])!r} is not the size of a chunk")
        length = _bounded(int(size[1], 16), len(body))
        if not length:
            break
        body += _take(data, receive, length)
        if _take(data, receive, 2) != b"\r\n":
            raise BrokenAnswerError("a chunk is longer than it says")
    for _ in range(100):
        if not _take_line(data, receive):
            return bytes(body)
    raise BrokenAnswerError("its trailer does not end")


def _read_to_end(data: bytearray, receive: ReceiveBytes) -> bytes:
    while chunk := receive(_CHUNK):
        data += chunk
        _bounded(len(data))
    body = bytes(data)
    data.clear()
    return body


def _take_line(data: bytearray, receive: ReceiveBytes) -> bytes:
    while (end := data.find(b"\r\n")) < 0:
        if len(data) > LONGEST_HEAD:
            raise BrokenAnswerError("a line of a chunked body does not end")
        _fill(data, receive, "chunked body")
    return _take(data, receive, end + 2)[:-2]


def _take(data: bytearray, receive: ReceiveBytes, length: int) -> bytes:
    while len(data) < length:
        _fill(data, receive, f"body of {length:,} bytes")
    taken = bytes(data[:length])
    del data[:length]
    return taken


def _fill(data: bytearray, receive: ReceiveBytes, part: str) -> None:
    chunk = receive(_CHUNK)
    if not chunk:
        if part == "head" and not data:
            raise NoAnswerError("the connection was closed without an answer")
        raise BrokenAnswerError(f"the connection was closed within its {part}, after {len(data):,} bytes")
    data += chunk


def _bounded(length: int, before: int = 0) -> int:
    if before + length > LONGEST_BODY:
        raise BrokenAnswerError(f"its body is longer than {LONGEST_BODY:,} bytes")
    return length
