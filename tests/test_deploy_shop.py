"""The files that run an app somewhere: they agree, and what they start does start, and stops in time."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from megaflow.app import parts_of
from megaflow.cli.targets import load_app
from megaflow.local import SqsClient
from megaflow.local.declared.yaml_text import read_yaml
from megaflow.local.http.gate import Gate
from megaflow.local.server import Server
from megaflow.provision.export.compose import write_compose
from megaflow.provision.export.deployment import HEALTH_CHECK, Service, deploy
from megaflow.provision.needs import needs_of
from tests.cfn_lint import lint
from tests.cli.processes import Process, running, running_command
from tests.docs.pages import ROOT
from tests.docs.test_sessions import find_port
from tests.provision.calls import Recorder, recording
from tests.test_deploy_local import instructions
from tests.unmocked import making_unmocked
from tests.waiting import PATIENCE, wait_until

FOLDER = ROOT / "deploy" / "shop"
IMAGE = instructions(FOLDER / "Dockerfile")
STARTS = [place for place, (name, _) in enumerate(IMAGE) if name == "FROM"]
LAST = IMAGE[STARTS[-1] :]
TEMPLATE = read_yaml((FOLDER / "template.yaml").read_text())["Resources"]
FUNCTION = TEMPLATE["Shop"]["Properties"]

QUEUES = ("orders-dead", "orders")


@pytest.fixture
def service() -> Service:
    return deploy({"shop.py": load_app(str(FOLDER / "shop.py"))}).services[0]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """SQS with what the app declares, for whatever looks for AWS."""
    with Server() as server:
        for name, value in {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        make_queues(SqsClient(server.account))
        yield server


def make_queues(sqs: Any) -> None:
    sqs.create_queue(QueueName="orders-dead")
    account = sqs.get_queue_url(QueueName="orders-dead")["QueueUrl"].split("/")[-2]
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:{account}:orders-dead", "maxReceiveCount": "5"}
    sqs.create_queue(QueueName="orders", Attributes={"RedrivePolicy": json.dumps(policy)})


def send(server: Server, id_: int) -> None:
    sqs = SqsClient(server.account)
    url = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"kind": "order", "id": id_}))


def given(name: str) -> list[str]:
    return [value for each, value in LAST if each == name]


def exec_form(value: str) -> list[str]:
    """Return a command that no shell runs, which would keep signals to itself."""
    found: list[str] = json.loads(value[value.index("[") :])
    return found


# Docker


def test_the_image_runs_the_app_as_its_first_process_with_no_rights(service: Service) -> None:
    (command,), (user,), (check,) = given("CMD"), given("USER"), given("HEALTHCHECK")

    assert exec_form(command) == list(service.command)
    assert given("ENTRYPOINT") == []
    assert re.fullmatch("[1-9][0-9]*:[1-9][0-9]*", user)
    assert given("STOPSIGNAL") == ["SIGTERM"]
    assert exec_form(check) == ["python", "-c", HEALTH_CHECK % "/live"]
    names = [name for name, _ in LAST]
    assert names.index("USER") > max(place for place, name in enumerate(names) if name in ("RUN", "COPY"))


def test_nothing_that_installs_or_compiles_is_left_in_the_image() -> None:
    (run,) = given("RUN")

    assert len(STARTS) == 2
    assert run.startswith("python -m pip uninstall --yes --root-user-action=ignore pip ")
    assert not re.search(r"\b(apt|apt-get|apk|gcc|make|git|install)\b", run)


def test_what_the_image_copies_is_there_and_is_all_that_a_build_reads() -> None:
    copied = [value.split() for name, value in IMAGE if name == "COPY" and not value.startswith("--from")]
    sources = {source for each in copied for source in each[:-1]}

    assert all((FOLDER / source).is_file() for source in sources)
    assert set((FOLDER / ".dockerignore").read_text().split()) == {"*", *(f"!{source}" for source in sources)}


def test_docker_waits_for_longer_than_handlers_may_take(service: Service) -> None:
    said = re.findall(r"--(?:stop-)?timeout (\d+)", (FOLDER / "Dockerfile").read_text())

    assert {int(seconds) for seconds in said} == {service.grace_seconds}


def start(command: list[str], port: int) -> list[str]:
    """Return what starts the app here in place of there."""
    return [each.replace("8080", str(port)) for each in command[1:]]


def test_what_the_image_starts_handles_is_well_and_stops(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    port = find_port()
    (command,), (check,) = map(given, ("CMD", "HEALTHCHECK"))
    check_here = [sys.executable, *(each.replace("8080", str(port)) for each in exec_form(check)[1:])]

    with running(*start(exec_form(command), port)) as app:
        send(server, 7)
        app.wait_for("shipping 7")
        well = subprocess.run(check_here, check=False, timeout=PATIENCE)
        ended = app.end(signal.SIGTERM)

    assert (well.returncode, ended) == (0, 0)


def test_as_the_first_process_of_a_container_it_hears_the_signal(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives the first process of a namespace only the signals that it asks for."""
    first = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*first, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine makes no namespaces")
    monkeypatch.chdir(FOLDER)
    (command,) = given("CMD")

    program = "import os, sys; print(os.getpid(), flush=True); os.execvp(sys.argv[1], sys.argv[1:])"
    started = [sys.executable, "-c", program, sys.executable, "-m", "megaflow", *start(exec_form(command), find_port())]
    with running_command(*first, *started) as app:
        app.wait_for("^1$")
        send(server, 7)
        app.wait_for("shipping 7")
        child = child_of(app)
        os.kill(child, signal.SIGTERM)
        app.wait_for("stopped consuming")

        assert app.wait() == 0


