"""Payloads in S3 and in a directory: one contract, and what is special to either."""

from __future__ import annotations

import io
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from megaflow import App, AwsOptions, ConfigurationError
from megaflow.errors import PayloadError
from megaflow.payloads import DirectoryPayloads, Payloads, Pointer, S3Payloads
from megaflow.payloads.places import Place
from tests.buckets import Bucket

Make = Callable[..., Payloads]


@pytest.fixture(params=["S3", "directory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "S3":
        bucket: Bucket = request.getfixturevalue("bucket")
        return bucket.payloads
    return lambda **options: DirectoryPayloads(tmp_path / "payloads", **options)


def test_what_is_written_is_read_and_gone_once_it_is_deleted(make: Make) -> None:
    payloads = make()
    first, second = payloads.make_pointer(), payloads.make_pointer()

    payloads.write(first, b"one")
    payloads.write(second, b"two")
    payloads.write(first, b"one")

    assert first != second
    assert (payloads.read(first), payloads.read(second)) == (b"one", b"two")
    payloads.delete(first)
    payloads.delete(first)
    assert payloads.read(second) == b"two"
    with pytest.raises(PayloadError, match="is not there"):
        payloads.read(first)


def test_what_was_never_written_is_not_there(make: Make) -> None:
    payloads = make()
    payloads.write(payloads.make_pointer(), b"another")

    with pytest.raises(PayloadError, match="is not there"):
        payloads.read(payloads.make_pointer())


def test_no_more_is_read_than_is_allowed(make: Make) -> None:
    payloads, pointer = make(max_size=10), make().make_pointer()

    payloads.write(pointer, b"x" * 10)
    assert payloads.read(pointer) == b"x" * 10
    payloads.write(pointer, b"x" * 11)
    with pytest.raises(PayloadError, match="more than the 10 bytes that max_size= allows"):
        payloads.read(pointer)


def test_what_can_be_used_is_well(make: Make) -> None:
    make().check()  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [0, -1, 1.5, "1", True])
def test_a_size_that_can_be_none_is_refused(make: Make, size: object) -> None:
    with pytest.raises(ConfigurationError, match="max_size"):
        make(max_size=size)


@pytest.mark.parametrize("bad", [object(), "s3://bucket", S3Payloads])
def test_what_keeps_no_payloads_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match="large_payloads="):
        App(large_payloads=bad)


# S3


def test_keys_begin_with_the_prefix(bucket: Bucket) -> None:
    pointer = bucket.payloads(prefix="orders/").make_pointer()

    assert pointer.bucket == bucket.name
    assert pointer.key.startswith("orders/")


class Untouchable:
    """A client that nothing may ask for anything."""

    def get_object(self, **parameters: Any) -> Any:
        raise AssertionError(parameters)

    put_object = delete_object = get_object


@pytest.mark.parametrize(
    "pointer",
    [
        Pointer("other", "orders/1"),
        Pointer("mine", "orders"),
        Pointer("mine", "secrets/1"),
        Pointer("old", "orders/1"),
        Pointer("MINE", "orders/1"),
    ],
)
def test_a_place_that_was_not_named_is_not_even_asked(pointer: Pointer) -> None:
    payloads = S3Payloads("mine", prefix="orders/", read_from=["s3://old/kept/"], client=Untouchable())

    with pytest.raises(PayloadError, match="is no place to read from"):
        payloads.read(pointer)
    payloads.delete(pointer)


def test_further_places_are_read_from(bucket: Bucket) -> None:
    bucket.put("elsewhere/1", b"one")
    payloads = bucket.payloads(bucket="new", read_from=[f"s3://{bucket.name}/elsewhere/"])

    assert payloads.read(Pointer(bucket.name, "elsewhere/1")) == b"one"
    assert payloads.places == (Place("new", ""), Place(bucket.name, "elsewhere/"))


@pytest.mark.parametrize("places", ["s3://bucket/", ["bucket"], ["s3://bucket"], ["s3:///orders"], [7], 7])
def test_what_names_no_place_is_refused(places: Any) -> None:
    with pytest.raises(ConfigurationError, match="read_from="):
        S3Payloads("mine", read_from=places)


@pytest.mark.parametrize(
    "options",
    [
        {"bucket": ""},
        {"bucket": 7},
        {"prefix": "../"},
        {"prefix": 7},
        {"prefix": "x" * 901},
        {"prefix": "a\n"},
        {"delete": "always"},
        {"client": object()},
        {"client": Untouchable(), "region_name": "eu-west-1"},
        {"aws_access_key_id": "half"},
    ],
)
def test_what_cannot_work_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        S3Payloads(**{"bucket": "mine"} | options)


