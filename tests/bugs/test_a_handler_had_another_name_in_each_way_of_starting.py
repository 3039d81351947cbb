"""A handler was ``__main__.charge``, ``__mp_main__.charge`` or ``app.charge``, by how its script was started.

Its progress was not found again after a redeploy that started it in another way.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from megaflow import App, MemoryStore
from megaflow.callables import name_of
from megaflow.telemetry.conventions import name_error

APP = """
import multiprocessing
import sys

from megaflow import App
from megaflow.aws.sqs.subscribe import DataSubscriber, SqsListener
from megaflow.telemetry.conventions import name_error

app = App()
listener = SqsListener(queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/orders")


class Declined(Exception):
    pass


class Charger:
    def __call__(self, data: dict) -> None: ...

    def refund(self, data: dict) -> None: ...


class Archiver(DataSubscriber):
    def process(self, payload): ...


@app.on_data({"type": "order"})
def charge(data: dict) -> None: ...


app.on_data({"type": "call"})(Charger())
app.on_data({"type": "refund"})(Charger().refund)
listener.register_subscriber(Archiver)


def show() -> None:
    print(*[handler.name for handler in (*app.handlers, *listener.app.handlers)], name_error(Declined()))


if __name__ == "__main__":
    if "spawn" in sys.argv:
        child = multiprocessing.get_context("spawn").Process(target=show)
        child.start()
        child.join()
    else:
        show()
"""
SHOW = "from shop_app import show; show()"


@pytest.mark.parametrize(
    "arguments",
    [
        ["shop_app.py"],
        ["./shop_app.py"],
        ["-m", "shop_app"],
        ["shop_app.py", "spawn"],
        ["-m", "shop_app", "spawn"],
        ["-c", SHOW],
    ],
    ids=" ".join,
)
def test_a_handler_has_one_name(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "shop_app.py").write_text(APP)

    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True, env=_environment()
    )

    assert done.stdout.split() == [
        "shop_app.charge",
        "shop_app.Charger",
        "shop_app.Charger.refund",
        "shop_app.Archiver",
        "shop_app.Declined",
    ]


def _environment() -> dict[str, str]:
    """Return an environment in which this megaflow is found from another folder."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def test_a_module_of_a_package_has_its_whole_name(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "shop_app.py").write_text(APP)

    done = subprocess.run(
        [sys.executable, "-m", "shop.shop_app", "spawn"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=_environment(),
    )

    assert done.stdout.split()[0] == "shop.shop_app.charge"


def test_under_a_profiler_it_is_not_called_after_the_profiler(tmp_path: Path) -> None:
    (tmp_path / "shop_app.py").write_text(APP)

    done = subprocess.run(
        [sys.executable, "-m", "cProfile", "-o", os.devnull, "shop_app.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=_environment(),
    )

    assert done.stdout.split()[0] == "shop_app.charge"
    assert "cProfile" not in done.stdout


def test_progress_is_found_again_after_a_start_in_another_way() -> None:
    ran: list[str] = []
    store = MemoryStore()

    def make(name: str) -> App:
        names: dict[str, Any] = {"__name__": name, "__file__": "/srv/shop/orders.py", "ran": ran}
        exec("def charge(text: str) -> None: ran.append('charge')", names)
        app = App(progress=store, retry_on=())
        app.on_text()(names["charge"])
        return app

    message = _message()
    for name in ("__main__", "__mp_main__", "orders"):
        make(name).process(message)

    assert ran == ["charge"]


def _message() -> Any:
    from megaflow.messages.message import open_message

    return open_message("ping", id="m-1", queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/orders")


def test_a_prompt_has_no_other_name() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("def charge(text: str) -> None: ...", names)

    assert name_of(names["charge"]) == "__main__.charge"


def test_what_is_built_in_has_no_module() -> None:
    assert name_of([].append) == "list.append"
    assert name_error(ValueError()) == "ValueError"
    assert name_of(functools.partial) == "functools.partial"
    assert name_of(threading.Event) == "threading.Event"
