"""Answers of HTTP, whole and broken, in whatever pieces they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.wire import http
from megaflow.wire.http import BrokenAnswerError, HttpAnswer, NoAnswerError, read_answer
from tests.wire.fuzz import pieces_of, read_broken
from tests.wire.scripted import answer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def stream(*pieces: bytes) -> Callable[[int], bytes]:
    left = [piece for piece in pieces if piece]

    def receive(size: int) -> bytes:
        piece = left.pop(0) if left else b""
        if len(piece) > size:
            left.insert(0, piece[size:])
        return piece[:size]

    return receive


def read(*pieces: bytes) -> HttpAnswer:
    return read_answer(stream(*pieces))


@given(st.binary(max_size=200), st.lists(st.integers(1, 50)))
def test_an_answer_is_read_in_whatever_pieces_it_comes(body: bytes, sizes: list[int]) -> None:
    got = read(*pieces_of(answer(body, x_a="1"), sizes))

    assert (got.status, got.body, got.keeps_alive, got.headers["x-a"]) == (200, body, True, "1")


@given(st.lists(st.binary(min_size=1, max_size=50)), st.lists(st.integers(1, 50)))
def test_a_chunked_body_is_put_together(chunks: list[bytes], sizes: list[int]) -> None:
    said = b"".join(b"%x;name=value\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nX-Trailer: t\r\n\r\n"

    got = read(*pieces_of(CHUNKED + said, sizes))

    assert (got.body, got.keeps_alive) == (b"".join(chunks), True)


def test_interim_answers_are_skipped() -> None:
    assert read(b"HTTP/1.1 100 Continue\r\n\r\n", answer(b"{}")).status == 200


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    got = read(b"HTTP/1.1 200 OK\r\n\r\n", b"{", b"}")

    assert (got.body, got.keeps_alive) == (b"{}", False)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (answer(), True),
        (answer(connection="close"), False),
        (answer(connection="Keep-Alive"), True),
        (answer().replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (answer(connection="keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"), True),
        (answer() + b"more than was asked for", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
def test_the_connection_is_kept_where_the_answer_lets_it(said: bytes, kept: bool) -> None:
    assert read(said).keeps_alive is kept


def test_headers_that_come_twice_are_one_list() -> None:
    said = b"HTTP/1.1 204 No Content\r\nX-A: 1\r\nx-a:2  \r\n\r\n"

    assert read(said).headers == {"x-a": "1, 2"}


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "SSH-2.0"),
        (b"HTTP/2 200\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "not a header"),
        (b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", "not a header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "length is '-1'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "length is '2, 3'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "longer than"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "transfer encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", "transfer encoding"),
        (answer(b"{}")[:-1], "body of 2 bytes, after 1 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "within its head"),
        (CHUNKED + b"2\r\n{", "closed within"),
        (CHUNKED + b"zz\r\n", "size of a chunk"),
        (CHUNKED + b"1\r\n{}\r\n", "longer than it says"),
        (CHUNKED + b"fffffffff\r\n", "longer than"),
        (CHUNKED + b"0\r\n" + b"a: b\r\n" * 200, "trailer does not end"),
        (CHUNKED + b"1" * 70_000, "does not end"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, "head is longer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "interim"),
    ],
)
def test_what_is_broken_is_said(said: bytes, problem: str) -> None:
    with pytest.raises(BrokenAnswerError, match=problem):
        read(said)


def test_nothing_at_all_is_known_as_such() -> None:
    with pytest.raises(NoAnswerError):
        read()


def test_a_body_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LONGEST_BODY", 1_000_000)
    endless: Iterable[bytes] = iter([b"HTTP/1.1 200 OK\r\n\r\n"])

    with pytest.raises(BrokenAnswerError, match="longer than 1,000,000"):
        read_answer(lambda size: next(iter(endless), b"x" * size))


def test_broken_answers_are_read_or_are_clear_errors() -> None:
    came_to = Counter(read_broken(seed).partition(":")[0] for seed in range(20_000))

    assert min(came_to["read"], came_to["broken"], came_to["not understood"]) > 1_000


@pytest.mark.long
@pytest.mark.parametrize("start", range(100_000, 1_100_000, 250_000))
def test_a_million_broken_answers_are_read_or_are_clear_errors(start: int) -> None:
    for seed in range(start, start + 250_000):
        read_broken(seed)
