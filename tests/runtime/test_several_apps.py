"""Several apps in one worker: named, started, stopped and ended together."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import pytest

from megaflow import App, ConfigurationError, Health, UsageError, run
from megaflow.errors import ProcessError
from megaflow.local import Account, SqsClient
from megaflow.local.server import Server
from megaflow.runtime import supervisor
from megaflow.runtime.several_apps import join_health
from megaflow.runtime.supervisor import Supervisor
from megaflow.runtime.targets import Target, Targets, name_apps
from tests.consuming import Queues
from tests.forked import Program
from tests.runtime.test_health_server import ask
from tests.telemetry.test_prometheus import samples_of, scrape
from tests.waiting import PATIENCE, wait_until

SCRIPT = Path(__file__).parents[1] / "supervised" / "several.py"
STUBS = "tests.supervised.stubs"
AWS = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


# What they are called


orders, mails = App(), App()
another_name = orders


def test_apps_are_called_after_where_they_stand_and_others_after_their_place() -> None:
    named = name_apps([orders, App(), mails])

    assert list(named) == [f"{__name__}:orders", "app 2", f"{__name__}:mails"]


@pytest.mark.parametrize(("arguments", "name"), [(["shop.py"], "shop.py:orders"), (["-m", "shop"], "shop:orders")])
def test_an_app_of_the_script_that_runs_is_called_after_the_script(
    arguments: list[str], name: str, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(
        "from megaflow.runtime.targets import name_apps\norders = object()\nprint(*name_apps([orders]))"
    )
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[2])}

    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == name


# How they are together


class Named:
    """Is how it is."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def run(self) -> None: ...

    def stop(self, *, now: bool = False) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def health(self) -> Health:
        return self._health


WELL = Health(live=True, ready=True, in_hand=2, in_line=1, heard_ago=(1.0,), finished_ago=3.0, longest_running=4.0)
ILL = Health(
    live=True, ready=False, problems=("polls fail",), in_hand=1, in_line=2, heard_ago=(None,), longest_running=1.0
)


def test_several_apps_are_ready_once_each_is_and_each_is_named() -> None:
    joined = join_health({"a:app": Named(WELL), "b:app": Named(ILL)})

    assert (joined.live, joined.ready, joined.problems) == (True, False, ("b:app: polls fail",))
    assert (joined.in_hand, joined.in_line, joined.heard_ago) == (3, 3, (1.0, None))
    assert (joined.finished_ago, joined.longest_running) == (3.0, 4.0)
    assert joined.apps == {"a:app": WELL, "b:app": ILL}
    assert joined.as_dict()["apps"] == {"a:app": WELL.as_dict(), "b:app": ILL.as_dict()}


def test_several_apps_are_paused_where_one_is_and_name_whose_breakers_are_open() -> None:
    waits = Health(live=True, ready=True, paused=True, open_breakers=("the app", "store"))

    joined, well = join_health({"a:app": Named(WELL), "b:app": Named(waits)}), join_health({"a": Named(WELL)})

    assert (joined.ready, joined.paused) == (True, True)
    assert joined.open_breakers == ("b:app: the app", "b:app: store")
    assert not well.paused


def test_one_app_is_how_it_is() -> None:
    assert join_health({"a:app": Named(ILL)}) is ILL
    assert "apps" not in ILL.as_dict()
    assert hash(ILL) == hash(Health(**{name: getattr(ILL, name) for name in ILL.__slots__}))


@contextmanager
def running(*apps: App, **options: Any) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=run, args=apps, kwargs=options, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        for app in apps:
            app.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def pair() -> tuple[App, App]:
    sqs = SqsClient(Account())
    first, second = (
        App(sqs.create_queue(QueueName=name)["QueueUrl"], client=sqs, retry_on=()) for name in ("orders", "mails")
    )
    for app in (first, second):
        app.on_text("ping")(lambda text: None)
    return first, second


def test_one_that_is_stopped_alone_ends_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first, second = pair()

    with running(first, second, health_port=0, health_host="127.0.0.1") as thread:
        wait_until(lambda: first.health().ready and second.health().ready)
        (port,) = (int(found) for found in re.findall(r"answered on port (\d+)", caplog.text))
        before = ask(port, "/ready")
        first.stop()
        wait_until(lambda: first.health().problems == ("it is not running",))
        second.publish("ping")
        wait_until(lambda: second.metrics.snapshot()["deleted"] == 1)
        ready, said = ask(port, "/ready")
        live, _ = ask(port, "/live")
        second.stop()
        thread.join(PATIENCE)

    assert (before[0], list(before[1]["apps"])) == (200, ["app 1", "app 2"])
    assert (ready, live, said["problems"]) == (503, 200, ["app 1: it is not running"])
    assert (said["apps"]["app 1"]["ready"], said["apps"]["app 2"]["ready"]) == (False, True)


