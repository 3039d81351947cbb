"""Where an app stands, and what is said where none does."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from megaflow import App
from megaflow.cli.targets import load_app

SHOP = """
from megaflow import App
app = App()
@app.on_data({"kind": "refund"})
def refund(data): ...
"""


@pytest.mark.parametrize("target", ["shop", "shop:app", "shop.py", "shop.py:app", "./shop.py:app"])
def test_a_target_is_a_module_or_a_file(target: str) -> None:
    Path("shop.py").write_text(SHOP)

    assert [each.name for each in load_app(target).handlers] == ["shop.refund"]


def test_a_file_finds_what_stands_beside_it() -> None:
    Path("sub").mkdir()
    Path("sub/helper.py").write_text("NAME = 'x'")
    Path("sub/shop.py").write_text(f"import helper\n{SHOP}")

    assert load_app("sub/shop.py:app").handlers


def test_a_module_in_a_package() -> None:
    Path("pack").mkdir()
    Path("pack/__init__.py").write_text("")
    Path("pack/shop.py").write_text(SHOP)

    assert load_app("pack.shop:app").handlers


def test_a_file_is_not_called_as_a_module_of_pythons_own() -> None:
    Path("json.py").write_text(SHOP)

    with pytest.raises(click.UsageError, match="has the name of a module of Python's own"):
        load_app("json.py")


def test_an_app_runs_again_once_it_is_imported() -> None:
    run = App.run
    Path("shop.py").write_text(f"{SHOP}\napp.run()")

    with pytest.raises(click.UsageError, match="runs its app"):
        load_app("shop.py")

    assert App.run is run


@pytest.mark.parametrize(
    ("target", "text", "said"),
    [
        ("nowhere:app", "", "there is no module 'nowhere'"),
        ("nowhere.py:app", "", "there is no file nowhere.py"),
        ("shop:other", SHOP, "there is no 'other' in shop; there is shop:app"),
        ("shop:refund", SHOP, "shop:refund is no App; there is shop:app"),
        ("shop", "x = 1", "there is no app in shop"),
        ("shop", f"{SHOP}\nsecond = App()", "there are several apps in shop; there is shop:app and shop:second"),
        ("shop.py", "import nothing_like_that", "shop.py cannot be imported: shop.py:1: ModuleNotFoundError: No mod"),
        ("shop", "x = 1\nx.y", "shop cannot be imported: shop.py:2: AttributeError: 'int' object has no attribute 'y'"),
        ("shop", "def f(:\n", "SyntaxError: invalid syntax"),
        ("shop.py", "import sys\nsys.exit(3)", "shop.py exits while it is imported"),
        ("shop", f"{SHOP}\nimport megaflow\nmegaflow.run(app, App())", "shop runs its app while it is imported"),
        ("shop.py", f"{SHOP}\napp.run()", "shop.py runs its app while it is imported: what it does belongs below if"),
        ("shop.py", "from megaflow import App\nApp(concurrency=0)", "shop.py cannot be imported: shop.py:2: Config"),
        (":app", "", "':app' names no module and no file"),
        (".", "", "'.' names no module and no file"),
    ],
)
def test_what_is_wrong_is_said(target: str, text: str, said: str) -> None:
    Path("shop.py").write_text(text)

    with pytest.raises(click.UsageError) as caught:
        load_app(target)

    assert said in caught.value.format_message()
