"""Several processes: started, replaced when they die, stopped together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from megaflow import App, ConfigurationError
from megaflow.local import Account, SqsClient
from megaflow.local.server import Server
from megaflow.supervisor import Life, find_target

SCRIPT = Path(__file__).parent / "supervised" / "consume.py"
PATIENCE = 30.0


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never comes"
        threading.Event().wait(0.02)


@dataclass
class Place:
    """A queue over HTTP, and a ledger that the consumers write."""

    sqs: SqsClient
    url: str
    endpoint: str
    ledger: Path

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    @contextmanager
    def script(self, how: str = "") -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, str(SCRIPT), self.url, self.endpoint, str(self.ledger), how]
        script = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            yield script
        finally:
            script.kill()
            script.wait()
            if script.stderr is not None:
                script.stderr.close()

    def lines(self) -> list[tuple[int, str]]:
        text = self.ledger.read_text() if self.ledger.exists() else ""
        return [(int(pid), what) for pid, _, what in (line.partition(" ") for line in text.splitlines())]

    def said(self, what: str) -> list[int]:
        return [pid for pid, said in self.lines() if said == what]

    def depth(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def let_go(self) -> None:
        Path(f"{self.ledger}.go").touch()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    account = Account()
    with Server(account) as server:
        sqs = SqsClient(account)
        yield Place(sqs, sqs.create_queue(QueueName="q")["QueueUrl"], server.url, tmp_path / "ledger")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_processes_share_the_work_and_drain_together(place: Place) -> None:
    place.send("wait", "wait")

    with place.script() as script:
        wait_until(lambda: len(place.said("begins wait")) == 2)
        script.send_signal(signal.SIGTERM)
        place.let_go()
        code = script.wait(PATIENCE)

    assert code == 0
    assert len(set(place.said("ends wait"))) == 2
    assert place.depth() == 0


def test_a_process_that_dies_is_replaced_and_its_message_comes_again(place: Place) -> None:
    place.send("wait")

    with place.script() as script:
        wait_until(lambda: bool(place.said("begins wait")))
        (first,) = place.said("begins wait")
        os.kill(first, signal.SIGKILL)
        place.let_go()
        wait_until(lambda: place.depth() == 0)
        place.send("a", "b", "c")
        wait_until(lambda: place.depth() == 0)
        script.send_signal(signal.SIGTERM)
        code = script.wait(PATIENCE)

    assert code == 0
    assert place.said("ends wait") != [first]


def test_processes_that_die_one_after_another_end_it_with_a_clear_error(
    place: Place,
) -> None:
    with place.script("dies at once") as script:
        _, log = script.communicate(timeout=60)

    assert script.returncode == 1
    assert "exit code 3, and is replaced in" in log
    assert "ProcessError: one process after another ended within seconds" in log


def test_a_script_without_a_guard_ends_with_a_hint(place: Place) -> None:
    with place.script("unguarded") as script:
        _, log = script.communicate(timeout=PATIENCE)

    assert script.returncode == 1
    assert "write it below if __name__ == '__main__'" in log
    assert "cannot work as it is configured" in log


def test_a_queue_that_does_not_exist_is_not_tried_again_and_again(place: Place) -> None:
    place.url = f"{place.endpoint}/000000000000/nowhere"

    with place.script() as script:
        _, log = script.communicate(timeout=PATIENCE)

    assert script.returncode == 1
    assert "there is no such queue" in log
    assert "is replaced" not in log


def test_processes_whose_parent_was_killed_end_too(place: Place) -> None:
    place.send("wait", "wait")

    with place.script() as script:
        wait_until(lambda: len(place.said("begins wait")) == 2)
        children = place.said("begins wait")
        script.kill()
        script.wait()
        place.let_go()
        wait_until(lambda: not any(is_alive(child) for child in children))

    assert len(place.said("ends wait")) == 2


def test_a_second_signal_does_not_wait_for_handlers(place: Place) -> None:
    place.send("wait")

    with place.script() as script:
        wait_until(lambda: bool(place.said("begins wait")))
        script.send_signal(signal.SIGINT)
        script.send_signal(signal.SIGTERM)
        wait_until(lambda: script.poll() is not None)

    assert script.returncode == 0
    assert place.said("ends wait") == []


# Decisions


def test_pauses_grow_while_processes_die_young() -> None:
    life = Life(randomness=lambda: 1.0)

    pauses = []
    for now in range(4):
        life.note_start(float(now))
        pauses.append(life.note_death(float(now)))

    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert not life.is_hopeless
    life.note_death(5.0)
    assert life.is_hopeless


def test_a_long_life_makes_up_for_short_ones() -> None:
    life = Life(randomness=lambda: 1.0)
    for _ in range(4):
        life.note_death(0.0)

    life.note_start(100.0)
    pause = life.note_death(200.0)

    assert pause == 1.0
    assert not life.is_hopeless


app = App()


def test_an_app_is_found_where_it_stands() -> None:
    target = find_target(app)

    assert (target.module, target.name) == (__name__, "app")
    assert target.load() is app


def test_an_app_that_no_process_could_find_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="as a global of a module"):
        find_target(App())


def test_an_app_of_a_prompt_is_refused() -> None:
    code = "from megaflow import App; app = App('https://q'); app.on_text()(print); app.run(processes=2)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert done.returncode == 1
    assert "which a prompt, python -c and __main__.py are not" in done.stderr


@pytest.mark.parametrize("processes", [0, -1, True, 1.5, "2"])
def test_a_number_of_processes_that_is_none_is_refused(processes: int) -> None:
    with pytest.raises(ConfigurationError, match="processes="):
        App("https://queue").run(processes=processes)
