"""What botocore does anew for each session, done once: its files and hooks cost more than most tests do.

None of it depends on the session: a client made so is as any other.
"""

from __future__ import annotations

import functools
import inspect
import json
import marshal
from typing import Any

from botocore import hooks, session
from botocore.loaders import JSONFileLoader, Loader


class _ReadOnce:
    def __init__(self) -> None:
        files = JSONFileLoader()
        self.exists = functools.cache(files.exists)
        read = functools.cache(lambda path: json.loads(json.dumps(files.load_file(path))))
        packed = functools.cache(lambda path: marshal.dumps(read.__wrapped__(path)))
        # As a session's own: moto changes what it reads. The endpoints, the largest by far, are only looked at.
        self.load_file = lambda path: read(path) if path.endswith("endpoints") else marshal.loads(packed(path))


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
    _prepare_hooks_once()


def _prepare_hooks_once() -> None:
    names: dict[str, str] = {}
    inspect_anew = hooks.accepts_kwargs

    def make_aliaser(emitter: Any) -> Any:
        made = hooks.EventAliaser(emitter)
        made._alias_name_cache = names
        return made

    def accepts_kwargs(hook: Any) -> Any:
        code = getattr(hook, "__code__", None)
        return inspect_anew(hook) if code is None else code.co_flags & inspect.CO_VARKEYWORDS

    # No class is changed: where one is, the wire leaves a call to boto3.
    session.EventAliaser = make_aliaser
    hooks.accepts_kwargs = accepts_kwargs
