"""Walks: from a payload to what is looked up, along all paths at once, as one generated function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from megaflow.dispatch.buckets import Bucket, Positions, Visit
from megaflow.dispatch.fields import MISSING, Path, PayloadField, PayloadFields
from megaflow.dispatch.generated import Functions, indent
from megaflow.dispatch.lookups import Step, make_visit, visit_as_base
from megaflow.dispatch.probes import How, Probe


@dataclass(slots=True)
class Trie:
    """The paths that a node looks at, key by key, and what is filed at their ends."""

    filed: dict[How, dict[Any, Bucket]] = field(default_factory=dict)
    below: dict[str, Trie] = field(default_factory=dict)

    def add(self, probe: Probe, path: Path, bucket: Bucket) -> None:
        """File *bucket* under *probe*, at the end of *path*."""
        if path:
            self.below.setdefault(path[0], Trie()).add(probe, path[1:], bucket)
        else:
            self.filed.setdefault(probe.how, {})[probe.what] = bucket


def make_node(
    leaves: Sequence[Bucket], roots: Mapping[Path, Trie], fields: PayloadFields, functions: Functions
) -> Bucket:
    """Return a bucket that holds *leaves*, and what a payload reaches by the values below the *roots*."""
    writer = _Writer(functions)
    lines = [f"{writer.bind('leaf', leaf)}(payload, found)" for leaf in leaves]
    for start, trie in roots.items():
        lines += writer.read_field(fields[start], trie)
    return functions.make("collect(payload, found)", lines, writer.constants)  # type: ignore[no-any-return]


@dataclass(slots=True)
class _Writer:
    """Writes the way through one payload, or through one object in it, and keeps the constants of these lines."""

    functions: Functions
    constants: dict[str, Any] = field(default_factory=dict)

    def bind(self, name: str, constant: object) -> str:
        """Return the name that *constant* has from now on."""
        name = f"{name}{len(self.constants)}"
        self.constants[name] = constant
        return name

    def read_field(self, start: PayloadField, trie: Trie) -> list[str]:
        if start.source == "payload":
            return self._go_on("payload", trie)
        name = f"field{len(self.constants)}"
        lines = self._go_on(name, trie)
        if not start.is_object:
            lines = [f"if {name} is not None:", *indent(lines)]  # which is how a field reads that is not set
        return [f"{name} = {start.source}", *lines]

    def read_object(self, name: str, below: Mapping[str, Trie], depth: int = 0) -> list[str]:
        if len(below) > _FEW_KEYS:
            visits = {key: _make_visit(trie, self.functions) for key, trie in below.items()}
            return [f"{self.bind('visit_keys', _visit_keys(visits))}({name}, payload, found)"]
        lines = []
        for key, trie in below.items():
            bound = self.bind("key", key)
            value = bound.replace("key", "value")
            lines += [f"{value} = {name}.get({bound}, MISSING)"]
            lines += self._go_on(value, trie, f"{value} is not MISSING and ", depth + 1)
        return lines

    def _go_on(self, name: str, trie: Trie, is_there: str = "", depth: int = 0) -> list[str]:
        if not trie.filed and depth < _DEEP:
            return [f"if isinstance({name}, dict):", *indent(self.read_object(name, trie.below, depth))]
        visit = self.bind("visit", _make_visit(trie, self.functions))
        return [
            f"if {is_there}{visit}(type({name}), {name}, payload, found):",
            f"    visit_as_base({visit}, {name}, payload, found)",
        ]


_DEEP: Final = 10
"""So many objects in each other are gone through in one function: Python indents no more than a hundred blocks."""

_FEW_KEYS: Final = 6
"""So many keys of an object are read one by one."""


def _make_visit(trie: Trie, functions: Functions) -> Visit:
    writer = _Writer(functions)
    lines = writer.read_object("value", trie.below)
    return make_visit(trie.filed, functions, Step(lines, writer.constants) if lines else None)


def _visit_keys(visits: Mapping[str, Visit]) -> Callable[[Any, Any, Positions], None]:
    """Return what goes through the keys of an object or through those of *visits*, whichever are fewer."""
    wanted, look_up, size = list(visits.items()), visits.get, len(visits)

    def visit_keys(value: Any, payload: Any, found: Positions) -> None:
        if len(value) < size:
            for key, each in value.items():
                visit = look_up(key)
                if visit is not None and visit(type(each), each, payload, found):
                    visit_as_base(visit, each, payload, found)
        else:
            for key, visit in wanted:
                each = value.get(key, MISSING)
                if each is not MISSING and visit(type(each), each, payload, found):
                    visit_as_base(visit, each, payload, found)

    return visit_keys
