"""The page on deploying: its program is that of the folder, and what it shows of files is in them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from megaflow.cli.export import FORMATS
from megaflow.cli.targets import load_app
from megaflow.provision.export.deployment import deploy
from tests.docs.pages import PAGES, ROOT, read_blocks

PAGE = PAGES["docs/how-to/deploy.md"]
FOLDER = ROOT / "deploy" / "shop"
SHOWN = re.findall(r"^<!-- of: (.*?) -->\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ELLIPSIS = "…"


def written(of: str, folder: Path) -> str:
    if of not in FORMATS:
        return (ROOT / of).read_text()
    shutil.copy(FOLDER / "shop.py", folder)
    apps = {"shop.py": load_app(str(folder / "shop.py"))}
    return FORMATS[of](deploy(apps, region="eu-west-1", account_id="123456789012"))


@pytest.mark.parametrize(("of", "shown"), SHOWN, ids=[of for of, _ in SHOWN])
def test_what_is_shown_of_a_file_is_in_it(of: str, shown: str, tmp_path: Path) -> None:
    text = written(of, tmp_path) + "\n"

    for part in shown.split(f"{ELLIPSIS}\n"):
        assert part in text
        text = text.partition(part)[2]


def test_every_format_and_every_file_of_the_folder_is_on_the_page() -> None:
    files = {path.name for path in FOLDER.iterdir() if path.is_file()} - {".dockerignore"}

    assert {of for of, _ in SHOWN if of in FORMATS} == set(FORMATS) - {"terraform", "iam"}
    assert [name for name in FORMATS if f"--format {name}" not in PAGE] == []
    assert [name for name in sorted(files) if name not in PAGE] == []


def test_the_program_of_the_page_is_the_one_of_the_folder() -> None:
    text = (FOLDER / "shop.py").read_text()

    assert next(read_blocks(PAGE)).text == text.partition('"""\n\n')[2]
