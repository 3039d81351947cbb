"""BSON by whichever module is installed: the same values in, the same values out, and no harm from wrong bytes."""

from __future__ import annotations

import re
import struct
import sys
import threading
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.errors import ConfigurationError
from megaflow.messages import bson
from megaflow.messages.bson import NotBsonError
from tests import documents
from tests.documents import blob, document, document_of_length, element, moment, text, text_of_length
from tests.strategies import bson_objects, damaged_documents, exactly
from tests.waiting import PATIENCE

ONE = struct.pack("<i", 1)


def refusal_of(data: bytes) -> str:
    """Why *data* is no BSON, said at all."""
    said: list[str] = []

    def decode() -> None:
        with pytest.raises(NotBsonError) as caught:
            bson.decode_document(data)
        said.append(str(caught.value))

    thread = threading.Thread(target=decode, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert said, "it was decoded, or is being decoded still"
    return said[0]


@given(value=bson_objects)
def test_a_document_comes_back(value: dict[str, Any]) -> None:
    assert exactly(bson.decode_document(bson.encode_document(value))) == exactly(value)


def test_a_document_is_the_bytes_that_the_specification_of_bson_shows() -> None:
    hello = b"\x16\x00\x00\x00\x02hello\x00\x06\x00\x00\x00world\x00\x00"
    awesome = (
        b"1\x00\x00\x00\x04BSON\x00&\x00\x00\x00\x020\x00\x08\x00\x00\x00awesome\x00"
        b"\x011\x00333333\x14@\x102\x00\xc2\x07\x00\x00\x00\x00"
    )

    assert bson.encode_document({"hello": "world"}) == hello
    assert bson.decode_document(hello) == {"hello": "world"}
    assert bson.encode_document({"BSON": ["awesome", 5.05, 1986]}) == awesome
    assert bson.decode_document(awesome) == {"BSON": ["awesome", 5.05, 1986]}


@pytest.mark.parametrize(
    ("given_element", "value"),
    [
        (element(0x01, "x", struct.pack("<d", 19.99)), 19.99),
        (text("x", "gr\u00fcn\0\U0001f600"), "gr\u00fcn\0\U0001f600"),
        (element(0x03, "x", document(text("y", "z"))), {"y": "z"}),
        (element(0x04, "x", document(text("0", "z"), element(0x0A, "1"))), ["z", None]),
        (blob("x", b"\x00\xff"), b"\x00\xff"),
        (blob("x", b""), b""),
        (blob("x", bytes(range(16)), subtype=4), UUID(bytes=bytes(range(16)))),
        (blob("x", b"md5-of-something", subtype=5), b"md5-of-something"),
        (element(0x07, "x", bytes.fromhex("5eb0a7d3f1d7a60001c0ffee")), b"5eb0a7d3f1d7a60001c0ffee"),
        (element(0x08, "x", b"\1"), True),
        (element(0x08, "x", b"\0"), False),
        (moment("x", 1_588_607_603_123), datetime(2020, 5, 4, 15, 53, 23, 123000, tzinfo=UTC)),
        (moment("x", -1), datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)),
        (element(0x0A, "x"), None),
        (element(0x10, "x", struct.pack("<i", -(2**31))), -(2**31)),
        (element(0x12, "x", struct.pack("<q", 2**63 - 1)), 2**63 - 1),
    ],
)
def test_each_type_reads_the_same_with_either_module(given_element: bytes, value: object) -> None:
    decoded = bson.decode_document(document(given_element))

    assert exactly(decoded) == exactly({"x": value})


def test_a_decimal_of_bson_is_read_where_the_module_knows_it() -> None:
    data = document(element(0x13, "price", struct.pack("<QQ", 1999, (6176 - 2) << 49)))

    if documents.HAS_PYMONGO:
        assert bson.decode_document(data) == {"price": Decimal("19.99")}
    else:
        assert refusal_of(data) == "an element of type 0x13"


def test_of_a_repeated_name_the_last_counts() -> None:
    assert bson.decode_document(document(text("x", "first"), text("x", "last"))) == {"x": "last"}


def test_the_empty_document_is_one() -> None:
    assert bson.decode_document(b"\5\0\0\0\0") == {}


# What is no BSON.


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\5\0\0\0",
        b"\0" * 8,
        b"\4\0\0\0",
        b"\5\0\0\0\1",
        b"\5\0\0\0\0\0",
        b64decode("ping"),
        bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e"),
        document(text("hello", "world"))[:-1],
        document(text("hello", "world"))[:-1] + b"\1",
        document(text("hello", "world")) + b"\0",
        document_of_length(-1, text("hello", "world")),
        document_of_length(0, text("hello", "world")),
        document_of_length(2**31 - 1, text("hello", "world")),
    ],
)
def test_bytes_whose_frame_does_not_fit_are_no_document(data: bytes) -> None:
    assert refusal_of(data)


