"""Generated functions: each text is compiled once, and bound to constants as often as it is needed.

A text holds nothing that a user wrote. Keys, wanted values and whatever else comes from patterns are constants, which a
function closes over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final


class Functions:
    """Makes functions, which all know *names*, and says what they are in their ``__doc__``."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names: Final = names
        self._known: dict[tuple[str, ...], tuple[str, Callable[..., Any]]] = {}

    def make(self, head: str, lines: Sequence[str], constants: Mapping[str, object]) -> Any:
        """Return the function that begins with *head* and goes on with *lines*, in which *constants* are named."""
        shape = (head, *lines, *constants)
        known = self._known.get(shape)
        if known is None:
            source = _write(head, lines, constants)
            known = self._known[shape] = source, self._load(source)
        source, bind = known
        function = bind(*constants.values())
        function.__doc__ = source
        return function

    def _load(self, source: str) -> Callable[..., Any]:
        # A dict of its own: a function that its own globals hold would never be let go without the collector.
        loaded: dict[str, Any] = {}
        exec(compile(source, "<the dispatch table>", "exec"), dict(self._names), loaded)  # noqa: S102 - our own text
        return loaded["bind"]  # type: ignore[no-any-return]


def indent(lines: Iterable[str]) -> list[str]:
    """Return *lines* as they stand in a block."""
    return [f"    {line}" for line in lines]


def _write(head: str, lines: Sequence[str], constants: Iterable[str]) -> str:
    name = head.partition("(")[0]
    whole = [f"def bind({', '.join(constants)}):", *indent([f"def {head}:", *indent(lines), f"return {name}"])]
    return "\n".join(whole) + "\n"