def test_what_a_handler_exits_with_is_passed_on_and_the_log_says_whose_it_was(caplog: pytest.LogCaptureFixture) -> None:
    first, second = pair()
    first.on_text("exit")(lambda text: sys.exit(3))
    first.publish("exit")

    with pytest.raises(SystemExit) as ended:
        run(first, second)

    assert ended.value.code == 3
    assert "app 1 has failed, so that all are stopped" in caplog.text


# What cannot run together


def test_nothing_is_begun_where_one_cannot_work() -> None:
    first, _ = pair()
    first.publish("ping")

    with pytest.raises(ConfigurationError, match="queue_url"):
        run(first, orders)

    assert first.metrics.snapshot()["received"] == 0


def consuming(url: str, **options: Any) -> App:
    app = App(url, **options)
    app.on_text()(lambda text: None)
    return app


CLIENT = SqsClient(Account())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"url": AWS}, {"url": AWS}),
        ({"url": AWS}, {"url": "arn:aws:sqs:eu-west-1:123456789012:orders"}),
        (
            {"url": AWS},
            {"url": AWS, "client": boto3.client("sqs", "eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")},
        ),
        ({"url": CLIENT.create_queue(QueueName="q")["QueueUrl"], "client": CLIENT},) * 2,
        ({"url": "http://127.0.0.1:4566/000000000000/q", "endpoint_url": "http://127.0.0.1:4566"},) * 2,
    ],
)
def test_apps_that_consume_one_queue_are_refused(one: dict[str, Any], other: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"app 1 and app 2 consume one queue, .*/(orders|q), .*app\.include"):
        run(consuming(**one), consuming(**other))


@pytest.mark.parametrize("processes", [1, 2])
def test_apps_that_share_the_queue_of_the_environment_are_refused(
    processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEGAFLOW_QUEUE_URL", AWS)
    for app in (orders, mails):
        if not app.handlers:
            app.on_text()(lambda text: None)

    with pytest.raises(ConfigurationError, match="consume one queue"):
        run(orders, mails, processes=processes)


def test_queues_of_one_name_on_two_servers_are_two_and_the_log_says_that_metrics_take_them_for_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    apps = [each.app() for each in (Queues(), Queues())]
    for app in apps:
        app.on_text()(lambda text: None)
        # It ends at once.
        app.stop()

    run(*apps)

    assert "app 1 and app 2 consume two queues that are both called q: the metrics count them as one" in caplog.text


@pytest.mark.parametrize("other", [AWS.replace("eu-west-1", "us-east-1"), AWS.replace("12345", "54321")])
def test_queues_of_one_name_in_two_regions_or_accounts_are_two(other: str) -> None:
    first, second = (consuming(url)._destination for url in (AWS, other))

    assert not first.shares_queue_with(second)


@pytest.mark.parametrize("processes", [0, True, 1.5, 1_001])
def test_a_number_of_processes_that_is_none_is_refused(processes: int) -> None:
    with pytest.raises(ConfigurationError, match="processes="):
        run(*pair(), processes=processes)


def test_an_app_that_no_process_could_find_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="as a global of a module"):
        run(*pair(), processes=2)


def test_an_app_that_runs_already_is_refused() -> None:
    first, second = pair()

    with running(first, second):
        wait_until(lambda: first.health().ready)
        with pytest.raises(UsageError, match="is running already"):
            run(first)


# In several processes


