"""`S3Payloads`: large payloads as objects of S3.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, Literal, Unpack, get_args

from megaflow.checks import check_choice, check_object, check_whole, refused
from megaflow.errors import ConfigurationError, PayloadError
from megaflow.keywords import check_options
from megaflow.logs import get_logger
from megaflow.messages.pointers import Pointer
from megaflow.payloads.places import Place, check_place, read_places
from megaflow.transport.errors import is_refusal, read_code
from megaflow.transport.session import AwsOptions, AwsSettings, refuse_beside_client

log = get_logger(__name__)

Deletes = Literal["never", "when-done"]
"""When payloads are deleted."""

MAX_SIZE: Final = 64 * 1_048_576
"""Bytes of a payload, where nothing is said: each that is in hand is in memory."""

_MOST: Final = 5 * 1_073_741_824
"""Bytes that S3 takes in one call: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

_CHECK: Final = "megaflow-check"
"""The name of an object that nobody writes: to ask for it tells whether S3 answers."""

_CONNECTIONS: Final = 50
_CHUNK: Final = 1_048_576
_LONGEST_PREFIX: Final = 900
"""Characters, so that a key has room for what follows."""

_MISSING: Final = frozenset({"NoSuchKey", "NoSuchVersion", "404"})
_DENIED: Final = frozenset({"AccessDenied", "403"})
_TO_BE_MENDED: Final = frozenset({"NoSuchBucket", "InvalidAccessKeyId", "InvalidToken"})


