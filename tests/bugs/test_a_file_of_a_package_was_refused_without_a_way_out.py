"""`megaflow handlers shop/billing.py` said of relative imports that they fail, and not what to say in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from megaflow.cli.targets import load_app

BILLING = """
from megaflow import App
from .money import CENTS
app = App()
@app.on_data({"kind": "bill"})
def bill(data): ...
"""


@pytest.fixture
def make_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bool], None]:
    def make(folder: str, is_declared: bool) -> None:
        monkeypatch.chdir(tmp_path)
        package = Path(folder)
        package.mkdir(parents=True)
        (package / "billing.py").write_text(BILLING)
        (package / "money.py").write_text("CENTS = 100")
        if is_declared:
            (package / "__init__.py").touch()

    return make


def say(target: str) -> str:
    with pytest.raises(click.UsageError) as caught:
        load_app(target)
    return caught.value.format_message()


@pytest.mark.parametrize("is_declared", [True, False])
def test_the_module_is_suggested(make_package: Callable[[str, bool], None], is_declared: bool) -> None:
    make_package("shop", is_declared)

    said = say("shop/billing.py")

    assert said.startswith("shop/billing.py cannot be imported: shop/billing.py:3: ImportError: attempted relative")
    assert said.endswith(": say shop.billing")
    assert [each.name for each in load_app("shop.billing").handlers] == ["shop.billing.bill"]


def test_the_folder_is_said_where_it_is_another(make_package: Callable[[str, bool], None], tmp_path: Path) -> None:
    make_package("src/shop", True)

    assert say("src/shop/billing.py:app").endswith(f": say shop.billing, in the folder {tmp_path / 'src'}")


def test_it_is_said_within_the_package(make_package: Callable[[str, bool], None], tmp_path: Path) -> None:
    make_package("shop", True)
    os.chdir("shop")

    assert say("billing.py").endswith(f": say shop.billing, in the folder {tmp_path}")


def test_it_is_said_of_a_module_that_leaves_its_package(
    make_package: Callable[[str, bool], None], tmp_path: Path
) -> None:
    make_package("shop/money", True)
    Path("shop/__init__.py").touch()
    Path("shop/money/billing.py").write_text("from ..nowhere import x")
    os.chdir("shop")

    assert say("money.billing:app").endswith(f": say shop.money.billing, in the folder {tmp_path}")


def test_nothing_is_suggested_that_is_no_module(make_package: Callable[[str, bool], None]) -> None:
    make_package("my-shop", False)

    assert say("my-shop/billing.py").endswith("with no known parent package")
