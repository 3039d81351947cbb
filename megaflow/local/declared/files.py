"""Files that declare: TOML, JSON and YAML, told by the name's ending."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from megaflow.errors import ConfigurationError
from megaflow.local.declared.values import read_table


def read_file(path: Path) -> Mapping[str, Any]:
    """Return what is in a file.

    Raises:
        ConfigurationError: it cannot be read, or is none of these.
    """
    if path.suffix.lower() not in _READERS:
        raise ConfigurationError(f"its name says nothing of its format: let it end with {', '.join(_READERS)}")
    try:
        # Some editors begin a file with a mark of its encoding.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return read_table(_READERS[path.suffix.lower()](text), "")


def _read_toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"it is no TOML: {error}") from error


def _read_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_read_pairs)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"it is no JSON: {error}") from error


def _read_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)} is there twice")
    return table


def _read_yaml(text: str) -> Any:
    from megaflow.local.declared.yaml_text import read_yaml

    return read_yaml(text)


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    ".toml": _read_toml,
    ".json": _read_json,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".template": _read_yaml,
}
"""JSON is YAML, so that a template of either is read."""
