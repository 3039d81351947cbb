"""The files that botocore comes with: each session reads them anew, which costs more than most tests do."""

from __future__ import annotations

import functools
import json
import marshal
from typing import Any

from botocore.loaders import JSONFileLoader, Loader


class _ReadOnce:
    def __init__(self) -> None:
        files = JSONFileLoader()
        self.exists = functools.cache(files.exists)
        # As a session's own: moto changes what it reads.
        read = functools.cache(lambda path: marshal.dumps(json.loads(json.dumps(files.load_file(path)))))
        self.load_file = lambda path: marshal.loads(read(path))


def read_once() -> None:
    """Let all sessions of this process share what one of them has read."""
    files, listed = _ReadOnce(), dict[tuple[str, ...], list[str]]()
    list_anew = Loader.list_available_services

    def list_available_services(loader: Any, type_name: str) -> list[str]:
        place = (type_name, *loader.search_paths)
        if place not in listed:
            listed[place] = list_anew(loader, type_name)
        return listed[place]

    Loader.FILE_LOADER_CLASS = staticmethod(lambda: files)
    Loader.list_available_services = list_available_services
