"""Compose: services on this machine, with SQS and SNS beside them, and Prometheus.

https://docs.docker.com/reference/compose-file/
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from megaflow.distribution import DISTRIBUTION
from megaflow.errors import ConfigurationError
from megaflow.provision.export.cloudformation import write_resources
from megaflow.provision.export.deployment import HEALTH_CHECK, HEALTH_PORT, Deployment, Service
from megaflow.provision.export.text import Document, write_json, write_yaml

_SQS: Final = "sqs"
_SQS_PORT: Final = 4566
_PROMETHEUS: Final = "prometheus"
_PROMETHEUS_PORT: Final = 9090
_ANY_REGION: Final = "us-east-1"

_SERVER_IMAGE: Final = f"""FROM python:3.13-slim
RUN pip install --no-cache-dir '{DISTRIBUTION}[local]'
USER 10001:10001
ENTRYPOINT ["python", "-m", "megaflow.local", "--host", "0.0.0.0"]
"""
_SERVER_CHECK: Final = HEALTH_CHECK.replace(str(HEALTH_PORT), str(_SQS_PORT)) % "/health"

_CONFINED: Final = {
    "read_only": True,
    "tmpfs": ["/tmp"],  # noqa: S108 - it is the container's
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}


def write_compose(deployment: Deployment) -> Document:
    """Return the file. It needs no account, as queues and topics are those of the embedded server.

    Raises `ConfigurationError` for a service that consumes no queue, or is called as one that stands beside it.
    """
    services = {service.name: _run(service, deployment) for service, _ in deployment.consumers()}
    for service in deployment.services:
        if service.name in (_SQS, _PROMETHEUS):
            raise ConfigurationError(
                f"{service.target} would be called {service.name}, as another service here: rename it"
            )
    here = replace(deployment, existing_topics=frozenset())
    document = {
        "services": {_SQS: _serve(deployment), **services, _PROMETHEUS: _scrape()},
        "configs": {
            "queues": {"content": write_json({"Resources": write_resources(here)})},
            _PROMETHEUS: {"content": write_yaml([_scraping(deployment)])},
        },
    }
    return {"name": deployment.services[0].name, **_escape(document)}


def _serve(deployment: Deployment) -> dict[str, Any]:
    account = ["--account", found] if (found := deployment.known_account()) else []
    return {
        "image": "megaflow-local",
        "build": {"dockerfile_inline": _SERVER_IMAGE},
        # One region and one account: those of whatever addresses the services have.
        "command": ["--region-any", "--region", _region(deployment), *account, "--config", "/queues.json"],
        "configs": [{"source": "queues", "target": "/queues.json"}],
        "ports": [f"127.0.0.1:{_SQS_PORT}:{_SQS_PORT}"],
        "healthcheck": _check(_SERVER_CHECK),
        **_CONFINED,
    }


def _run(service: Service, deployment: Deployment) -> dict[str, Any]:
    own = {"image": deployment.image} if deployment.image else {"image": service.name, "build": "."}
    return {
        **own,
        "command": list(service.command),
        "environment": {
            "AWS_ENDPOINT_URL": f"http://{_SQS}:{_SQS_PORT}",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": _region(deployment),
            **service.environment,
        },
        "depends_on": {_SQS: {"condition": "service_healthy"}},
        "stop_grace_period": f"{service.grace_seconds}s",
        "healthcheck": _check(HEALTH_CHECK % "/ready"),
        "restart": "on-failure",
        **_CONFINED,
    }


def _region(deployment: Deployment) -> str:
    return deployment.known_region() or _ANY_REGION


def _scrape() -> dict[str, Any]:
    return {
        "image": "prom/prometheus:v3.5.0",
        "configs": [{"source": _PROMETHEUS, "target": "/etc/prometheus/prometheus.yml"}],
        "ports": [f"127.0.0.1:{_PROMETHEUS_PORT}:{_PROMETHEUS_PORT}"],
    }


def _scraping(deployment: Deployment) -> Document:
    targets = [f"{service.name}:{HEALTH_PORT}" for service in deployment.services]
    return {
        "global": {"scrape_interval": "15s"},
        "scrape_configs": [{"job_name": "megaflow", "static_configs": [{"targets": targets}]}],
    }


def _check(program: str) -> dict[str, Any]:
    return {"test": ["CMD", "python", "-c", program], "interval": "5s", "timeout": "5s", "retries": 12}


def _escape(value: Any) -> Any:
    """Return *value* so that Compose takes nothing in its texts for a variable."""
    if isinstance(value, dict):
        return {name: _escape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_escape(each) for each in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
