"""Values that a file gives, checked: tables, lists and texts, and attributes as the text that AWS takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final

from megaflow.checks import show
from megaflow.local.declared.declarations import Place, within, wrong
from megaflow.local.settings import CHOICES, FIFO_ONLY, NAMES, NUMBERS, is_number

_PARTS: Final = 1_000_000
"""Of a document: a template of AWS has 1 MB and 500 resources at most."""

_BITS: Final = 64

OF_AN_ENDPOINT: Final = ("SQS endpoint", "Endpoint")
"""What AWS's words about the endpoint of a subscription have in them."""


def read_table(value: object, path: str) -> Mapping[str, Any]:
    """Return *value*, which has to be a table: a dict with texts as keys, or nothing, which is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise wrong(path, f"{show(value)} is not allowed: give a table")
    for key in value:
        if not isinstance(key, str):
            raise wrong(path, f"the key {show(key)} is not allowed: give text")
    return value


def read_list(value: object, path: str) -> list[Any]:
    """Return *value*, which has to be a list."""
    if not isinstance(value, list | tuple):
        raise wrong(path, f"{show(value)} is not allowed: give a list")
    return list(value)


def read_text(value: object, path: str) -> str:
    """Return *value*, which has to be text that is not empty; a number is taken as it is written."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise wrong(path, f"{show(value)} is not allowed: give text")
    return str(value)


def read_boolean(value: object, path: str) -> bool:
    """Return *value*, which has to be true or false."""
    if not isinstance(value, bool):
        raise wrong(path, f"{show(value)} is not allowed: give true or false")
    return value


def check_size(document: object) -> None:
    """Refuse a document that is small as it is written, and endless once all that it refers to is written out.

    https://en.wikipedia.org/wiki/Billion_laughs_attack
    """
    if _count(document, {}) > _PARTS:
        raise wrong("", f"it has more than {_PARTS} parts, once what stands for others is written out")


def _count(value: object, counted: dict[int, int]) -> int:
    """Count the parts of *value*; what is there more than once is looked at once."""
    if not isinstance(value, Mapping | list | tuple):
        if isinstance(value, int) and value.bit_length() > _BITS:
            raise wrong("", "a number in it has more digits than anything here takes")
        return 1
    if id(value) not in counted:
        # What is within itself is told by whoever reads it, who knows where it is.
        counted[id(value)] = 0
        within = value.values() if isinstance(value, Mapping) else value
        counted[id(value)] = 1 + sum(_count(each, counted) for each in within)
    return counted[id(value)]


def check_keys(given: Mapping[str, object], known: Collection[str], path: str, hints: Mapping[str, str]) -> None:
    """Refuse keys that are not *known*, with what is to be done by the *hints*, or the name that was perhaps meant."""
    for key in given:
        if key not in known:
            meant = f"there is no such key{nearest(key, known) or '.'} There are {', '.join(known)}"
            raise wrong(within(path, key), hints.get(key, meant))


def nearest(name: str, known: Collection[str]) -> str:
    """Return which of the *known* names was perhaps meant by *name*, as the end of a sentence, if one was."""
    meant = get_close_matches(name, known, 1)
    return f": did you mean {meant[0]}?" if meant else ""


def queue_attribute(name: str, value: object, path: str) -> str:
    """Return an attribute of a queue as SQS takes it."""
    if name not in NAMES:
        raise wrong(path, f"SQS has no such attribute{nearest(name, NAMES)}")
    text = attribute(name, value, path)
    if name in NUMBERS and not is_number(text, *NUMBERS[name]):
        unit = "bytes" if name == "MaximumMessageSize" else "seconds"
        low, high = NUMBERS[name]
        raise wrong(path, f"{show(value)} is not allowed: give whole {unit} from {low} to {high}")
    # That a queue is none of FIFO's may be said in a file, though not to SQS.
    choices = ("true", "false") if name == "FifoQueue" else CHOICES.get(name, (text,))
    if text.lower() not in {choice.lower() for choice in choices}:
        raise wrong(path, f"{show(value)} is not allowed: give {' or '.join(choices)}")
    return text


def attribute(_: str, value: object, path: str) -> str:
    """Return an attribute of whatever name as text: a table as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, Mapping):
        raise wrong(path, f"{show(value)} is not allowed: give text, a number, true, false or a table")
    return write_json(value, path)


class GivenAttributes:
    """The attributes that are given at *path*, by AWS's names, and where each of them stands."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.texts: dict[str, str] = {}
        self._paths: dict[str, str] = {}

    def place(self) -> Place:
        """Return where they stand."""
        return Place(self.path, self._paths)

    def add(self, name: str, text: str, path: str) -> None:
        """Add the attribute that stands at *path*, which has to be the only one of its *name*."""
        if name in self.texts:
            raise wrong(path, f"{self._paths[name]} says it, too: leave one of the two away")
        self.texts[name], self._paths[name] = text, path

    def mark(self, words: str, path: str) -> None:
        """Note that what AWS says with these *words* is of what stands at *path*."""
        self._paths[words] = path

    def add_all(self, given: object, read: Callable[[str, object, str], str]) -> None:
        """Add the attributes that are given by AWS's names."""
        path = within(self.path, "attributes")
        for name, value in read_table(given, path).items():
            self.add(name, read(name, value, within(path, name)), within(path, name))

    def settle_type(self, attribute: str, what: str, name: str) -> None:
        """Let the *name* say whether it is FIFO, and refuse an *attribute* that says otherwise."""
        fifo = name.endswith(".fifo")
        other = name.removesuffix(".fifo") if fifo else f"{name}.fifo"
        if (said := self.texts.pop(attribute, None)) is not None and (said.lower() == "true") != fifo:
            raise wrong(
                self._paths[attribute],
                f"a {what} is FIFO where its name ends with .fifo, and only there, and stays what it is: declare "
                f"{other}, which is another {what}",
            )
        if fifo:
            self.texts[attribute] = "true"
        for given in (given for given in FIFO_ONLY if given in self.texts and not fifo):
            raise wrong(self._paths[given], f"only a FIFO {what} has it, whose name ends with .fifo")


def write_json(value: object, path: str) -> str:
    """Return *value* as JSON, in the same way each time."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise wrong(path, f"it cannot be written as JSON: {error}") from error
