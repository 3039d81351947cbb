"""The doctor at work on apps: what it finds, by the names of its checks."""

from __future__ import annotations

from typing import Any

from megaflow import App
from megaflow.provision import Queue, Topic
from megaflow.provision.doctor.check import Finding, find_all
from megaflow.provision.doctor.checks import CHECKS
from megaflow.provision.doctor.reading import Told, read_apps
from tests.provision.conftest import Place

TOLD = Told()


def make_app(place: Place, *, fifo: bool = False, pattern: Any = None, **options: Any) -> App:
    """Return an app whose queue is subscribed to its topic, and which calls *place* by its clients."""
    topic = Topic(f"{place.prefix}shop", fifo=fifo, json_only=options.pop("json_only", True))
    of_queue = {name: options.pop(name) for name in ("retention", "encryption", "dead_letter_queue") if name in options}
    queue = Queue(f"{place.prefix}orders", fifo=fifo, subscribe=[topic], **of_queue)
    app = App(queue=queue, topic=topic, client=place.sqs, sns_client=place.sns, retry_on=ConnectionError, **options)

    @app.on_data({"type": "order"} if pattern is None else pattern, timeout=45)
    def order(data: dict[str, Any]) -> None: ...

    return app


def examine(app: App, told: Told = TOLD) -> list[Finding]:
    """Return what the doctor finds of one app."""
    return examine_all({"app": app}, told)


def examine_all(apps: dict[str, App], told: Told = TOLD) -> list[Finding]:
    """Return what the doctor finds of several apps, by target."""
    return [finding for facts in read_apps(apps, told) for finding in find_all(facts, CHECKS)]


def names(findings: list[Finding]) -> list[str]:
    """Return the names of the checks that have found something."""
    return [each.check.name for each in findings]
