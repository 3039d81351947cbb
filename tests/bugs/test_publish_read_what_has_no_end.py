"""``megaflow publish /dev/zero`` read until memory was full; so did a file whose line had no end."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from megaflow.cli import reading
from megaflow.cli.errors import WrongUsage
from megaflow.cli.reading import read_text
from tests.cli.conftest import Run, _alone, orders, run, server, sqs, take_all

__all__ = ["_alone", "orders", "run", "server", "sqs"]

TOO_LONG = "is too long for a message: it has more than 8,388,608 characters"


class Endless(io.RawIOBase):
    """Zeros for ever, as far as anybody reads."""

    given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.given += len(buffer)
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def test_no_more_is_read_than_a_message_may_have() -> None:
    endless = Endless()

    with pytest.raises(WrongUsage, match=f"zeros {TOO_LONG}"):
        read_text(io.TextIOWrapper(io.BufferedReader(endless)), "zeros")

    assert endless.given < reading.LONGEST + 1_000_000


@pytest.mark.parametrize("options", [("--whole",), ("--raw",), ("--binary-encoding",)])
def test_what_has_no_end_is_refused(run: Run, sqs: Any, orders: str, options: tuple[str, ...]) -> None:
    ran = run("publish", "/dev/zero", "--queue", "orders", *options)

    assert ran.code == 2
    assert f"/dev/zero {TOO_LONG}" in ran.err
    assert take_all(sqs, orders) == []


def test_a_line_that_has_no_end_is_where_reading_ends(run: Run, sqs: Any, orders: str, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text('{"n": 1}\n{"n": 2}\n' + "0" * (reading.LONGEST + 1) + '\n{"n": 3}\n')

    ran = run("publish", "lines", "--lines", "--queue", "orders", "--failed", "failed")

    assert ran.code == 1
    assert f"line 3 {TOO_LONG}, and nothing was read from there on" in ran.err
    assert sorted(json.loads(each["Body"])["n"] for each in take_all(sqs, orders)) == [1, 2]
    assert not Path("failed").exists()


def test_so_it_is_on_the_standard_input(run: Run, sqs: Any, orders: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/zero").open(encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        lines = run("publish", "-", "--lines", "--queue", "orders")
        whole = run("publish", "-", "--queue", "orders")

    assert (lines.code, whole.code) == (1, 2)
    assert f"line 1 {TOO_LONG}" in lines.err
    assert f"- {TOO_LONG}" in whole.err


def test_a_line_that_is_only_too_long_for_the_queue_fails_alone(
    run: Run, sqs: Any, orders: str, tmp_path: Path
) -> None:
    (tmp_path / "lines").write_text('{"n": 1}\n{"n": "' + "0" * 2_000_000 + '"}\n{"n": 3}\n')

    ran = run("publish", "lines", "--lines", "--queue", "orders", "--failed", "failed")

    assert ran.code == 1
    assert sorted(json.loads(each["Body"])["n"] for each in take_all(sqs, orders)) == [1, 3]
    assert len(Path("failed").read_text().splitlines()) == 1


def test_explain_reads_no_more_either(run: Run, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from megaflow import App\napp = App('shop')\n@app.on_text()\ndef take(text: str) -> None: ...\n"
    )

    ran = run("explain", "shop.py", "/dev/zero")

    assert ran.code == 2
    assert f"/dev/zero {TOO_LONG}" in ran.err
