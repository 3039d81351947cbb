"""The files that botocore comes with: each session reads them anew, which costs more than most tests do."""

from __future__ import annotations

import functools

from botocore.loaders import JSONFileLoader, Loader


class _ReadOnce:
    def __init__(self) -> None:
        files = JSONFileLoader()
        self.exists = functools.cache(files.exists)
        self.load_file = functools.cache(files.load_file)


def read_once() -> None:
    """Let all sessions of this process share what one of them has read."""
    files = _ReadOnce()
    Loader.FILE_LOADER_CLASS = staticmethod(lambda: files)
