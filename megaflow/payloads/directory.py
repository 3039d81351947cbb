"""`DirectoryPayloads`: large payloads as files of a directory, for ``megaflow dev`` and for tests."""

from __future__ import annotations

import os
import re
import stat
import uuid
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Final

from megaflow.checks import check_flag, check_path, check_whole
from megaflow.errors import ConfigurationError, PayloadError
from megaflow.messages.pointers import Pointer
from megaflow.private_files import create

BUCKET: Final = "directory"
"""What its pointers have in place of a bucket's name."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_HOW_TO_READ: Final = os.O_RDONLY | sum(
    getattr(os, name, 0)
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")  # not every system has each
)
_MAX_SIZE: Final = 64 * 1_048_576


class DirectoryPayloads:
    """Keeps large payloads as files in a directory, which is made where it is missing; only its owner can read them.

    It is for one machine: processes that share the directory read what others wrote. Nothing outside of it is read,
    written or deleted, whatever a pointer says, not even by a symbolic link in it.

    Args:
        path: The directory.
        max_size: How many bytes a payload may have, 64 MiB by default.
        deletes_when_done: Delete a payload after its message was handled and deleted.
    """

    def __init__(
        self, path: str | PathLike[str], *, max_size: int = _MAX_SIZE, deletes_when_done: bool = False
    ) -> None:
        check_path("path", path)
        check_whole("max_size", max_size, 1, 5 * 1_073_741_824)
        check_flag("deletes_when_done", deletes_when_done)
        self._path = Path(path)
        self._max_size = max_size
        self._deletes = deletes_when_done

    @property
    def path(self) -> Path:
        """The directory."""
        return self._path

    @property
    def max_size(self) -> int:
        """See `Payloads`."""
        return self._max_size

    @property
    def deletes_when_done(self) -> bool:
        """See `Payloads`."""
        return self._deletes

    def make_pointer(self) -> Pointer:
        """See `Payloads`."""
        return Pointer(BUCKET, str(uuid.uuid4()))

    def write(self, pointer: Pointer, body: bytes) -> None:
        """See `Payloads`: a reader finds the whole file, or none."""
        target = self._find(pointer)
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self._path / f".{uuid.uuid4()}"
        try:
            with os.fdopen(create(unfinished), "wb") as file:
                file.write(body)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)

    def read(self, pointer: Pointer) -> bytes:
        """See `Payloads`."""
        path = self._find(pointer)
        # It could lead anywhere; where the system can refuse it, it does so even if it comes just now.
        if path.is_symlink():
            raise PayloadError(f"{pointer} is a link, which could lead out of the directory")
        try:
            descriptor = os.open(path, _HOW_TO_READ)
        except FileNotFoundError as error:
            raise PayloadError(f"{pointer} is not there") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise PayloadError(f"{pointer} is no file")
        with os.fdopen(descriptor, "rb") as file:
            body = file.read(self._max_size + 1)
        if len(body) > self._max_size:
            raise PayloadError(f"{pointer} has more than the {self._max_size:,} bytes that max_size= allows")
        return body

    def delete(self, pointer: Pointer) -> None:
        """See `Payloads`."""
        with suppress(PayloadError):
            self._find(pointer).unlink(missing_ok=True)

    def check(self) -> None:
        """See `Store`: make the directory, and write a file that is taken back."""
        try:
            pointer = self.make_pointer()
            self.write(pointer, b"")
            self.delete(pointer)
        except OSError as error:
            raise ConfigurationError(f"DirectoryPayloads({str(self._path)!r}) cannot be written: {error}") from error

    def _find(self, pointer: Pointer) -> Path:
        """Return the file; raise `PayloadError` for what is none of this directory's own."""
        if pointer.bucket != BUCKET or not _NAME.fullmatch(pointer.key):
            raise PayloadError(f"{pointer} is no file of the directory")
        return self._path / pointer.key
