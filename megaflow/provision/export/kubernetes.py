"""Kubernetes: for each service a Deployment with probes, scaled by KEDA by the length of its queue.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
https://keda.sh/docs/latest/scalers/aws-sqs/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from megaflow.provision.export.deployment import HEALTH_PORT, Deployment, Service
from megaflow.provision.export.text import Document

_MOST_REPLICAS: Final = 10
_PORT_NAME: Final = "health"


def write_manifests(deployment: Deployment) -> list[Document]:
    """Return the manifests; raise `ConfigurationError` where a queue is missing, or region or account are unknown."""
    return [each for service, queue in deployment.consumers() for each in _manifests(service, queue, deployment)]


def _manifests(service: Service, queue: str, deployment: Deployment) -> Iterator[Document]:
    yield _service_account(service, deployment)
    yield _manifest("apps/v1", "Deployment", service, spec=_deployment(service, queue, deployment))
    yield _manifest(
        "policy/v1",
        "PodDisruptionBudget",
        service,
        spec={"maxUnavailable": 1, "selector": {"matchLabels": _labels(service)}},
    )
    # KEDA asks for the length of the queue with the role of the service account.
    identity = {"provider": "aws", "identityOwner": "workload"}
    yield _manifest("keda.sh/v1alpha1", "TriggerAuthentication", service, spec={"podIdentity": identity})
    yield _manifest("keda.sh/v1alpha1", "ScaledObject", service, spec=_scaling(service, queue, deployment))


def _service_account(service: Service, deployment: Deployment) -> Document:
    # https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html
    role = deployment.role_arn(service.role)
    metadata = {
        "name": service.name,
        "labels": _labels(service),
        "annotations": {"eks.amazonaws.com/role-arn": role},
    }
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": False}


def _manifest(version: str, kind: str, service: Service, **rest: Any) -> Document:
    metadata = {"name": service.name, "labels": _labels(service)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def _labels(service: Service) -> dict[str, str]:
    return {"app.kubernetes.io/name": service.name}


def _deployment(service: Service, queue: str, deployment: Deployment) -> dict[str, Any]:
    """Return the spec of the Deployment. How many replicas there are is KEDA's to say."""
    return {
        "selector": {"matchLabels": _labels(service)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {
                "labels": _labels(service),
                "annotations": {
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port": str(HEALTH_PORT),
                    "prometheus.io/path": "/metrics",
                },
            },
            "spec": {
                "serviceAccountName": service.name,
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": service.grace_seconds,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [_container(service, queue, deployment)],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        },
    }


def _container(service: Service, queue: str, deployment: Deployment) -> dict[str, Any]:
    environment = {"AWS_DEFAULT_REGION": deployment.region_of(queue), **service.environment}
    return {
        "name": service.name,
        "image": deployment.image_of(service),
        # The arguments of the image's entry point, if it has one.
        "args": list(service.command),
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [{"name": _PORT_NAME, "containerPort": HEALTH_PORT}],
        "startupProbe": _probe("/live", period=2, failures=30),
        "livenessProbe": _probe("/live", period=10, failures=3),
        "readinessProbe": _probe("/ready", period=5, failures=3),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - it is the container's
    }


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": _PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def _scaling(service: Service, queue: str, deployment: Deployment) -> dict[str, Any]:
    """Return the spec of the ScaledObject: as many replicas as have all messages in hand, those in flight counted."""
    return {
        "scaleTargetRef": {"name": service.name},
        "minReplicaCount": 1,
        "maxReplicaCount": _MOST_REPLICAS,
        "triggers": [
            {
                "type": "aws-sqs-queue",
                "metadata": {
                    "queueURL": deployment.queue_url(queue),
                    "queueLength": str(service.in_hand),
                    "awsRegion": deployment.region_of(queue),
                },
                "authenticationRef": {"name": service.name},
            }
        ],
    }
