"""Public names: what users may import, and the members of it; read from the code, docstrings of attributes included."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import megaflow
from tests.syntax import parse

MODULES: Final = (
    "megaflow",
    "megaflow.event",
    "megaflow.match.functions",
    "megaflow.match.filters",
    "megaflow.payloads",
    "megaflow.provision",
    "megaflow.stores",
    "megaflow.sql",
    "megaflow.testing",
    "megaflow.local",
    "megaflow.local.server",
    "megaflow.local.file.store",
    "megaflow.logs",
    "megaflow.telemetry.prometheus",
    "megaflow.awslambda",
    "megaflow.aws.sns",
    "megaflow.aws.sns.publish",
    "megaflow.aws.sqs.publish",
    "megaflow.aws.sqs.subscribe",
)
"""The modules that users import from; each says in its ``__all__`` what."""

FIXTURES: Final = "megaflow.testing.plugin"
"""The module of the pytest fixtures, which nobody imports."""


def modules_with_all() -> Iterator[str]:
    """Give the modules that say in ``__all__`` what is public."""
    for found in pkgutil.walk_packages(megaflow.__path__, "megaflow."):
        if not found.name.endswith("__main__") and hasattr(importlib.import_module(found.name), "__all__"):
            yield found.name


@cache
def public_names() -> Mapping[str, Any]:
    """Return all that is public by its full name, in each module from which it can be imported."""
    return {
        f"{module}.{name}": getattr(importlib.import_module(module), name)
        for module in MODULES
        for name in importlib.import_module(module).__all__
    }


def public_classes() -> dict[str, type]:
    """Return the public classes, each by the first of its names."""
    classes: dict[type, str] = {}
    for name, thing in public_names().items():
        if isinstance(thing, type):
            classes.setdefault(thing, name)
    return {name: thing for thing, name in classes.items()}


@cache
def members_of(kind: type) -> Mapping[str, str]:
    """Return the docstrings of what *kind* and its bases in megaflow define, by name; ``""`` where there is none."""
    members: dict[str, str] = {}
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] == "megaflow":
            for name, text in _read_class(base):
                members[name] = members.get(name) or text
    return {name: text for name, text in members.items() if not name.startswith("_")}


def _read_class(kind: type) -> Iterator[tuple[str, str]]:
    (tree,) = parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    yield from _read_attributes(tree.body, of="")
    for each in tree.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield each.name, ast.get_docstring(each) or ""
            yield from _read_attributes(each.body, of="self")


def _read_attributes(body: list[ast.stmt], *, of: str) -> Iterator[tuple[str, str]]:
    for each, following in zip(body, [*body[1:], None], strict=True):
        targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
        for name in filter(None, (_name(target, of) for target in targets)):
            text = following.value if isinstance(following, ast.Expr) else None
            yield name, str(text.value) if isinstance(text, ast.Constant) else ""


def _name(target: object, of: str) -> str:
    """Return the name of an attribute, which is *of* ``self``, or of the class."""
    if of:
        is_own = isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == of
        return target.attr if is_own and isinstance(target, ast.Attribute) else ""
    return target.id if isinstance(target, ast.Name) else ""
