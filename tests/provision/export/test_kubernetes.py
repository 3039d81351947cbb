"""Kubernetes: manifests that fit its schemas and KEDA's, the "restricted" standard, and the app."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from megaflow import App, ConfigurationError
from megaflow.provision.export.deployment import Deployment, deploy
from megaflow.provision.export.kubernetes import write_manifests
from megaflow.provision.export.text import write_yaml
from tests.docs.pages import PAGES
from tests.provision.export.deployments import DEPLOYMENTS, NUMBER, URL, everything, make, name_alone

NAME = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
NUMBERS = {"type": "string", "pattern": "^[1-9][0-9]*$"}


def strict(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


# https://keda.sh/docs/latest/reference/scaledobject-spec/, .../scalers/aws-sqs/, and .../authentication-providers/aws/
KEDA = {
    "ScaledObject": strict(
        scaleTargetRef=strict(name=NAME),
        minReplicaCount={"type": "integer", "minimum": 0},
        maxReplicaCount={"type": "integer", "minimum": 1},
        triggers={
            "type": "array",
            "minItems": 1,
            "items": strict(
                type={"const": "aws-sqs-queue"},
                metadata=strict(
                    queueURL={"type": "string", "pattern": "^https://"},
                    queueLength=NUMBERS,
                    awsRegion={"type": "string"},
                ),
                authenticationRef=strict(name=NAME),
            ),
        },
    ),
    "TriggerAuthentication": strict(
        podIdentity=strict(provider={"const": "aws"}, identityOwner={"enum": ["keda", "workload"]})
    ),
}


def manifests(of: Deployment) -> dict[str, Any]:
    """Return the manifests of one service, by kind, as they are read from the YAML."""
    return {each["kind"]: each for each in yaml.safe_load_all(write_yaml(write_manifests(of)))}


def pod(of: Deployment) -> Any:
    return manifests(of)["Deployment"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_manifests_fit_the_schemas(name: str) -> None:
    services = len(DEPLOYMENTS[name].services)
    written = [*yaml.safe_load_all(write_yaml(write_manifests(DEPLOYMENTS[name])))]

    for manifest in written:
        if manifest["apiVersion"] == "keda.sh/v1alpha1":
            jsonschema.validate(manifest["spec"], KEDA[manifest["kind"]])
        else:
            kubernetes_validate.validate(manifest, "1.30", strict=True)
        jsonschema.validate(manifest["metadata"]["name"], NAME)
    assert len(written) == 5 * services
    assert json.loads(json.dumps(written)) == json.loads(json.dumps(write_manifests(DEPLOYMENTS[name])))


def test_a_schema_would_refuse_what_is_wrong() -> None:
    manifest = json.loads(json.dumps(write_manifests(DEPLOYMENTS["a name alone"])[1]))
    manifest["spec"]["template"]["spec"]["terminationGracePeriod"] = 30

    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(manifest, "1.30", strict=True)


# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
def test_a_pod_keeps_to_the_restricted_standard() -> None:
    spec = pod(make(shop=name_alone()))
    (container,) = spec["containers"]

    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert {"hostNetwork", "hostPID", "hostIPC", "initContainers"}.isdisjoint(spec)
    assert [set(volume) - {"name"} for volume in spec["volumes"]] == [{"emptyDir"}]
    assert all("hostPort" not in port for port in container["ports"])


def test_probes_ask_what_the_app_answers() -> None:
    (container,) = pod(make(shop=name_alone()))["containers"]
    (port,) = container["ports"]
    asked = {name: probe["httpGet"] for name, probe in container.items() if name.endswith("Probe")}

    assert asked == {
        "startupProbe": {"path": "/live", "port": port["name"]},
        "livenessProbe": {"path": "/live", "port": port["name"]},
        "readinessProbe": {"path": "/ready", "port": port["name"]},
    }
    assert container["args"][container["args"].index("--health-port") + 1] == str(port["containerPort"])
    for path in {each["path"] for each in asked.values()}:
        assert f"| `GET {path}` |" in PAGES["docs/reference/health.md"]


@pytest.mark.parametrize(("shutdown_timeout", "seconds"), [(25.0, 30), (55.5, 61), (0.0, 5), (600, 605)])
def test_a_pod_is_not_killed_before_its_handlers_have_had_their_time(shutdown_timeout: float, seconds: int) -> None:
    spec = pod(make(shop=App(queue="orders", shutdown_timeout=shutdown_timeout)))

    assert spec["terminationGracePeriodSeconds"] == seconds


def test_a_service_is_scaled_by_what_its_processes_can_have_in_hand() -> None:
    spec = manifests(make(shop=everything()))["ScaledObject"]["spec"]
    (trigger,) = spec["triggers"]

    assert trigger["metadata"] == {"queueURL": URL, "queueLength": "40", "awsRegion": "eu-west-1"}
    assert "replicas" not in manifests(make(shop=everything()))["Deployment"]["spec"]


def test_all_that_belongs_together_has_one_name() -> None:
    written = manifests(make(Shop_Of_Ours=name_alone()))

    assert {each["metadata"]["name"] for each in written.values()} == {"shop-of-ours"}
    assert written["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == "shop-of-ours"
    assert pod(make(Shop_Of_Ours=name_alone()))["serviceAccountName"] == "shop-of-ours"
    assert written["ServiceAccount"]["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": f"arn:aws:iam::{NUMBER}:role/shop-of-ours-consumer"
    }
    labels = written["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert written["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels


def test_an_address_from_the_environment_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEGAFLOW_QUEUE_URL", URL)
    (container,) = pod(deploy({"shop.py": App()}))["containers"]

    assert container["env"] == [
        {"name": "AWS_DEFAULT_REGION", "value": "eu-west-1"},
        {"name": "MEGAFLOW_QUEUE_URL", "value": URL},
    ]


def test_a_region_of_the_app_is_its_region() -> None:
    app = App(queue="orders", region_name="eu-north-1")

    metadata = manifests(deploy({"shop.py": app}, account_id=NUMBER))["ScaledObject"]["spec"]["triggers"][0]["metadata"]

    assert metadata["queueURL"] == f"https://sqs.eu-north-1.amazonaws.com/{NUMBER}/orders"
    assert metadata["awsRegion"] == "eu-north-1"


def test_each_service_is_in_the_region_of_its_queue() -> None:
    urls = {
        f"{name}.py": f"https://sqs.{name}-1.amazonaws.com/{NUMBER}/orders-{name}" for name in ("us-east", "eu-west")
    }
    written = write_manifests(deploy({target: App(url) for target, url in urls.items()}))
    scaled = [
        each["spec"]["triggers"][0]["metadata"]["awsRegion"] for each in written if each["kind"] == "ScaledObject"
    ]
    (first, second) = [each["spec"]["template"]["spec"] for each in written if each["kind"] == "Deployment"]

    assert scaled == ["us-east-1", "eu-west-1"]
    assert first["containers"][0]["env"][0] == {"name": "AWS_DEFAULT_REGION", "value": "us-east-1"}
    assert second["containers"][0]["env"][0] == {"name": "AWS_DEFAULT_REGION", "value": "eu-west-1"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"region": "us-east-1"}, "region_name='us-east-1': .* says eu-west-1"),
        ({"account_id": "9" * 12}, "account_id="),
    ],
)
def test_what_an_address_contradicts_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        deploy({"shop.py": App(URL)}, **given)


def test_the_image_is_called_as_the_service_or_as_it_is_said() -> None:
    said = deploy({"shop.py": App(URL)}, image="registry.example.com/shop:7")

    assert pod(deploy({"src/shop.py": App(URL)}))["containers"][0]["image"] == "shop"
    assert pod(said)["containers"][0]["image"] == "registry.example.com/shop:7"


def names(*targets: str) -> Iterator[str]:
    apps = {target: App(queue=f"queue-{number}") for number, target in enumerate(targets)}
    return (service.name for service in deploy(apps, region="eu-west-1", account_id=NUMBER).services)


def test_services_are_called_as_their_modules_and_apps() -> None:
    assert [*names("shop.py", "src/mails.py:app")] == ["shop", "mails"]
    assert [*names("shop.apps:orders", "shop.apps:mails")] == ["shop-apps-orders", "shop-apps-mails"]
    with pytest.raises(ConfigurationError, match=r"shop.py and other/shop.py would both be called shop"):
        names("shop.py", "other/shop.py")


def test_an_app_that_consumes_nothing_cannot_run() -> None:
    with pytest.raises(ConfigurationError, match=r"shop.py consumes no queue: say App\(queue="):
        write_manifests(deploy({"shop.py": App(topic="shop")}, region="eu-west-1", account_id=NUMBER))
    with pytest.raises(ConfigurationError, match=r"shop.py has neither a queue nor a topic: say App\(queue="):
        deploy({"shop.py": App()})
