"""Alerts and the dashboard name metrics and labels that there are, and every alert says what to do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from megaflow.telemetry.instruments import FATES, INSTRUMENTS, RESULTS, Instrument, Kind
from tests.docs.pages import PAGES, ROOT

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "megaflow.json").read_text())
RUNBOOK = PAGES["docs/how-to/alerts.md"]
METRICS = {
    f"{each.prometheus_name}{suffix}": each
    for each in INSTRUMENTS.values()
    for suffix in (("_bucket", "_sum", "_count") if each.kind is Kind.HISTOGRAM else ("",))
}
VALUES = {
    "fate": FATES,
    "result": RESULTS,
    "status": ("DONE", "RETRY_LATER", "RETRIABLE_ERROR", "FATAL_ERROR"),
}


def alerts() -> dict[str, str]:
    """Return the alerts and what each asks."""
    found = re.split(r"^ +- alert: (\w+)$", ALERTS.read_text(), flags=re.MULTILINE)[1:]
    return {
        name: re.search(r"expr: (?:>-\n)?(.*?)\n +(?:for|labels):", rule, re.DOTALL)[1]  # type: ignore[index]
        for name, rule in zip(found[::2], found[1::2], strict=True)
    }


def dashboard_expressions(of: Any = DASHBOARD) -> Iterator[str]:
    """Give all that the dashboard asks."""
    if isinstance(of, dict):
        yield from (value for name, value in of.items() if name in ("expr", "query") and isinstance(value, str))
    for each in of.values() if isinstance(of, dict) else of if isinstance(of, list) else ():
        yield from dashboard_expressions(each)


EXPRESSIONS = [*alerts().values(), *(each for each in dashboard_expressions() if "megaflow" in each)]


def check_labels(instrument: Instrument, selector: str) -> None:
    for label, value in re.findall(r'(\w+) *(?:=~|!=|!~|=) *"([^"]*)"', selector):
        assert label in instrument.labels
        if label in VALUES and "$" not in value:
            assert set(value.split("|")) <= set(VALUES[label])


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_is_asked_is_there(expression: str) -> None:
    asked = re.findall(r"(megaflow_\w+)(?:\{([^}]*)\})?", expression)
    grouped = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(",")}

    assert asked
    for name, selector in asked:
        assert name in METRICS
        check_labels(METRICS[name], selector)
        assert grouped - {"le"} <= set(METRICS[name].labels)
        assert ("le" in grouped) <= name.endswith("_bucket")


def test_every_alert_has_a_section_that_says_what_to_do_and_no_section_is_left() -> None:
    sections = re.findall(r"^## (Megaflow\w+)$", RUNBOOK, re.MULTILINE)

    assert sections == list(alerts())
    for name in alerts():
        assert f"runbook: docs/how-to/alerts.md#{name.lower()}\n" in ALERTS.read_text()


def test_the_dashboard_asks_once_what_it_shows() -> None:
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]

    assert len(expressions) == len(set(expressions)) > 12
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: Debian's package prometheus has it"
)
def test_prometheus_takes_the_alerts() -> None:
    checked = subprocess.run(["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(alerts())} rules found" in checked.stdout