class Place:
    """Two queues over HTTP, and a script that consumes them."""

    def __init__(self, server: Server, ledger: Path) -> None:
        self.sqs, self.ledger = SqsClient(server.account), ledger
        self.url, self.endpoint = f"{server.url}/000000000000/q", server.url
        for name in ("orders", "mails"):
            self.sqs.create_queue(QueueName=f"q-{name}")

    def send(self, name: str, body: str) -> None:
        self.sqs.send_message(QueueUrl=f"{self.url}-{name}", MessageBody=body)

    def depth(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answers = (
            self.sqs.get_queue_attributes(QueueUrl=f"{self.url}-{name}", AttributeNames=names)["Attributes"]
            for name in ("orders", "mails")
        )
        return sum(int(value) for answer in answers for value in answer.values())

    def said(self, what: str) -> list[int]:
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [int(pid) for pid, _, said in (line.partition(" ") for line in lines) if said == what]

    def let_go(self) -> None:
        Path(f"{self.ledger}.go").touch()

    @contextmanager
    def script(self, processes: int) -> Iterator[Script]:
        command = (str(SCRIPT), self.url, self.endpoint, str(self.ledger), str(processes))
        process = Program(*command, stderr=subprocess.PIPE)
        try:
            yield Script(process)
        finally:
            process.kill()
            process.wait()
            self.let_go()
            if process.stderr is not None:
                process.stderr.close()


class Script:
    """A script that runs, what it logs, and what it answers for its health."""

    def __init__(self, process: Program) -> None:
        self.process = process
        self.log: deque[str] = deque()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        # It is closed at the end.
        with suppress(ValueError):
            self.log.extend(iter(self.process.stderr or ()))

    @property
    def port(self) -> int:
        wait_until(lambda: re.search(r"answered on port (\d+)", "".join(self.log)))
        return int(re.findall(r"answered on port (\d+)", "".join(self.log))[0])

    def ready(self) -> tuple[int, Any]:
        return ask(self.port, "/ready")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Server(Account()) as server:
        yield Place(server, tmp_path / "ledger")


def consumed_by(port: int, queue: str) -> float:
    return samples_of(scrape(port)[2])["megaflow_client_consumed_messages_total", frozenset({("queue", queue)})]


def test_processes_run_all_apps_are_replaced_when_killed_and_drain_together(place: Place) -> None:
    place.send("orders", "wait")
    place.send("mails", "wait")

    with place.script(2) as script:
        wait_until(lambda: place.said("orders begins wait") and place.said("mails begins wait"))
        wait_until(lambda: script.ready()[0] == 200)
        _, well = script.ready()
        killed = place.said("orders begins wait")[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: script.ready()[0] == 503)
        _, ill = script.ready()
        # It may have had both, and may have told its parent of neither.
        wait_until(lambda: all({*place.said(f"{name} begins wait")} - {killed} for name in ("orders", "mails")))
        wait_until(lambda: script.ready()[0] == 200)
        script.process.send_signal(signal.SIGTERM)
        wait_until(lambda: place.said("orders is told to stop") and place.said("mails is told to stop"))
        stopping = script.ready()
        # Children tell their parent once a second.
        wait_until(lambda: min(consumed_by(script.port, queue) for queue in ("q-orders", "q-mails")) >= 1)
        place.let_go()
        code = script.process.wait(PATIENCE)

    assert code == 0
    assert place.depth() == 0
    assert list(well["apps"]) == ["several.py:orders", "several.py:mails"]
    assert all(each["ready"] for each in well["apps"].values())
    assert ill["problems"] == ["1 of 2 processes are not running"]
    assert (stopping[0], stopping[1]["stopping"]) == (503, True)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_signal_waits_for_no_app(place: Place, processes: int) -> None:
    place.send("orders", "wait")
    place.send("mails", "wait")

    with place.script(processes) as script:
        wait_until(lambda: place.said("orders begins wait") and place.said("mails begins wait"))
        script.process.send_signal(signal.SIGTERM)
        wait_until(lambda: place.said("orders is told to stop") and place.said("mails is told to stop"))
        script.process.send_signal(signal.SIGTERM)
        # The handlers would have much longer than that.
        code = script.process.wait(PATIENCE)

    assert code == 0
    assert place.said("orders ends wait") == place.said("mails ends wait") == []


def test_one_that_is_stopped_alone_ends_in_all_processes_and_the_last_one_ends_them(place: Place) -> None:
    with place.script(2) as script:
        wait_until(lambda: script.ready()[0] == 200)
        script.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(set(place.said("orders is told to stop"))) == 3)
        status, said = script.ready()
        place.send("mails", "a")
        wait_until(lambda: place.said("mails ends a"))
        os.kill(place.said("mails ends a")[0], signal.SIGKILL)
        # The one that takes its place is told, too.
        wait_until(lambda: len(set(place.said("orders is told to stop"))) == 4)
        script.process.send_signal(signal.SIGUSR2)
        code = script.process.wait(PATIENCE)

    assert (status, said["problems"]) == (503, ["several.py:orders: it is not running"])
    assert (said["apps"]["several.py:orders"]["ready"], said["apps"]["several.py:mails"]["ready"]) == (False, True)
    assert code == 0


def test_one_that_cannot_work_ends_all_processes(place: Place) -> None:
    place.sqs.delete_queue(QueueUrl=f"{place.url}-mails")

    with place.script(2) as script:
        code = script.process.wait(PATIENCE)
        wait_until(lambda: "ConfigurationError: process" in "".join(script.log))

    log = "".join(script.log)
    assert code == 1
    assert re.search(r"several\.py:mails has failed, so that all are stopped: .*q-mails.* there is no such queue", log)
    assert "is replaced" not in log


def test_one_that_ends_in_a_process_untold_ends_it_so_that_another_takes_its_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(supervisor, "_MOST_SHORT_LIVES", 2)
    # On a busy machine it takes a process seconds to start and to end.
    monkeypatch.setattr(supervisor, "_SHORT_LIFE", PATIENCE)
    targets = Targets({name: Target(STUBS, name) for name in ("weary", "obedient")})

    with pytest.raises(ProcessError, match=r"one process after another ended within seconds, .* with exit code 0"):
        Supervisor(targets, 1, shutdown_timeout=PATIENCE).run()

    assert "ended with exit code 0, and is replaced in 0.0 s" in caplog.text
