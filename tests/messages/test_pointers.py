"""Pointers: read as the extended clients write them, and refused where they can be none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow.errors import PayloadError
from megaflow.messages.pointers import Pointer, find_pointer, read_pointer, read_size, write_pointer

NEW = "software.amazon.payloadoffloading.PayloadS3Pointer"
OLD = "com.amazon.sqs.javamessaging.MessageS3Pointer"
PLACE = {"s3BucketName": "bucket", "s3Key": "orders/1"}


@pytest.mark.parametrize("name", [NEW, OLD])
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
@pytest.mark.parametrize("around", ["{}", " \n{}\t"])
def test_a_pointer_of_either_client_is_read(name: str, separators: tuple[str, str], around: str) -> None:
    body = around.format(json.dumps([name, PLACE], separators=separators))

    assert read_pointer(body) == Pointer("bucket", "orders/1")


def test_it_is_written_as_the_clients_of_today_do_it() -> None:
    assert json.loads(write_pointer(Pointer("bucket", "orders/1"))) == [NEW, PLACE]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps([NEW]),
        json.dumps([NEW, PLACE, PLACE]),
        json.dumps([NEW, [PLACE]]),
        json.dumps([NEW, {"s3BucketName": "bucket"}]),
        json.dumps([NEW, {"s3BucketName": "bucket", "s3Key": 7}]),
        json.dumps([NEW, {"s3BucketName": None, "s3Key": "k"}]),
        f'["{NEW}", {{',
        f'["{NEW}", ' + "[" * 8_000,
        json.dumps([NEW, PLACE])[:-1] + ", 1" + "0" * 5_000 + "]",
    ],
)
def test_what_is_malformed_has_a_reason(body: str) -> None:
    with pytest.raises(PayloadError, match="the pointer is not a list of a name and an object"):
        read_pointer(body)


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("", "k"),
        ("b", ""),
        ("b", "k" * 1_025),
        ("b", "ü" * 513),
        ("b" * 256, "k"),
        ("b", "a\nb"),
        ("b\x00", "k"),
        ("b", "\ud800"),
        ("b", ".."),
        ("b", "orders/../other"),
        ("b", "./k"),
        ("b", "orders\\..\\other"),
    ],
)
def test_a_name_that_can_be_none_is_refused(bucket: str, key: str) -> None:
    with pytest.raises(PayloadError, match="cannot be one"):
        read_pointer(json.dumps([NEW, {"s3BucketName": bucket, "s3Key": key}]))


def test_one_that_is_too_long_is_not_even_parsed() -> None:
    with pytest.raises(PayloadError, match="more than 16,384 characters"):
        read_pointer(json.dumps([NEW, PLACE | {"more": "x" * 20_000}]))


@pytest.mark.parametrize("payload", ["text", {"s3Key": "k"}, b"bytes", ""])
def test_what_has_only_the_attribute_is_none(payload: object) -> None:
    with pytest.raises(PayloadError, match="has the attribute of a pointer, and is none"):
        read_pointer(payload)


def test_the_size_is_read_from_either_attribute() -> None:
    assert read_size({"ExtendedPayloadSize": 7}) == 7
    assert read_size({"SQSLargePayloadSize": 8}) == 8
    assert read_size({"tenant": "acme"}) is None


@pytest.mark.parametrize("size", ["seven", -1, b"7"])
def test_what_is_no_size_is_refused(size: str | int | bytes) -> None:
    with pytest.raises(PayloadError, match="is no number of bytes"):
        read_size({"ExtendedPayloadSize": size})


def test_it_is_shown_in_one_line() -> None:
    assert str(Pointer("bucket", "a\x1b[31m\u202eb")) == "bucket/a\\x1b[31m\\u202eb"


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)


@given(NAMES, NAMES)
def test_what_is_written_is_read(bucket: str, key: str) -> None:
    pointer = Pointer(bucket, key)
    body = write_pointer(pointer)

    assert find_pointer(body, {})
    if {".", ".."} & set(key.replace("\\", "/").split("/")):
        with pytest.raises(PayloadError, match="cannot be one"):
            read_pointer(body)
    else:
        assert read_pointer(body) == pointer


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*PLACE, "x"]), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([NEW, OLD]), st.lists(JSON, max_size=3), st.text(max_size=5))
def test_nothing_else_ever_comes_of_one(name: str, rest: list[object], after: str) -> None:
    body = json.dumps([name, *rest]) + after

    try:
        pointer = read_pointer(body)
    except PayloadError:
        return

    assert rest[0] == rest[0] | {"s3BucketName": pointer.bucket, "s3Key": pointer.key}  # type: ignore[operator]
