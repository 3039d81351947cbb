"""Wheels made by hand, and put into a folder as pip does: megaflow-sqs, and what else calls itself megaflow."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import megaflow

ROOT = Path(__file__).parents[2]
ENTRY_POINTS = """[console_scripts]
megaflow = megaflow.__main__:main

[pytest11]
megaflow = megaflow.testing.plugin
"""
OURS = {str(path.relative_to(ROOT)): path.read_bytes() for path in (ROOT / "megaflow").rglob("*.py")}
THEIRS = {"megaflow/__init__.py": b'from megaflow.context import FunctionContext\n__version__ = "0.1.2"\n'}
THEIRS["megaflow/context.py"] = b"class FunctionContext: ...\n"
NEEDED = ("click", "rich", "markdown_it", "mdurl", "pygments", "typing_extensions")
"""What the command imports to say its version."""


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes], entry_points: str = "") -> Path:
    """Make a wheel of *files*: https://packaging.python.org/specifications/binary-distribution-format/ ."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": entry_points,
    }
    content = {**files, **{f"{stem}.dist-info/{each}": text.encode() for each, text in metadata.items()}}
    record = f"{stem}.dist-info/RECORD"
    lines = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in content.items()]
    content[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    with ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, data in content.items():
            wheel.writestr(path, data)
    return Path(wheel.filename or "")


def make_ours(folder: Path) -> Path:
    """Make a wheel of this checkout."""
    return make_wheel(folder, "megaflow-sqs", megaflow.__version__, OURS, ENTRY_POINTS)


def make_theirs(folder: Path) -> Path:
    """Make a wheel that has in common with ours what that of the other project has: ``megaflow/__init__.py``."""
    return make_wheel(folder, "megaflow", "0.1.2", THEIRS)


def install(site: Path, wheel: Path) -> None:
    """Unpack *wheel*, over what is there."""
    with ZipFile(wheel) as opened:
        opened.extractall(site)


def uninstall(site: Path, stem: str) -> None:
    """Remove what the RECORD names, whoever else has a file of that name."""
    for line in (site / f"{stem}.dist-info" / "RECORD").read_text().splitlines():
        (site / line.partition(",")[0]).unlink(missing_ok=True)
    (site / f"{stem}.dist-info").rmdir()


def install_editable(site: Path, name: str, version: str, checkout: Path) -> None:
    """Write what ``pip install --editable`` writes, but for the ``.pth`` that puts the checkout on the path."""
    install(site, make_wheel(site, name, version, {}, ENTRY_POINTS))
    origin = {"url": checkout.as_uri(), "dir_info": {"editable": True}}
    stem = f"{name.replace('-', '_')}-{version}"
    (site / f"{stem}.dist-info" / "direct_url.json").write_text(json.dumps(origin))


def install_needed(site: Path) -> None:
    """Link the packages that the command needs, and nothing else of this environment."""
    for name in NEEDED:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        found = origin.parent if origin.name == "__init__.py" else origin
        (site / found.name).symlink_to(found)


def _digest(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