def child_of(process: Process) -> int:
    pid = process._process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


# systemd


def unit() -> dict[str, list[str]]:
    lines = [line.partition("=") for line in (FOLDER / "shop.service").read_text().splitlines() if "=" in line]
    found: dict[str, list[str]] = {}
    for name, _, value in lines:
        if not name.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_systemd_waits_for_longer_than_handlers_may_take_and_starts_again_what_fails(service: Service) -> None:
    said = unit()

    assert said["TimeoutStopSec"] == [str(service.grace_seconds)]
    assert (said["KillSignal"], said["KillMode"]) == (["SIGTERM"], ["mixed"])
    assert (said["Restart"], said["RestartPreventExitStatus"]) == (["on-failure"], ["2"])
    assert shlex.split(said["ExecStart"][0])[1:] == [
        *service.command[1:5],
        "--health-host",
        "127.0.0.1",
        *service.command[5:],
    ]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit_and_finds_it_confined(tmp_path: Path) -> None:
    text = (FOLDER / "shop.service").read_text()
    here = text.replace("/opt/shop/bin/megaflow", sys.executable).replace("/opt/shop/app", str(FOLDER))
    (tmp_path / "shop.service").write_text(here)

    verified = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "shop.service")], capture_output=True, text=True, check=False
    )
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(tmp_path / "shop.service")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (verified.returncode, [line for line in verified.stderr.splitlines() if "shop.service" in line]) == (0, [])
    found = re.search(r"Overall exposure level for shop\.service: ([\d.]+)", judged.stdout)
    if found:  # it is older where it knows nothing of files
        assert float(found[1]) < 2.5


def test_a_wrong_configuration_ends_with_the_code_for_which_systemd_does_not_try_again(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "wrong.py").write_text('from megaflow import App\napp = App(queue="nowhere")\napp.on_data()(print)\n')

    with running("run", str(tmp_path / "wrong.py")) as app:
        assert [str(app.wait())] == unit()["RestartPreventExitStatus"]


# Supervisor


def program() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    parser.read(FOLDER / "supervisor.conf")
    return parser["program:shop"]


def test_supervisor_waits_for_longer_than_handlers_may_take(service: Service) -> None:
    said = program()

    assert int(said["stopwaitsecs"]) == service.grace_seconds
    assert (said["stopsignal"], said["autorestart"], said["exitcodes"]) == ("TERM", "unexpected", "0")
    assert shlex.split(said["command"]) == shlex.split(unit()["ExecStart"][0])


@contextmanager
def supervising(tmp_path: Path) -> Iterator[Process]:
    """Run Supervisor with the file, in which paths are those of here."""
    log = tmp_path / "shop.log"
    here = (FOLDER / "supervisor.conf").read_text()
    for there, new in {
        "/opt/shop/bin/megaflow": f"{sys.executable} -m megaflow",
        "/opt/shop/app": str(FOLDER),
        "user=nobody\n": "",
        "/var/log/supervisor/shop.log": str(log),
        "8080": str(find_port()),
        'AWS_DEFAULT_REGION="eu-west-1"': 'AWS_DEFAULT_REGION="us-east-1"',
    }.items():
        assert there in here
        here = here.replace(there, new)
    (tmp_path / "supervisord.conf").write_text(
        f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={tmp_path}/pid\n{here}"
    )
    supervisord = (sys.executable, "-W", "ignore", "-m", "supervisor.supervisord")
    with running_command(*supervisord, "-n", "-c", str(tmp_path / "supervisord.conf")) as process:
        yield process


