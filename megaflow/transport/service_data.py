"""Service data: what botocore looks for and reads to make a client, for the service of that client alone.

botocore has the endpoints of all services in one JSON file, which takes 7 MB once it is parsed; and it looks into the
folders of all services to see whether there is the one that it makes a client of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from botocore.loaders import Loader

_FOR_CREDENTIALS: Final = ("signin", "sso", "sso-oidc", "sts")
"""The services that botocore calls for credentials."""

_PREFIXES: Final = {"sso": "portal.sso", "sso-oidc": "oidc"}
"""What the file of endpoints calls services that it has under other names."""

_SERVICES: Final = '\n    "services" : {\n'
_END_OF_SERVICES: Final = "\n    }"
_END_OF_SERVICE: Final = "\n      }"


class OneServiceLoader(Loader):  # type: ignore[misc]
    """The loader of a session of botocore that makes clients of *service*, and of what credentials come from."""

    def __init__(self, service: str, search_paths: Iterable[str]) -> None:
        super().__init__(list(search_paths), include_default_search_paths=False)
        self._service = service
        self._endpoints = Path(self.BUILTIN_DATA_PATH, "endpoints.json")

    def list_available_services(self, type_name: str) -> list[str]:
        """Return which of the services that are asked for have data of this type."""
        return [
            service
            for service in (self._service, *_FOR_CREDENTIALS)
            if any(any(Path(path).glob(f"{service}/*/{type_name}.json*")) for path in self.search_paths)
        ]

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        """Return data and the path of its file; of botocore's own endpoints, those that are asked for."""
        if name == "endpoints" and self._endpoints.exists() and not self._is_replaced(name):
            services = [_PREFIXES.get(each, each) for each in (self._service, *_FOR_CREDENTIALS)]
            # Where the file is laid out otherwise, all of it is read.
            with suppress(ValueError):
                few = json.loads("".join(_cut(self._endpoints.read_text(encoding="utf-8"), services)))
                if any(services[0] in partition["services"] for partition in few["partitions"]):
                    return few, str(self._endpoints.with_suffix(""))
        data: tuple[Any, str] = super().load_data_with_path(name)
        return data

    def _is_replaced(self, name: str) -> bool:
        """Tell whether the user has such a file, in place of botocore's."""
        others = [path for path in self.search_paths if path != self.BUILTIN_DATA_PATH]
        return any(self.file_loader.exists(str(Path(path, name))) for path in others)


def _cut(text: str, services: Iterable[str]) -> Iterator[str]:
    """Give *text* without the services that nobody asks for: they are told by how far they are indented."""
    done = 0
    while (found := text.find(_SERVICES, done)) >= 0:
        begin = found + len(_SERVICES)
        end = text.index(_END_OF_SERVICES, begin)
        yield text[done:begin]
        yield ",\n".join(filter(None, (_find(text, service, begin, end) for service in services)))
        done = end
    yield text[done:]


def _find(text: str, service: str, begin: int, end: int) -> str:
    found = text.find(f'      "{service}" : {{\n', begin, end)
    return text[found : text.index(_END_OF_SERVICE, found) + len(_END_OF_SERVICE)] if found >= 0 else ""
