"""Clash: another distribution that writes into the folder ``megaflow``: what it is, what it has done, what to type.

It is another project's, which ``pip install megaflow`` brings, or this one from before it was called ``megaflow-sqs``.
The one installed last overwrites files of the other, and uninstalling either removes files of the other.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from megaflow.distribution import DISTRIBUTION
from megaflow.printable import printable

_OUR_PLUGIN: Final = "megaflow.testing.plugin"
"""An entry point that this project has had under either name, and the other one has not."""

_HERE: Final = Path(__file__).resolve().parents[1]


def report(others: Sequence[Path]) -> int:
    """Say on stderr whose metadata *others* are, and what to type; return 2 where files of this project are harmed."""
    clashing = {folder: Distribution.at(folder) for folder in dict.fromkeys(each.resolve() for each in others)}
    own = _find_own()
    harmed = list(_find_harmed(own)) if own else []
    if clashing or harmed:
        _say([*(_describe(each, folder) for folder, each in clashing.items()), *_describe_harm(harmed)])
        _say([f"type: {' && '.join(_find_remedies(list(clashing.values()), own))}"])
    return 2 if harmed else 0


def _find_own() -> Distribution | None:
    try:
        return distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return None


def _find_harmed(own: Distribution) -> Iterator[PackagePath]:
    """Find which files of the running package are missing, or are not those that were installed with it."""
    for file in own.files or ():
        path = Path(file.locate()).resolve()
        if file.hash and path.is_relative_to(_HERE) and _digest(path, file.hash.mode) != file.hash.value:
            yield file


def _digest(path: Path, algorithm: str) -> str:
    """Return the digest of a file as a RECORD has it: https://peps.python.org/pep-0376/#record ."""
    if not path.is_file():
        return "missing"
    return urlsafe_b64encode(hashlib.new(algorithm, path.read_bytes()).digest()).decode().rstrip("=")


def _describe(other: Distribution, folder: Path) -> str:
    whose = "this project under its earlier name" if _is_ours(other) else "another project's"
    return (
        f"the distribution megaflow ({folder}) is {whose}. This is {DISTRIBUTION}: each overwrites files of the other, "
        "and takes some with it when it is uninstalled"
    )


def _describe_harm(harmed: Sequence[PackagePath]) -> list[str]:
    if not harmed:
        return []
    more = f" and {len(harmed) - 1} more" if len(harmed) > 1 else ""
    return [f"{harmed[0]}{more} of {DISTRIBUTION} in {_HERE.parent} is overwritten or missing, so nothing is run"]


def _find_remedies(clashing: Sequence[Distribution], own: Distribution | None) -> Iterator[str]:
    if clashing:
        yield f"pip uninstall --yes {_HERE.name}"
    ours = own or next(filter(_is_ours, clashing), None)
    checkout = _checkout_of(ours) if ours else None
    what = f"--editable {shlex.quote(checkout)}" if checkout else DISTRIBUTION
    if own is None:
        yield f"pip install {what}"
    else:
        yield f"pip install --force-reinstall --no-deps {what if checkout else f'{what}=={own.version}'}"


def _is_ours(other: Distribution) -> bool:
    return any(each.value == _OUR_PLUGIN for each in other.entry_points)


def _checkout_of(found: Distribution) -> str | None:
    """Return the folder that was installed with ``--editable``: https://peps.python.org/pep-0610/ ."""
    origin: Any = json.loads(found.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return url2pathname(urlsplit(origin["url"]).path)


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"megaflow: {printable(line)}", file=sys.stderr)  # noqa: T201
