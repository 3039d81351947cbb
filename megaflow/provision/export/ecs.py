"""ECS: the definition of a task, as ``aws ecs register-task-definition --cli-input-json`` takes it.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
"""

from __future__ import annotations

from typing import Any, Final

from megaflow.errors import ConfigurationError
from megaflow.provision.export.deployment import HEALTH_CHECK, HEALTH_PORT, Deployment, Service
from megaflow.provision.export.text import Document

_LONGEST_STOP: Final = 120
"""Seconds that Fargate waits at most between SIGTERM and SIGKILL."""

_EXECUTION_ROLE: Final = "ecsTaskExecutionRole"
"""What AWS calls the role that fetches the image and writes the log."""


def write_task_definition(deployment: Deployment) -> Document:
    """Return the definition.

    Raises `ConfigurationError` for several services, one that stops for longer than Fargate waits, or without a queue,
    and where region or account are unknown.
    """
    if len(deployment.services) > 1:
        raise ConfigurationError("a task is one service, so that each is scaled by itself: name one TARGET at a time")
    ((service, queue),) = deployment.consumers()
    if service.grace_seconds > _LONGEST_STOP:
        raise ConfigurationError(
            f"shutdown_timeout={service.shutdown_timeout:g}: Fargate kills after {_LONGEST_STOP} seconds at most, and "
            f"a consumer needs {service.grace_seconds}; let handlers have less"
        )
    return {
        "family": service.name,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": deployment.role_arn(_EXECUTION_ROLE),
        "taskRoleArn": deployment.role_arn(service.role),
        "containerDefinitions": [_container(service, queue, deployment)],
    }


def _container(service: Service, queue: str, deployment: Deployment) -> dict[str, Any]:
    region = deployment.region_of(queue)
    environment = {"AWS_DEFAULT_REGION": region, **service.environment}
    return {
        "name": service.name,
        "image": deployment.image_of(service),
        "essential": True,
        "command": list(service.command),
        "environment": [{"name": name, "value": value} for name, value in environment.items()],
        "portMappings": [{"containerPort": HEALTH_PORT, "protocol": "tcp"}],
        "stopTimeout": service.grace_seconds,
        "healthCheck": {
            "command": ["CMD", "python", "-c", HEALTH_CHECK % "/live"],
            "interval": 10,
            "timeout": 5,
            "retries": 3,
            "startPeriod": 60,
        },
        "readonlyRootFilesystem": True,
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": f"/ecs/{service.name}",
                "awslogs-region": region,
                "awslogs-stream-prefix": "megaflow",
                # A log that cannot be written must not hold up handlers.
                "mode": "non-blocking",
                "max-buffer-size": "25m",
            },
        },
    }
