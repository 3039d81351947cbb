"""A real Prometheus scrapes several processes while one of them is killed, and sees no counter go back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_sessions import find_port
from tests.runtime.test_supervisor import Place, find_health_port, place
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="prometheus is not installed: it is Debian's package"
    ),
]
__all__ = ["place"]

ENDED = 'sum(megaflow_messages_ended_total{queue="q", fate="deleted"})'


class Prometheus:
    """One that runs, and can be asked."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, expression: str) -> float | None:
        """Return the one value of *expression*, or None where there is none yet."""
        result = self._get("query", query=expression)["result"]
        return float(result[0]["value"][1]) if result else None

    def alerts(self) -> set[str]:
        return {rule["name"] for group in self._get("rules")["groups"] for rule in group["rules"]}

    def is_up(self) -> bool:
        try:
            return self.ask("vector(1)") == 1
        except OSError:
            return False

    def _get(self, what: str, **parameters: str) -> Any:
        with urlopen(f"{self._url}/{what}?{urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]


@contextmanager
def prometheus(target: int, folder: Path) -> Iterator[Prometheus]:
    """Let a Prometheus of one's own scrape *target* each second."""
    port, alerts = find_port(), ROOT / "deploy" / "prometheus" / "alerts.yml"
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(alerts)],
        "scrape_configs": [{"job_name": "megaflow", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    process = subprocess.Popen(command)
    try:
        running = Prometheus(port)
        wait_until(running.is_up)
        yield running
    finally:
        process.terminate()
        process.wait()


def test_a_killed_process_takes_nothing_with_it_that_was_scraped(place: Place, tmp_path: Path) -> None:
    with place.script("scraped") as script, prometheus(find_health_port(script), tmp_path) as asked:
        place.send("wait", "wait")
        wait_until(lambda: asked.ask('sum(megaflow_messages_running{queue="q"})') == 2)
        place.send(*map(str, range(10)))
        killed = place.said("begins wait")[0]

        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: asked.ask('sum(megaflow_messages_running{queue="q"})') == 1)
        place.let_go()
        wait_until(lambda: (asked.ask(ENDED) or 0) >= 11)

        assert asked.ask(f"max(resets({ENDED[4:-1]}[1h]))") == 0
        assert asked.ask('max(resets(megaflow_client_consumed_messages_total{queue="q"}[1h]))') == 0
        handled = 'sum(megaflow_handler_duration_seconds_count{queue="q"})'
        wait_until(lambda: (asked.ask(handled) or 0) >= 11)
        assert (asked.ask("histogram_quantile(0.5, sum by (le) (megaflow_message_age_seconds_bucket))") or 0) > 0
        assert "MegaflowDeadLetters" in asked.alerts()
        assert asked.ask('up{job="megaflow"}') == 1