class S3Payloads:
    """Keeps large payloads in a bucket of S3. Nothing is asked of S3 before the first of them.

    The role that publishes needs ``s3:PutObject``; the one that consumes ``s3:GetObject``, ``s3:ListBucket``, without
    which S3 does not tell what is missing from what is forbidden, and ``s3:DeleteObject`` where payloads are deleted.
    Give the bucket a lifecycle rule: nothing else deletes what lies there after a message has expired.

    The options in `AwsOptions` say how to reach AWS.

    Args:
        bucket: The bucket that payloads are written to, and read from; it is not made.
        prefix: What the keys begin with, such as ``orders/``. Nothing else is read from the bucket.
        read_from: Further places to read from, as ``s3://bucket/`` or ``s3://bucket/prefix/``.
        max_size: How many bytes a payload may have, 64 MiB by default; one that is in hand is in memory.
        delete: ``"when-done"`` deletes a payload after its message was handled and deleted; never one that was
            dead-lettered, and none that came in the envelope of a topic, as others may still need it. A message that
            SQS delivers once more finds it missing.
        client: Your own boto3 client for S3.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        read_from: Iterable[str] = (),
        max_size: int = MAX_SIZE,
        delete: Deletes = "never",
        client: Any = None,
        **aws: Unpack[AwsOptions],
    ) -> None:
        check_options(S3Payloads, aws, AwsOptions)
        if not (isinstance(bucket, str) and bucket):
            raise refused("bucket", bucket, "the name of a bucket")
        if not isinstance(prefix, str) or len(prefix) > _LONGEST_PREFIX or ".." in prefix or not prefix.isprintable():
            raise refused(
                "prefix", prefix, f"what keys begin with, up to {_LONGEST_PREFIX} printable characters, no '..'"
            )
        check_whole("max_size", max_size, 1, _MOST)
        check_choice("delete", delete, get_args(Deletes))
        check_object("client", client, ("get_object", "put_object"), "boto3's client for S3, or leave it out")
        if client is not None:
            refuse_beside_client(aws)
        self._places = (Place(bucket, prefix), *read_places(read_from))
        self._max_size = max_size
        self._deletes = delete
        self._given_client = client
        self._aws = AwsSettings(**aws)
        self._has_warned = False

    @property
    def places(self) -> tuple[Place, ...]:
        """The buckets and prefixes that payloads are read from; the first one is written to."""
        return self._places

    @property
    def max_size(self) -> int:
        """See `Payloads`."""
        return self._max_size

    @property
    def deletes_when_done(self) -> bool:
        """See `Payloads`."""
        return self._deletes == "when-done"

    def make_pointer(self) -> Pointer:
        """See `Payloads`."""
        bucket, prefix = self._places[0]
        return Pointer(bucket, f"{prefix}{uuid.uuid4()}")

    def write(self, pointer: Pointer, body: bytes) -> None:
        """See `Payloads`."""
        self._client.put_object(Bucket=pointer.bucket, Key=pointer.key, Body=body)

    def read(self, pointer: Pointer) -> bytes:
        """See `Payloads`."""
        from botocore.exceptions import ClientError

        check_place(pointer, self._places)
        try:
            answer = self._client.get_object(Bucket=pointer.bucket, Key=pointer.key)
        except ClientError as error:
            if problem := _explain_final(read_code(error)):
                raise PayloadError(f"{pointer} {problem}") from error
            raise
        with answer["Body"] as stream:
            return self._read_all(pointer, stream, answer.get("ContentLength"))

    def delete(self, pointer: Pointer) -> None:
        """See `Payloads`."""
        if any(place.has(pointer) for place in self._places):
            self._client.delete_object(Bucket=pointer.bucket, Key=pointer.key)

    def check(self) -> None:
        """See `Store`: ask for an object that nobody writes, to see whether the bucket answers."""
        from botocore.exceptions import ClientError

        bucket, prefix = self._places[0]
        try:
            self._client.get_object(Bucket=bucket, Key=f"{prefix}{_CHECK}")["Body"].close()
        except ClientError as error:
            code = read_code(error)
            if code in _DENIED:
                # Perhaps only the object is missing, and S3 does not say so.
                self._warn_once(bucket)
            elif code in _TO_BE_MENDED or is_refusal(error):
                raise ConfigurationError(f"S3Payloads({bucket!r}): {_explain(code)} ({error})") from error
            elif code not in _MISSING:
                raise
        except Exception as error:
            if is_refusal(error):
                raise ConfigurationError(f"S3Payloads({bucket!r}): {_explain('')} ({error})") from error
            raise

    def close(self) -> None:
        """Close the connections. The next use opens them again."""
        # A client that was given is closed by whoever gave it.
        made = self.__dict__.pop("_client", None) if self._given_client is None else None
        if made is not None:
            made.close()

    def _read_all(self, pointer: Pointer, stream: Any, length: int | None) -> bytes:
        """Read no more than is allowed, whatever is said of the length."""
        self._check_size(pointer, length or 0)
        chunks: list[bytes] = []
        size = 0
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            self._check_size(pointer, size)
            chunks.append(chunk)
        return b"".join(chunks)

    def _check_size(self, pointer: Pointer, size: int) -> None:
        if size > self._max_size:
            raise PayloadError(f"{pointer} has more than the {self._max_size:,} bytes that max_size= allows")

    def _warn_once(self, bucket: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            text = (
                "S3 refuses to say whether there is something in the bucket %s: allow s3:GetObject on its objects, and "
                "s3:ListBucket on the bucket, or messages whose payloads are missing come again and again"
            )
            log.warning(text, bucket)

    @cached_property
    def _client(self) -> Any:
        if self._given_client is not None:
            return self._given_client
        from botocore.config import Config

        # As many as handlers and publishers may ask at once; boto3 keeps ten, and warns of each that it drops.
        config = self._aws.config or Config(max_pool_connections=_CONNECTIONS)
        return replace(self._aws, config=config).create_client("s3", "")


def _explain_final(code: str) -> str:
    """Say why an object will not come, ``""`` where it may."""
    if code in _MISSING:
        return "is not there"
    return "is archived: restore it, and move the message back" if code == "InvalidObjectState" else ""


def _explain(code: str) -> str:
    if code == "NoSuchBucket":
        return "there is no such bucket; make it, or check its name and the account"
    return "there are no usable credentials; give a profile_name=, or a role"
