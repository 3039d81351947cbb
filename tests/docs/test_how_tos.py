"""How-tos: each starts with its program, and stands in the navigation; those of web servers are served."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import pytest

import megaflow
from megaflow.local import FaultKind
from megaflow.local.declared import document
from megaflow.local.server import Server
from megaflow.logs import LOG_KEYS
from megaflow.testing import TestClient
from tests.docs.pages import PAGES, ROOT, read_blocks, run
from tests.docs.test_sessions import find_port
from tests.waiting import PATIENCE

HOW_TOS = [name for name in PAGES if name.startswith("docs/how-to/")]
WEB = [block.text for block in read_blocks(PAGES["docs/how-to/web-server.md"])]


@pytest.mark.parametrize("name", HOW_TOS)
def test_a_how_to_starts_with_its_program(name: str) -> None:
    beginning, _, _ = PAGES[name].partition("\n## ")

    assert re.findall(r"^```(\w+)", beginning, re.MULTILINE)[0] == "python"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text()

    pages = [name.removeprefix("docs/") for name in PAGES if name.startswith("docs/")]
    assert [page for page in pages if f'"{page}"' not in navigation] == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("logs", LOG_KEYS),
        ("health-checks", [field.name for field in fields(megaflow.Health)]),
        ("odd-handlers", [f"Oddity.{oddity.name}" for oddity in megaflow.Oddity]),
        ("run-locally", [kind.value for kind in FaultKind]),
        (
            "declare-queues",
            [*document.QUEUE_KEYS, *document.TOPIC_KEYS, *document.SUBSCRIPTION_KEYS, *document.ENDPOINT_KEYS],
        ),
        ("test-handlers", [name for name in vars(TestClient) if not name.startswith("_")]),
    ],
)
def test_a_table_has_all_names(page: str, names: Iterable[str]) -> None:
    text = PAGES[f"docs/how-to/{page}.md"]

    assert [name for name in names if not re.search(rf"[`\"]{name}\b", text)] == []


def test_the_file_declares_what_the_program_does() -> None:
    page = PAGES["docs/how-to/declare-queues.md"]
    file, endpoints = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    program = next(read_blocks(page)).text.partition("with Server")[0]

    assert tomllib.loads(file) == run(program)["config"]
    Server(config=tomllib.loads(endpoints), deliver_to=["app:8080"]).close()


@contextmanager
def serving(folder: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def order(port: int) -> dict[str, str]:
    """Place an order, once the server is there."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/orders", json.dumps({"id": 7}).encode(), {"Content-Type": "application/json"}
    )
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                placed: dict[str, str] = json.load(answer)
                return placed
        except urllib.error.URLError:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("text", "command", "ends_with"),
    [
        # uvicorn ends as whoever sent the signal expects: by it.
        (WEB[0], ["-m", "uvicorn", "shop:server", "--port", "8000"], -signal.SIGTERM),
        (WEB[1], ["shop.py"], 0),
    ],
    ids=["starlette", "flask"],
)
def test_a_consumer_in_a_web_server_handles_and_ends_with_it(
    text: str, command: list[str], ends_with: int, tmp_path: Path
) -> None:
    port = find_port()
    (tmp_path / "shop.py").write_text(text.replace("port=8000", f"port={port}"))

    with serving(tmp_path, *(str(port) if each == "8000" else each for each in command)) as process:
        placed = order(port)
        assert process.stdout is not None
        said = iter(process.stdout.readline, "")
        assert any(line == "shipping 7\n" for line in said)
        process.send_signal(signal.SIGTERM)
        ended = process.wait(PATIENCE)

    assert (list(placed), ended) == (["message_id"], ends_with)


def test_a_web_server_whose_consumer_cannot_work_is_not_ready_and_says_why_at_its_end(tmp_path: Path) -> None:
    nowhere = WEB[0].replace(
        'sqs.create_queue(QueueName="orders")["QueueUrl"]', '"http://sqs.localhost/000000000000/no"'
    )
    assert nowhere != WEB[0]
    (tmp_path / "shop.py").write_text(nowhere)
    port = find_port()

    with serving(tmp_path, "-m", "uvicorn", "shop:server", "--port", str(port)) as process:
        while "it is not running" not in (problems := ask_ready(port)):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        ended = process.wait(PATIENCE)

    assert (problems, ended) == (["it is not running"], -signal.SIGTERM)


def ask_ready(port: int) -> list[str]:
    """Return what is wrong, as a server answers that is not ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=PATIENCE):
            return []
    except urllib.error.HTTPError as error:
        with error:
            problems: list[str] = json.load(error)["problems"] if error.code == 503 else []
            return problems
    except urllib.error.URLError:
        return []
