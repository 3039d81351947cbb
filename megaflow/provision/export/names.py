"""Names within a template, which no two queues or topics share, whatever they are called."""

from __future__ import annotations

import re
from typing import Final

from megaflow.hashes import hash_parts

_PLAIN: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z][a-z0-9]*)*(?:\.fifo)?")
_LONGEST: Final = 100
_DIGITS: Final = 8


def logical_id(name: str, kind: str) -> str:
    """Return the id of *name* in a template of CloudFormation, with its *kind* at the end: ``OrdersDeadQueue``."""
    return "".join(word[:1].upper() + word[1:] for word in _words(name)) + kind


def label(name: str) -> str:
    """Return the name of *name* in a configuration of Terraform: ``orders_dead``."""
    text = "_".join(_words(name))
    return text if text[:1].isalpha() else f"_{text}"


def _words(name: str) -> list[str]:
    """Return the words of *name*, and a hash behind them where other names could have the same words."""
    words = re.findall("[A-Za-z0-9]+", name[:_LONGEST])
    is_plain = _PLAIN.fullmatch(name) and not name.endswith("-fifo") and len(name) <= _LONGEST
    return words if is_plain else [*words, hash_parts(name)[:_DIGITS]]