def test_supervisor_starts_again_what_dies_and_stops_what_runs(server: Server, tmp_path: Path) -> None:
    log = tmp_path / "shop.log"

    def said(text: str) -> bool:
        return log.exists() and text in log.read_text()

    with supervising(tmp_path) as supervisor:
        send(server, 1)
        wait_until(lambda: said("shipping 1"))
        supervisor.wait_for("success: shop entered RUNNING state")
        os.kill(child_of(supervisor), signal.SIGKILL)
        supervisor.wait_for(r"exited: shop \(terminated by SIGKILL; not expected\)")
        send(server, 2)
        wait_until(lambda: said("shipping 2"))
        supervisor.wait_for("success: shop entered RUNNING state")
        supervisor.interrupt(signal.SIGTERM)
        supervisor.wait_for(r"stopped: shop \(exit status 0\)")

        assert supervisor.wait() == 0
    assert said("stopped consuming")


# Lambda with SAM


def test_cfn_lint_takes_the_template_of_sam() -> None:
    assert lint((FOLDER / "template.yaml").read_text()) == []


def test_the_function_names_what_failed_and_has_time_for_it() -> None:
    event = FUNCTION["Events"]["Orders"]["Properties"]
    queue = TEMPLATE["Orders"]["Properties"]

    assert event["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert event["Queue"] == {"Fn::GetAtt": "Orders.Arn"}
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    assert queue["VisibilityTimeout"] >= 6 * FUNCTION["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 3


def test_the_template_has_the_queues_that_the_app_declares() -> None:
    needs = needs_of(load_app(str(FOLDER / "shop.py")))
    queues = {each["Properties"]["QueueName"]: each for each in TEMPLATE.values() if each["Type"] == "AWS::SQS::Queue"}

    assert set(queues) == {queue.name for queue in needs.queues} == set(QUEUES)
    retention = queues["orders-dead"]["Properties"]["MessageRetentionPeriod"]
    assert str(retention) == needs.queue("orders-dead").attributes["MessageRetentionPeriod"]


def event_of(*bodies: dict[str, Any]) -> dict[str, Any]:
    record = {
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:orders",
    }
    return {
        "Records": [
            record | {"messageId": f"message-{place}", "receiptHandle": "…", "body": json.dumps(body)}
            for place, body in enumerate(bodies)
        ]
    }


@pytest.fixture
def recorder(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    with recording(server.url) as recorder, making_unmocked():
        monkeypatch.setenv("AWS_ENDPOINT_URL", recorder.url)
        yield recorder


def test_the_role_of_the_function_may_do_what_it_does_beside_what_sam_allows(
    recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    module, _, name = FUNCTION["Handler"].partition(".")
    load_app(str(FOLDER / f"{module}.py"))
    handler = getattr(sys.modules[module], name)

    # One is shipped, one fails for good, and one comes again.
    answer = handler(event_of({"kind": "order", "id": 7}, {"kind": "order"}), None)
    sys.modules[module].app.on_data({"kind": "later"}, retry_on=ZeroDivisionError)(lambda data: 1 // 0)
    later = handler(event_of({"kind": "later"}), None)

    assert capsys.readouterr().out == "shipping 7\n"
    assert answer == {"batchItemFailures": []}
    assert later == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    (policy,) = FUNCTION["Policies"]
    resources = {"Orders": "orders", "DeadLetters": "orders-dead"}
    allowed = {
        (action, resources[re.search("Orders|DeadLetters", str(statement["Resource"]))[0]])  # type: ignore[index]
        for statement in policy["Statement"]
        for action in statement["Action"]
    }
    assert recorder.actions == allowed


# What `megaflow export` makes of the app


def test_the_server_of_a_compose_file_goes_by_the_name_that_it_has_there(service: Service) -> None:
    written = write_compose(deploy({"shop.py": load_app(str(FOLDER / "shop.py"))}))
    url = written["services"]["shop"]["environment"]["AWS_ENDPOINT_URL"]

    Gate().check({b"host": url.removeprefix("http://").encode()})
    assert written["services"]["shop"]["stop_grace_period"] == f"{service.grace_seconds}s"
    assert parts_of(load_app(str(FOLDER / "shop.py"))).settings.shutdown_timeout + 5 == service.grace_seconds