def answering(body: bytes, length: int | None, read: list[int]) -> Any:
    """A client whose object says that it has that *length*, whatever it has."""

    class Body(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            chunk = super().read(size)
            read.append(len(chunk))
            return chunk

    answer = {"Body": Body(body)} | ({} if length is None else {"ContentLength": length})
    return SimpleNamespace(get_object=lambda **parameters: answer, put_object=print)


def test_what_says_that_it_is_too_large_is_not_read_at_all() -> None:
    read: list[int] = []
    payloads = S3Payloads("b", max_size=10, client=answering(b"x" * 5, 11, read))

    with pytest.raises(PayloadError, match="more than the 10 bytes"):
        payloads.read(Pointer("b", "k"))

    assert read == []


@pytest.mark.parametrize("length", [1, None])
def test_what_is_larger_than_it_says_is_not_read_to_its_end(length: int | None) -> None:
    read: list[int] = []
    payloads = S3Payloads("b", max_size=10, client=answering(b"x" * 50_000_000, length, read))

    with pytest.raises(PayloadError, match="more than the 10 bytes"):
        payloads.read(Pointer("b", "k"))

    assert sum(read) <= 1_048_576


def failing(error: Exception) -> Any:
    def fail(**parameters: Any) -> Any:
        raise error

    return SimpleNamespace(get_object=fail, put_object=fail, delete_object=fail)


def said(code: str, status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetObject")


@pytest.mark.parametrize("code", ["NoSuchKey", "404", "InvalidObjectState"])
def test_what_will_not_come_is_the_payloads_fault(code: str) -> None:
    with pytest.raises(PayloadError, match="b/k is"):
        S3Payloads("b", client=failing(said(code))).read(Pointer("b", "k"))


@pytest.mark.parametrize(
    "error",
    [
        said("AccessDenied", 403),
        said("NoSuchBucket", 404),
        said("SlowDown", 503),
        said("InternalError", 500),
        said("ExpiredToken"),
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        NoCredentialsError(),
    ],
)
def test_all_else_is_an_outage(error: Exception) -> None:
    with pytest.raises(type(error)):
        S3Payloads("b", client=failing(error)).read(Pointer("b", "k"))


@pytest.mark.parametrize("error", [said("NoSuchBucket", 404), said("InvalidAccessKeyId", 403), NoCredentialsError()])
def test_what_somebody_has_to_mend_is_said_at_the_start(error: Exception) -> None:
    with pytest.raises(ConfigurationError, match=r"S3Payloads\('b'\): there "):
        S3Payloads("b", client=failing(error)).check()


def test_a_bucket_that_is_not_there_ends_run(bucket: Bucket) -> None:
    with pytest.raises(ConfigurationError, match="there is no such bucket; make it"):
        bucket.payloads(bucket="no-such-bucket").check()


@pytest.mark.parametrize(
    "error", [said("SlowDown", 503), EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), said("Any", 500)]
)
def test_what_may_pass_is_no_refusal(error: Exception) -> None:
    with pytest.raises(type(error)):
        S3Payloads("b", client=failing(error)).check()


def test_a_role_that_may_not_list_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    payloads = S3Payloads("b", client=failing(said("AccessDenied", 403)))

    with caplog.at_level(logging.WARNING):
        payloads.check()
        payloads.check()

    (record,) = caplog.records
    assert "allow s3:GetObject on its objects, and s3:ListBucket on the bucket" in record.getMessage()


def test_clients_are_made_when_they_are_needed_and_again_after_the_end(bucket: Bucket) -> None:
    payloads = S3Payloads(bucket.name, **bucket.aws)
    pointer = payloads.make_pointer()

    payloads.write(pointer, b"one")
    payloads.close()
    payloads.close()

    assert payloads.read(pointer) == b"one"
    payloads.close()


def test_many_may_ask_at_once_unless_it_is_said_otherwise(bucket: Bucket) -> None:
    aws: AwsOptions = {**bucket.aws, "config": Config(max_pool_connections=3)}

    made = [S3Payloads(bucket.name, **each)._client for each in (bucket.aws, aws)]

    assert [each.meta.config.max_pool_connections for each in made] == [50, 3]
    for each in made:
        each.close()


# A directory


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    payloads = DirectoryPayloads(tmp_path / "a" / "b")
    pointer = payloads.make_pointer()

    payloads.write(pointer, b"one")

    (file,) = payloads.path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(payloads.path.stat().st_mode) == 0o700


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "..", ".", "a/b", "", ".hidden", "a\x00b", "a" * 201])
def test_no_pointer_leads_out_of_the_directory(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_text("secret")
    payloads = DirectoryPayloads(tmp_path / "payloads")
    pointer = Pointer(payloads.make_pointer().bucket, key)

    with pytest.raises(PayloadError, match="is no file of the directory"):
        payloads.read(pointer)
    with pytest.raises(PayloadError, match="is no file of the directory"):
        payloads.write(pointer, b"")
    payloads.delete(pointer)

    assert (tmp_path / "secret").read_text() == "secret"


def test_nor_does_a_link_in_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    payloads = DirectoryPayloads(tmp_path / "payloads")
    pointer = payloads.make_pointer()
    payloads.path.mkdir()
    (payloads.path / pointer.key).symlink_to(tmp_path / "secret")

    with pytest.raises(PayloadError, match="is a link"):
        payloads.read(pointer)

    payloads.write(pointer, b"mine")
    assert payloads.read(pointer) == b"mine"
    assert (tmp_path / "secret").read_text() == "secret"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only POSIX has named pipes")
@pytest.mark.parametrize("make", ["mkdir", "mkfifo"])
def test_what_is_no_file_is_never_a_payload(tmp_path: Path, make: str) -> None:
    # As an outage, a forged pointer to it would hold up all that is to be received.
    payloads = DirectoryPayloads(tmp_path)
    pointer = payloads.make_pointer()
    getattr(os, make)(tmp_path / pointer.key)

    with pytest.raises(PayloadError, match="is no file"):
        payloads.read(pointer)


def test_another_bucket_is_no_directory(tmp_path: Path) -> None:
    payloads = DirectoryPayloads(tmp_path)
    (tmp_path / "key").write_text("there")

    with pytest.raises(PayloadError, match="is no file of the directory"):
        payloads.read(Pointer("bucket", "key"))


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = DirectoryPayloads(tmp_path)

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        payloads.write(payloads.make_pointer(), b"one")

    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="cannot be written"):
        DirectoryPayloads(tmp_path / "file" / "below").check()
