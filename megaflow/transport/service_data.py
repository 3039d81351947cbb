"""Service data: a client reads the endpoints of the services that it calls, and not those of all of AWS.

botocore has the endpoints of every service in one JSON file of a megabyte, which takes 7 MB once it is parsed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

OF_CREDENTIALS: Final = ("oidc", "portal.sso", "signin", "sts")
"""The services that credentials may come from, as that file calls them."""

_SERVICES: Final = '\n    "services" : {\n'
_END_OF_SERVICES: Final = "\n    }"
_END_OF_SERVICE: Final = "\n      }"


class Files(Protocol):
    """What botocore's loader of data reads JSON files with. Paths have no suffix."""

    def exists(self, file_path: str) -> bool:
        """Tell whether there is such a file."""

    def load_file(self, file_path: str) -> Any:
        """Return what is in it, or None where there is none."""


def read_less(loader: Any, service: str) -> None:
    """Let *loader*, a session's of botocore, read no more endpoints than a client of *service* asks for."""
    loader.file_loader = FewEndpoints(loader.file_loader, Path(loader.BUILTIN_DATA_PATH, "endpoints.json"), service)


class FewEndpoints:
    """The same as *files*, but for the file of *endpoints*, of which it gives what *service* needs."""

    def __init__(self, files: Files, endpoints: Path, service: str) -> None:
        self._files = files
        self._endpoints = endpoints
        self._service = service

    def exists(self, file_path: str) -> bool:
        """See `Files`."""
        return self._files.exists(file_path)

    def load_file(self, file_path: str) -> Any:
        """See `Files`."""
        if file_path == str(self._endpoints.with_suffix("")) and self._endpoints.exists():
            few = json.loads("".join(_cut(self._endpoints.read_text(encoding="utf-8"), self._service)))
            if any(self._service in partition["services"] for partition in few["partitions"]):
                return few
        return self._files.load_file(file_path)


def _cut(text: str, service: str) -> Iterator[str]:
    """Give *text* without the services that nobody asks for: they are told by how far they are indented."""
    done = 0
    while (found := text.find(_SERVICES, done)) >= 0:
        begin = found + len(_SERVICES)
        end = text.index(_END_OF_SERVICES, begin)
        yield text[done:begin]
        yield ",\n".join(filter(None, (_find(text, name, begin, end) for name in {service, *OF_CREDENTIALS})))
        done = end
    yield text[done:]


def _find(text: str, service: str, begin: int, end: int) -> str:
    found = text.find(f'      "{service}" : {{\n', begin, end)
    return text[found : text.index(_END_OF_SERVICE, found) + len(_END_OF_SERVICE)] if found >= 0 else ""
