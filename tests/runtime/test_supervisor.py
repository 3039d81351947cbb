"""Several processes: started, replaced when they die, stopped together."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from megaflow import App, ConfigurationError
from megaflow.errors import ProcessError
from megaflow.local import Account, SqsClient
from megaflow.local.server import Server
from megaflow.runtime import supervisor as module
from megaflow.runtime.supervisor import KILL_GRACE, Life, Supervisor, kill_time
from megaflow.runtime.targets import Target, Targets, find_target
from tests.forked import Program
from tests.telemetry.test_prometheus import samples_of, scrape
from tests.waiting import PATIENCE, wait_until

SCRIPT = Path(__file__).parents[1] / "supervised" / "consume.py"
ROOT = Path(__file__).parents[2]
STUBS = "tests.supervised.stubs"


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
    def script(self, how: str = "") -> Iterator[Program]:
        script = Program(str(SCRIPT), self.url, self.endpoint, str(self.ledger), how, stderr=subprocess.PIPE)
        try:
            yield script
        finally:
            script.kill()
            script.wait()
            # Its children finish what they have in hand, and would wait for that.
            self.let_go()
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


def test_processes_drain_where_the_whole_group_gets_the_signal_as_from_systemd(place: Place) -> None:
    place.send("wait", "wait")

    with place.script() as script:
        wait_until(lambda: len(place.said("begins wait")) == 2)
        for pid in (script.pid, *place.said("begins wait")):
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: len(place.said("is told to stop")) == 2)
        place.let_go()
        code = script.wait(PATIENCE)

    assert code == 0
    assert len(set(place.said("ends wait"))) == 2
    assert place.depth() == 0


def test_a_process_that_dies_is_replaced_and_its_message_comes_again(place: Place) -> None:
    place.send("wait")

    with place.script("short leases") as script:
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


def test_processes_that_all_fail_at_the_start_end_it_with_a_clear_error(place: Place) -> None:
    with place.script("dies at once") as script:
        _, log = script.communicate(timeout=PATIENCE)

    assert script.returncode == 1
    assert "ended with exit code 3, and is replaced in" in log
    assert "ProcessError: every process failed at the start" in log


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("app below the guard", "app is not there when __mp_main__ is imported: make it above if __name__"),
        ("handlers below the guard", "no handler is registered"),
    ],
)
def test_what_stands_below_the_guard_is_missed_once_and_not_five_times(place: Place, how: str, said: str) -> None:
    with place.script(how) as script:
        _, log = script.communicate(timeout=PATIENCE)

    assert script.returncode == 1
    assert said in log
    assert "what stands below if __name__ == '__main__' is not there" in log
    assert "is replaced" not in log


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
        (busy,) = place.said("begins wait")
        script.send_signal(signal.SIGINT)
        wait_until(lambda: busy in place.said("is told to stop"))
        script.send_signal(signal.SIGINT)
        # The handler would have much longer than that.
        code = script.wait(PATIENCE)

    assert code == 0
    assert place.said("ends wait") == []


# Where the app stands


def test_a_package_can_run_an_app_of_one_of_its_modules(place: Place, tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("from pkg.consumer import app\napp.run(processes=2)\n")
    arguments = json.dumps([place.url, place.endpoint, str(place.ledger), ""])
    (package / "consumer.py").write_text(SCRIPT.read_text().replace("sys.argv[1:5]", arguments))
    place.send("a", "b")

    with Program("-m", "pkg", cwd=tmp_path, stderr=subprocess.PIPE) as script:
        try:
            wait_until(lambda: place.depth() == 0)
            script.send_signal(signal.SIGTERM)
            script.communicate(timeout=PATIENCE)
        finally:
            script.kill()

    assert script.returncode == 0
    assert place.said("ends a")
    assert place.said("ends b")


# Children that run something else


@contextmanager
def supervised(name: str, *, shutdown_timeout: float = PATIENCE) -> Iterator[tuple[Supervisor, Callable[[], None]]]:
    """Run two children with what stands there, and give a function that waits for the end and raises its error."""
    supervisor = Supervisor(Targets({"app": Target(STUBS, name)}), 2, shutdown_timeout=shutdown_timeout)
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(supervisor.run)
        try:
            yield supervisor, lambda: ended.result(PATIENCE)
        finally:
            supervisor.stop(now=True)


def test_a_supervisor_is_stopped_from_any_thread_and_says_how_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with supervised("obedient") as (supervisor, wait_for_end):
        wait_until(lambda: supervisor.health().ready)
        supervisor.stop()
        during = supervisor.health()
        wait_for_end()

    assert [each for each in caplog.records if each.name == module.__name__] == []
    assert (during.stopping, during.ready) == (True, False)
    assert supervisor.health().problems == ("2 of 2 processes are not running",)


def test_a_supervisor_that_was_stopped_before_it_runs_starts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    supervisor = Supervisor(Targets({"app": Target(STUBS, "obedient")}), 2, shutdown_timeout=1.0)

    supervisor.stop()
    supervisor.run()

    assert "started" not in caplog.text


def test_processes_that_do_not_end_in_time_are_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "KILL_GRACE", 0.1)

    with supervised("stubborn", shutdown_timeout=0.1) as (supervisor, wait_for_end):
        wait_until(lambda: supervisor.health().ready)
        supervisor.stop()
        wait_for_end()

    killed = [record for record in caplog.records if "has not ended in time, and is killed" in record.message]
    assert [record.levelno for record in killed] == [logging.ERROR] * 2


def test_processes_that_end_unasked_are_replaced_until_that_is_no_use(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "_MOST_SHORT_LIVES", 2)
    # On a busy machine it takes a process seconds to start and to end.
    monkeypatch.setattr(module, "_SHORT_LIFE", PATIENCE)
    hopeless = "one process after another ended within seconds, the last one .* with exit code 0"

    with supervised("weary") as (_, wait_for_end), pytest.raises(ProcessError, match=hopeless):
        wait_for_end()

    assert "ended with exit code 0, and is replaced in 0.0 s" in caplog.text


# Decisions


def test_pauses_grow_while_processes_die_young() -> None:
    life = Life(randomness=lambda: 1.0)

    pauses = []
    for now in range(4):
        life.note_start(float(now))
        pauses.append(life.note_death(float(now), 1))

    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert not life.is_hopeless
    life.note_death(5.0, 1)
    assert life.is_hopeless


def test_pauses_have_an_end_and_a_random_part() -> None:
    life = Life(randomness=lambda: 0.0)

    pauses = [life.note_death(0.0, 1) for _ in range(2_000)]

    assert (pauses[0], pauses[-1]) == (0.5, 15.0)


@pytest.mark.parametrize(("age", "pause"), [(10.0, 16.0), (59.0, 16.0), (60.0, 1.0)])
def test_a_life_makes_up_for_short_ones_and_a_long_one_for_pauses_too(age: float, pause: float) -> None:
    life = Life(randomness=lambda: 1.0)
    for _ in range(4):
        life.note_death(0.0, 1)

    life.note_start(100.0)
    given = life.note_death(100.0 + age, 1)

    assert given == pause
    assert life.start_at == 100.0 + age + pause
    assert not life.is_hopeless


@pytest.mark.parametrize(
    ("deaths", "failed"),
    [
        ([(1.0, 1)], True),
        ([(1.0, 0)], False),
        ([(1.0, -signal.SIGKILL)], False),
        ([(10.0, 1)], False),
        ([(10.0, 1), (1.0, 1)], False),
    ],
)
def test_a_process_failed_at_the_start_that_never_lived_and_was_not_killed(
    deaths: list[tuple[float, int]], failed: bool
) -> None:
    life = Life()

    for age, code in deaths:
        life.note_start(0.0)
        life.note_death(age, code)

    assert life.failed_at_start is failed


def test_a_second_stop_shortens_the_time_until_processes_are_killed_and_never_lengthens_it() -> None:
    first = kill_time(math.inf, 100.0, at_once=False, shutdown_timeout=25.0)
    soon = kill_time(first, 101.0, at_once=True, shutdown_timeout=25.0)
    late = kill_time(first, 130.0, at_once=True, shutdown_timeout=25.0)

    assert (first, soon, late) == (125.0 + KILL_GRACE, 101.0 + KILL_GRACE, 125.0 + KILL_GRACE)


@pytest.mark.parametrize(
    ("code", "said"), [(0, "exit code 0"), (78, "exit code 78"), (-9, "SIGKILL"), (-40, "signal 40")]
)
def test_an_exit_is_said_in_words(code: int, said: str) -> None:
    assert module._describe_exit(code) == said


app = App()


def test_an_app_is_found_where_it_stands() -> None:
    target = find_target(app)

    assert (target.module, target.name) == (__name__, "app")
    assert target.load() is app


def test_an_app_is_found_whatever_else_stands_among_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blocked", None)
    monkeypatch.setitem(sys.modules, "no_module_at_all", object())

    target = find_target(app)

    assert target.module == __name__


def test_a_target_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(ConfigurationError, match=r"nothing is not there when .* is imported"):
        Target(STUBS, "nothing").load()


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


# Metrics


def find_health_port(script: Program) -> int:
    """Return the port that a script says it answers on, and read on: what is not read would hold up who logs."""
    assert script.stderr is not None
    said = iter(script.stderr)
    port = next(int(found[1]) for line in said if (found := re.search(r"answered on port (\d+)", line)))

    def read_on() -> None:
        # It is closed at the end.
        with suppress(ValueError):
            deque(said, 0)

    threading.Thread(target=read_on, daemon=True).start()
    return port


def test_one_port_has_the_metrics_of_all_processes_and_keeps_those_of_a_killed_one(place: Place) -> None:
    received, ended = "megaflow_client_consumed_messages_total", "megaflow_messages_ended_total"
    with place.script("scraped") as script:
        port = find_health_port(script)

        def read(name: str, **labels: str) -> float | None:
            return samples_of(scrape(port)[2]).get((name, frozenset({"queue": "q", **labels}.items())))

        place.send("wait", "wait")
        wait_until(lambda: len(set(place.said("begins wait"))) == 2)
        wait_until(lambda: read("megaflow_messages_running") == 2)
        assert read(received) == 2
        killed = place.said("begins wait")[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: read("megaflow_messages_running") == 1)
        after = read(received)
        place.let_go()
        wait_until(lambda: len(place.said("ends wait")) >= 1)
        place.send("a", "b")
        wait_until(lambda: read(ended, fate="deleted") == 3)

        assert after == 2
        assert read(received) == 4
        assert read("megaflow_handler_duration_seconds_count", handler="consume.handle", status="DONE") == 3


def test_a_supervisor_that_is_paused_says_so_and_is_ready() -> None:
    supervisor = Supervisor(Targets({"app": Target(STUBS, "obedient")}), 2, shutdown_timeout=PATIENCE)
    supervisor.pause()
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        wait_until(lambda: supervisor.health().ready)
        health = supervisor.health()
        assert (health.ready, health.paused, health.problems) == (True, True, ("they are paused",))
        supervisor.resume()
        assert not supervisor.health().paused
    finally:
        supervisor.stop()
        thread.join(PATIENCE)
