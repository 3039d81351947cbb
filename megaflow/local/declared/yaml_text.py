"""YAML as CloudFormation reads it: short forms of functions, and no dates."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, ClassVar, Final

from megaflow.distribution import describe_missing_extra
from megaflow.errors import ConfigurationError

try:
    import yaml
except ImportError as error:
    raise ConfigurationError(describe_missing_extra("a file in YAML", "local", error)) from error

_UNPREFIXED: Final = ("Ref", "Condition")


def read_yaml(text: str) -> Any:
    """Return what *text* has; ``!Ref x`` is ``{"Ref": "x"}``, and ``!Sub x`` is ``{"Fn::Sub": "x"}``.

    Raises:
        ConfigurationError: it is no YAML.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (at line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ConfigurationError(f"it is no YAML: {error.problem or error.context}{where}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"it is no YAML: {' '.join(str(error).split())}") from error


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Numbers are those of JSON: an account with a zero in front, and a version that is a date, are text."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that is there twice, of which the first would be lost."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
                seen.add(key.value)
        table: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return table


def _construct_function(loader: Any, suffix: str, node: Any) -> dict[str, Any]:
    name = suffix if suffix in _UNPREFIXED else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _construct_function)
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"-?(?:0|[1-9][0-9]*)", [*"-0123456789"]),
    ("float", r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", [*"-0123456789"]),
    ("merge", "<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first)
