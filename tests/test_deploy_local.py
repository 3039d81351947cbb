"""The embedded server as an image, and its compose file: what they name is there, and what they run does run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from megaflow.local import SqsClient
from megaflow.local.__main__ import main
from megaflow.local.http.gate import Gate
from megaflow.local.server import Server
from tests.docs.pages import ROOT
from tests.local.wire import port_of
from tests.waiting import PATIENCE, wait_until

FOLDER = ROOT / "deploy" / "local"
COMPOSE = yaml.safe_load((FOLDER / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SDK = ROOT / ".cache" / "node" / "node_modules"
"""Where ``npm install --prefix .cache/node @aws-sdk/client-sqs`` puts it."""

Instruction = tuple[str, str]


def instructions(file: Path) -> list[Instruction]:
    """Return the instructions of a Dockerfile with what each is given."""
    lines = [line for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, given) for name, _, given in (line.partition(" ") for line in joined.splitlines())]


IMAGE = instructions(FOLDER / "Dockerfile")
STARTS = [place for place, (name, _) in enumerate(IMAGE) if name == "FROM"]
BUILD, LAST = IMAGE[STARTS[0] : STARTS[-1]], IMAGE[STARTS[-1] :]


def given(name: str, stage: list[Instruction] = LAST) -> list[str]:
    return [value for each, value in stage if each == name]


def command(name: str) -> list[str]:
    """Return the command of an instruction in exec form: no shell runs it, which would keep signals to itself."""
    (value,) = given(name)
    found: list[str] = json.loads(value[value.index("[") :])
    return [sys.executable if each == "python" else each for each in found]


def test_there_is_no_shell_between_the_program_and_whoever_stops_it() -> None:
    for name in ("ENTRYPOINT", "HEALTHCHECK"):
        assert command(name)[0] == sys.executable
    assert given("CMD") == []


def test_it_does_not_run_as_root() -> None:
    (user,) = given("USER")
    number, _, group = user.partition(":")

    # A number is what Kubernetes can tell from root's without looking into the image.
    assert int(number) > 0 < int(group)
    assert f"--owner={number} --group={group} /data" in given("RUN")[0]
    names = [name for name, _ in LAST]
    assert names.index("USER") > max(place for place, name in enumerate(names) if name in ("RUN", "COPY"))


def test_nothing_that_builds_is_left_in_it() -> None:
    (run,) = given("RUN")

    assert len(STARTS) == 2
    assert run.startswith("python -m pip uninstall --yes --root-user-action=ignore pip ")
    assert "rm -r /usr/local/lib/python${PYTHON}/ensurepip" in run
    assert not re.search(r"\b(apt|apt-get|apk|gcc|make|git|install (?!--directory))\b", run)
    assert given("COPY") == ["--from=build /opt/megaflow /opt/megaflow"]
    assert '["python", "-m", "venv", "--without-pip", "/opt/megaflow"]' in given("RUN", BUILD)


def test_what_it_copies_is_there_and_is_all_that_a_build_reads() -> None:
    sources = {source for value in given("COPY", BUILD) for source in value.split()[:-1]}
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().split()

    assert all((ROOT / source).exists() for source in sources)
    assert sources == {"pyproject.toml", "README.md", "LICENSE", "megaflow"}
    assert set(ignored) == {"*", *(f"!{source}" for source in sources), "**/__pycache__"}
    project = (ROOT / "pyproject.toml").read_text()
    assert 'readme = "README.md"' in project
    assert 'license-files = ["LICENSE"]' in project


def test_each_place_has_the_same_port(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    (default,) = re.findall(r"0 takes a free one \(default:\s+(\d+)\)", capsys.readouterr().out)

    assert given("EXPOSE") == [default]
    assert f"'127.0.0.1', {default}," in given("HEALTHCHECK")[0]
    assert SERVICES["megaflow"]["ports"] == [f"127.0.0.1:{default}:{default}"]
    for service in consumers().values():
        assert service["environment"]["AWS_ENDPOINT_URL"] == f"http://megaflow:{default}"


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with subprocess.Popen(
        arguments,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_it_serves_is_well_and_stops_as_it_is_written(tmp_path: Path) -> None:
    keep = [each.replace("/data", str(tmp_path)) for each in SERVICES["megaflow"]["command"]]
    with running(*command("ENTRYPOINT"), "--port", "0", *keep) as server:
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line_of(server))
        assert found
        check = [each.replace("4566", found[1]) for each in command("HEALTHCHECK")]
        well = subprocess.run(check, capture_output=True, timeout=PATIENCE, check=False)
        server.send_signal(signal.SIGTERM)
        ended = server.wait(PATIENCE)
        gone = subprocess.run(check, capture_output=True, timeout=PATIENCE, check=False)

    assert (well.returncode, ended, (tmp_path / "queue.db").exists()) == (0, 0, True)
    assert gone.returncode != 0


def consumers() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in SERVICES.items() if name != "megaflow"}


def test_what_the_compose_file_names_is_there() -> None:
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]

    for service in SERVICES.values():
        build = {"context": service["build"]} if isinstance(service["build"], str) else service["build"]
        context = (FOLDER / build["context"]).resolve()
        assert (context / build.get("dockerfile", "Dockerfile")).is_file()
    for volume in volumes:
        source = volume.partition(":")[0]
        assert (FOLDER / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
    assert SERVICES["shipping"]["build"] == SERVICES["megaflow"]["build"]


def test_consumers_wait_until_the_server_is_well_and_call_it_by_a_name_that_it_goes_by() -> None:
    for service in consumers().values():
        assert service["depends_on"] == {"megaflow": {"condition": "service_healthy"}}
        name = service["environment"]["AWS_ENDPOINT_URL"].removeprefix("http://")
        Gate().check({b"host": name.encode()})


def test_the_image_of_node_has_what_its_program_needs() -> None:
    image = instructions(FOLDER / "node" / "Dockerfile")
    program = (FOLDER / "node" / "consumer.mjs").read_text()
    package = json.loads((FOLDER / "node" / "package.json").read_text())

    assert [value.split()[0] for value in given("COPY", image)] == ["package.json", "consumer.mjs"]
    assert given("USER", image) == ["node"]
    assert given("CMD", image) == ['["node", "consumer.mjs"]']
    assert set(re.findall(r'from "(@[^"]+)"', program)) == set(package["dependencies"])


def environment_of(service: str, server: Server) -> dict[str, str]:
    """Return the environment of a service, with the server of a test in place of that of the compose file."""
    said: dict[str, str] = SERVICES[service]["environment"]
    return {
        **said,
        "AWS_ENDPOINT_URL": said["AWS_ENDPOINT_URL"].replace("megaflow:4566", f"localhost:{port_of(server.url)}"),
    }


def stop(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(PATIENCE)


def test_the_environment_of_a_service_leads_boto3_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as server:
        for name, value in environment_of("shipping", server).items():
            monkeypatch.setenv(name, value)
        sqs = boto3.client("sqs")
        url = sqs.create_queue(QueueName="orders")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="a")

        assert url == f"http://localhost:{port_of(server.url)}/000000000000/orders"
        assert [each["Body"] for each in sqs.receive_message(QueueUrl=url)["Messages"]] == ["a"]


def test_the_consumer_in_python_ships_what_is_ordered() -> None:
    python, script = SERVICES["shipping"]["entrypoint"]
    (mounted,) = SERVICES["shipping"]["volumes"]
    source, target, _ = mounted.split(":")
    with (
        Server() as server,
        running(sys.executable, str(FOLDER / source), **environment_of("shipping", server)) as consumer,
    ):
        sqs = SqsClient(server.account)
        sqs.send_message(QueueUrl=_made(server, "orders"), MessageBody='{"kind": "order", "id": 7}')
        said = line_of(consumer)
        shipped = sqs.receive_message(QueueUrl=_made(server, "shipped"), WaitTimeSeconds=20)["Messages"]
        wait_until(lambda: not server.account.peek("orders"))

        assert stop(consumer) == 0

    assert (python, script) == ("python", target)
    assert said == "shipped order 7\n"
    assert [json.loads(each["Body"]) for each in shipped] == [{"order": 7}]


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
@pytest.mark.skipif(not SDK.is_dir(), reason="no SDK: npm install --prefix .cache/node @aws-sdk/client-sqs")
def test_the_consumer_in_node_charges_for_what_was_shipped(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "node" / "consumer.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(SDK)
    with (
        Server() as server,
        running("node", str(tmp_path / "consumer.mjs"), **environment_of("charging", server)) as consumer,
    ):
        SqsClient(server.account).send_message(QueueUrl=_made(server, "shipped"), MessageBody='{"order": 7}')
        said = line_of(consumer)
        wait_until(lambda: not server.account.peek("shipped"))

        assert stop(consumer) == 0

    assert said == "charged for order 7\n"


def _made(server: Server, queue: str) -> str:
    """Return the URL of a queue, once a consumer has made it."""
    wait_until(lambda: queue in server.account.queues)
    return server.account.queue_url(queue)
