"""Forms: what AWS Query calls are written in, made a tree of the names that lead to the values. No I/O."""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Iterator
from typing import Any, Final

from megaflow.local.refused import Refused

Node = Any
"""What stands under a name of the form: text, or a dict of further nodes by their names."""

_LEVELS: Final = 16
"""How deep a name may go: twice what SNS needs, and little enough to be no burden."""

_INDEX: Final = re.compile("[1-9][0-9]{0,8}")


def parse(form: bytes) -> dict[str, Node]:
    """Make a tree of *form*, whose names say the way to their values: ``Tags.member.1.Key``."""
    root: dict[str, Node] = {}
    branches = {"": root}
    for name, value in _pairs(form):
        path, _, leaf = name.rpartition(".")
        branch = branches.get(path)
        if branch is None:
            branch = branches[path] = _grow(root, path)
        if leaf in branch:
            raise malformed(f"The request has {name} twice")
        branch[leaf] = value
    return root


def _pairs(form: bytes) -> Iterator[tuple[str, str]]:
    # A line break belongs in an escape, and would be lost below.
    form = form.replace(b"\n", b"%0A").replace(b"\r", b"%0D").replace(b"+", b" ")
    try:
        for pair in form.split(b"&"):
            name, _, value = pair.partition(b"=")
            if name:
                yield _unquote(name), _unquote(value)
    except ValueError as error:
        raise malformed("The request is no form of escaped UTF-8") from error


def _unquote(value: bytes) -> str:
    if b"%" not in value:
        return value.decode()
    # This is quoted-printable with another sign, and Python reads that four times as fast as unquote() does this.
    quoted = value.replace(b"=", b"=3D").replace(b"%", b"=")
    unquoted = a2b_qp(quoted)
    if len(unquoted) != len(quoted) - 2 * quoted.count(b"="):
        raise ValueError("a percent sign has no two digits behind it")
    return unquoted.decode()


def _grow(root: dict[str, Node], path: str) -> dict[str, Node]:
    """Return the branch at *path*, which no value may be on."""
    names = path.split(".", _LEVELS)
    node = root
    for name in names:
        node = node.setdefault(name, {})
        if type(node) is not dict:
            raise malformed(f"The request has {path} both as a value and as more than one")
    return node


def branch_of(node: Node) -> dict[str, Node]:
    """Return the nodes below *node*; a value that is empty stands for none."""
    if type(node) is dict:
        return node
    if node:
        raise malformed("Value found where not expected")
    return {}


def numbered(node: Node, tag: str) -> list[Node]:
    """Return the nodes at ``tag.1``, ``tag.2`` and so on below *node*, in this order; some may be left out."""
    branch = branch_of(node)
    if branch.keys() - {tag}:
        raise malformed(f"A list has its values at {tag}.1, {tag}.2 and so on")
    return _in_order(branch_of(branch.get(tag, "")))


def numbered_flat(node: Node) -> list[Node]:
    """Return the nodes at ``1``, ``2`` and so on below *node*; one without a number stands for the only one."""
    if type(node) is not dict:
        return [node] if node else []
    return [node] if not any(map(_INDEX.fullmatch, node)) else _in_order(node)


def _in_order(items: dict[str, Node]) -> list[Node]:
    for index in items:
        if not _INDEX.fullmatch(index):
            raise malformed(f"{index} is not a valid index")
    return [items[index] for index in sorted(items, key=int)]


def malformed(words: str) -> Refused:
    """Make the error for a form that cannot be read."""
    return Refused("MalformedInput", words)
