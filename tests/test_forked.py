"""A program that is forked is as one that is started: arguments, folder, environment, streams, exit code, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.forked import ROOT, Program, run
from tests.waiting import PATIENCE

SHOWN = """
import json, os, sys
print(json.dumps([__name__, sys.argv, os.getcwd(), dict(os.environ), sys.path[0], "megaflow.app" in sys.modules]))
print("this is said", file=sys.stderr)
sys.exit(3)
"""


def test_a_script_has_what_it_is_given(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "shown.py"
    script.parent.mkdir()
    script.write_text(SHOWN)

    done = run(str(script), "a", "b c", cwd=tmp_path, env={"A": "b"}, timeout=PATIENCE)

    assert (done.returncode, done.stderr) == (3, "this is said\n")
    assert json.loads(done.stdout) == [
        "__main__", [str(script), "a", "b c"], str(tmp_path), {"A": "b"}, str(script.parent), True,
    ]  # fmt: skip


def test_a_module_is_found_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(SHOWN)

    done = run("-m", "shown", "a", cwd=tmp_path, timeout=PATIENCE)

    name, arguments, folder, environment, path, _ = json.loads(done.stdout)
    assert (done.returncode, name, folder, environment, path) == (
        3, "__main__", str(tmp_path), dict(os.environ), str(tmp_path),
    )  # fmt: skip
    assert [Path(arguments[0]).name, *arguments[1:]] == ["shown.py", "a"]


def test_what_it_raises_is_said_and_its_exit_code_is_one(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("raise ValueError('wrong')")

    done = run("wrong.py", cwd=tmp_path, timeout=PATIENCE)

    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: wrong\n")


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it(tmp_path: Path, by: signal.Signals) -> None:
    (tmp_path / "waiting.py").write_text("import threading; print('waits'); threading.Event().wait()")

    with Program("waiting.py", cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "waits\n"
        assert program.poll() is None
        program.send_signal(by)

        assert program.communicate(PATIENCE) == ("", "")

    assert program.returncode == -by


def test_ctrl_c_interrupts_it(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(
        "import threading\ntry:\n    print('waits'); threading.Event().wait()\n"
        "except KeyboardInterrupt:\n    print('is interrupted')"
    )

    with Program("waiting.py", cwd=tmp_path, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "waits\n"
        program.send_signal(signal.SIGINT)

        assert program.communicate(PATIENCE) == ("is interrupted\n", "")
    assert program.returncode == 0


def test_one_that_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text("import threading; threading.Event().wait()")

    with pytest.raises(subprocess.TimeoutExpired):
        run("waiting.py", cwd=tmp_path, timeout=0.1)


def test_the_root_is_where_megaflow_is() -> None:
    assert (ROOT / "megaflow").is_dir()