@pytest.mark.parametrize("kind", sorted(set(range(256)) - {1, 2, 3, 4, 5, 7, 8, 9, 10, 0x10, 0x12, 0x13}))
def test_a_type_that_the_modules_do_not_share_is_refused(kind: int) -> None:
    assert refusal_of(document(element(kind, "x", b"\0" * 8))) == f"an element of type {kind:#04x}"


@pytest.mark.parametrize(
    ("given_element", "reason"),
    [
        (text_of_length(-8, "x", "ab"), "a negative length"),
        (text_of_length(-(2**31), "x", "ab"), "a negative length"),
        (text_of_length(0, "x", "ab"), "a text without its end"),
        (text_of_length(2, "x", "ab"), "a text without its end"),
        (text_of_length(100, "x", "ab"), "a text without its end"),
        (element(0x02, "x", b"\1\0"), "a length beyond its document"),
        (element(0x02, "x", ONE + b"a"), "a text without its end"),
        (element(0x03, "x", document_of_length(-1)), "a negative length"),
        (element(0x03, "x", document_of_length(4)), "a document without its end"),
        (element(0x03, "x", document_of_length(100)), "a document without its end"),
        (element(0x03, "x", document_of_length(6, b"\1\1")), "a document without its end"),
        (element(0x04, "x", document_of_length(-5)), "a negative length"),
        (element(0x05, "x", struct.pack("<iB", -7, 0)), "a negative length"),
        (element(0x05, "x", struct.pack("<iB", 100, 0)), "an element reaches beyond its document"),
        (element(0x01, "x", b"\0" * 7), "an element reaches beyond its document"),
        (element(0x12, "x"), "an element reaches beyond its document"),
        (element(0x08, "x"), "an element reaches beyond its document"),
        (element(0x03, "x", document_of_length(8, text("y", "z"))), "a document without its end"),
    ],
)
def test_a_length_that_misleads_is_refused(given_element: bytes, reason: str) -> None:
    assert refusal_of(document(given_element)) == reason


def test_a_negative_length_sends_nobody_round_in_circles() -> None:
    back_to_its_own_beginning = text_of_length(-(4 + len(b"\x02x\0")), "x", "ab")

    assert refusal_of(document(back_to_its_own_beginning)) == "a negative length"


@pytest.mark.parametrize(
    "data",
    [
        document(element(0x02, "x", struct.pack("<i", 2) + b"\xff\0")),
        document(b"\x0a\xff\0"),
        document(b"\x0axyz"),
        document(blob("x", b"short", subtype=4)),
        document(moment("x", 2**62)),
        document(moment("x", -(2**62))),
        document(moment("x", 253_402_300_800_000)),
        document(text("$$__CLASS_NAME__$$", "os.system")),
        document(element(0x03, "x", document(text("$$__CLASS_NAME__$$", "Lease")))),
    ],
)
def test_content_that_a_module_chokes_on_is_refused(data: bytes) -> None:
    assert refusal_of(data)


@pytest.mark.parametrize("kind", [0x03, 0x04])
def test_deep_nesting_is_refused(kind: int) -> None:
    levels = 28_000
    opened = b"".join(documents.opening(5 + 7 * inner) + bytes([kind, 0]) for inner in range(levels, 0, -1))

    assert refusal_of(opened + document() + b"\0" * levels)


@given(data=damaged_documents() | st.binary())
def test_damaged_bytes_are_a_document_or_refused_and_nothing_else(data: bytes) -> None:
    try:
        decoded = bson.decode_document(data)
    except NotBsonError:
        return

    assert type(decoded) is dict


@given(value=bson_objects, place=st.integers(min_value=0))
def test_a_document_cut_short_is_refused(value: dict[str, Any], place: int) -> None:
    data = bson.encode_document(value)

    with pytest.raises(NotBsonError):
        bson.decode_document(data[: place % len(data)])


# The module


@pytest.fixture
def another_module() -> Iterator[None]:
    """Forget which module was found, before and after."""
    bson._library.cache_clear()
    yield
    bson._library.cache_clear()


@pytest.mark.usefixtures("another_module")
@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (None, "it cannot be imported (ModuleNotFoundError: import of bson halted; None in sys.modules)"),
        (ModuleType("bson"), "what is imported (a folder without __init__.py) is neither that of the package bson nor"),
    ],
)
def test_where_there_is_no_module_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType | None, reason: str
) -> None:
    monkeypatch.setitem(sys.modules, "bson", module)
    package = "bson" if sys.version_info < (3, 14) else "pymongo"

    for use in (lambda: bson.encode_document({"a": 1}), lambda: bson.decode_document(document())):
        with pytest.raises(ConfigurationError, match=re.escape(reason)) as caught:
            use()
        assert f"pip install --force-reinstall {package} (" in str(caught.value)
