"""Compose: files whose services find each other, and whose parts work as they stand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from megaflow import App, ConfigurationError, SqsPublisher
from megaflow.cli.targets import load_apps
from megaflow.provision import Queue
from megaflow.provision.export.compose import write_compose
from megaflow.provision.export.deployment import deploy
from megaflow.provision.export.text import write_yaml
from tests.cfn_lint import lint
from tests.cli.processes import running
from tests.docs.test_sessions import find_port
from tests.provision.export.deployments import DEPLOYMENTS, NUMBER, TOPIC, URL, everything, make, name_alone
from tests.waiting import wait_until

CONFINED = {
    "read_only": True,
    "tmpfs": ["/tmp"],
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}


def compose(of: Any) -> dict[str, Any]:
    """Return the file as Compose reads it, with its variables put in, of which there are none."""

    def read(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: read(each) for name, each in value.items()}
        if isinstance(value, list):
            return [read(each) for each in value]
        if not isinstance(value, str):
            return value
        assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", value)
        return value.replace("$$", "$")

    found: dict[str, Any] = read(yaml.safe_load(write_yaml([write_compose(of)])))
    return found


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_services_name_what_is_there(name: str) -> None:
    written = compose(DEPLOYMENTS[name])
    own = [service.name for service in DEPLOYMENTS[name].services]

    assert list(written) == ["name", "services", "configs"]
    assert list(written["services"]) == ["sqs", *own, "prometheus"]
    for service in written["services"].values():
        assert set(service.get("depends_on", {})) <= set(written["services"])
        assert {each["source"] for each in service.get("configs", ())} <= set(written["configs"])
    for each in own:
        assert written["services"][each]["environment"]["AWS_ENDPOINT_URL"] == "http://sqs:4566"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_server_is_told_the_same_queues_and_topics(name: str) -> None:
    template = json.loads(compose(DEPLOYMENTS[name])["configs"]["queues"]["content"])
    kinds = [each["Type"] for each in template["Resources"].values()]
    needs = DEPLOYMENTS[name].needs

    assert lint(json.dumps(template)) == []
    assert kinds.count("AWS::SQS::Queue") == len(needs.queues)
    assert kinds.count("AWS::SNS::Subscription") == len(needs.subscriptions)


def test_what_a_pattern_has_is_no_variable_for_compose() -> None:
    text = write_yaml([write_compose(make(shop=everything()))])

    assert "$${x} $$z" in text
    assert "${x} $z" in compose(make(shop=everything()))["configs"]["queues"]["content"]


def test_a_service_has_the_time_that_its_handlers_have_and_is_confined() -> None:
    service = compose(make(shop=everything()))["services"]["shop"]

    assert service["stop_grace_period"] == "61s"
    assert service["command"][:3] == ["megaflow", "run", "shop.py:app"]
    assert {name: service[name] for name in CONFINED} == CONFINED
    assert (service["image"], service["build"]) == ("shop", ".")


def test_ports_are_for_this_machine_alone() -> None:
    services = compose(make(shop=name_alone()))["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]

    assert ports == ["127.0.0.1:4566:4566", "127.0.0.1:9090:9090"]


def test_an_app_by_address_is_told_it() -> None:
    services = compose(deploy({"shop.py": App(URL)}, image="shop:7"))["services"]

    assert services["shop"]["environment"]["MEGAFLOW_QUEUE_URL"] == URL
    assert services["sqs"]["command"] == [
        *("--region-any", "--region", "eu-west-1", "--account", NUMBER, "--config", "/queues.json")
    ]
    assert services["shop"]["image"] == "shop:7"
    assert "build" not in services["shop"]


@pytest.mark.parametrize("name", ["sqs", "prometheus"])
def test_an_app_that_is_called_as_a_service_beside_it_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}.py:app would be called {name}, as another service here"):
        write_compose(make(**{name: name_alone()}))


def test_topics_of_somebody_else_are_made_here() -> None:
    mine = make(shop=App(queue=Queue("orders", subscribe=["shop"])))
    template = json.loads(compose(replace(mine, existing_topics=frozenset({"shop"})))["configs"]["queues"]["content"])

    assert "ShopTopic" in template["Resources"]


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: Debian's package prometheus has it"
)
def test_prometheus_takes_its_file_and_asks_the_services(tmp_path: Path) -> None:
    written = compose(DEPLOYMENTS["a FIFO pair on one topic"])
    file = tmp_path / "prometheus.yml"
    file.write_text(written["configs"]["prometheus"]["content"])

    checked = subprocess.run(["promtool", "check", "config", str(file)], capture_output=True, text=True)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    (scraped,) = yaml.safe_load(file.read_text())["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": ["carts:8080", "mails:8080"]}]


SHOP = f"""
from megaflow import App, SqsPublisher

app = App({URL!r}, {TOPIC!r}, retry_on=())


@app.on_data({{"kind": "order"}})
def ship(order: dict) -> None:
    print("shipping", order["id"], flush=True)
"""


def test_the_services_of_a_file_work_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    written = compose(deploy(load_apps(["shop.py"])))
    (tmp_path / "queues.json").write_text(written["configs"]["queues"]["content"])
    server, shop = written["services"]["sqs"], written["services"]["shop"]
    ports = {"4566": str(find_port()), "8080": str(find_port())}
    served = [*(each.replace("/queues.json", "queues.json") for each in server["command"]), "--port", ports["4566"]]
    command = [ports.get(each, each) for each in shop["command"][1:]]
    for name, value in shop["environment"].items():
        monkeypatch.setenv(name, value.replace("http://sqs:4566", f"http://127.0.0.1:{ports['4566']}"))
    _, python, *check = (each.replace("8080", ports["8080"]) for each in shop["healthcheck"]["test"])

    with running(*served, program=("-m", "megaflow.local")) as sqs:
        sqs.wait_for("2 queues, 1 topic")
        with running(*command) as app:
            wait_until(lambda: subprocess.run([sys.executable, *check], check=False).returncode == 0)
            SqsPublisher(queue_url=URL).publish({"kind": "order", "id": 7})
            app.wait_for("shipping 7")
            assert app.end() == 0
    assert python == "python"
