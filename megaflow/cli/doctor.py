"""``megaflow doctor``: what is wrong with apps as they stand in AWS."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

import click

from megaflow.cli.errors import FAILED, name_options
from megaflow.cli.options import aws_options, json_option, read_aws
from megaflow.cli.output import shorten_paths, show, show_json
from megaflow.cli.targets import load_apps
from megaflow.provision.doctor.check import Finding, Severity, Symptom, find_all
from megaflow.provision.doctor.checks import CHECKS
from megaflow.provision.doctor.facts import GracePeriod, find_platform
from megaflow.provision.doctor.reading import OTHERS, Told, read_apps

_STYLES: Final = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_SECONDS: Final = click.FloatRange(min=0, min_open=True)


@click.command(short_help="Say what is wrong with apps, and with their queues and topics.")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option("--lambda-timeout", metavar="SECONDS", type=_SECONDS, help="The timeout of the Lambda function it is.")
@click.option(
    "--grace-period",
    metavar="SECONDS",
    type=_SECONDS,
    help="From SIGTERM to SIGKILL where it runs: terminationGracePeriodSeconds, stopTimeout, TimeoutStopSec.",
)
@click.option("--ask", "asks", multiple=True, type=click.Choice(OTHERS), help="Ask this service, too; repeat it.")
@json_option
@aws_options
def doctor(
    targets: Sequence[str],
    lambda_timeout: float | None,
    grace_period: float | None,
    asks: Sequence[Any],
    as_json: bool,
    **aws: Any,
) -> int:
    """Say what is wrong with each TARGET, and with its queues and topics as they are.

    Each finding comes with what it costs, what to do, and the page of the docs. Nothing is changed, and no message
    received. The exit code is 1 where there is an error, and 0 where there are warnings and notes alone.
    """
    apps = load_apps(targets)
    grace = find_platform(os.environ) if grace_period is None else GracePeriod(grace_period)
    with ExitStack() as connected:
        for app in apps.values():
            connected.enter_context(app.connected(**read_aws(**aws)))
        several = read_apps(apps, Told(lambda_timeout=lambda_timeout, grace_period=grace, asks=frozenset(asks)))
        findings = [_shorten(finding) for facts in several for finding in find_all(facts, CHECKS)]
    _show_json(findings) if as_json else _show(findings, targets)
    return FAILED if _count(findings, Severity.ERROR) else 0


def _shorten(finding: Finding) -> Finding:
    name, said = finding.symptom
    return replace(finding, symptom=Symptom(name, name_options(shorten_paths(said))))


def _show_json(findings: Sequence[Finding]) -> None:
    counts = {f"{each.value}s": _count(findings, each) for each in Severity}
    show_json({**counts, "findings": [each.as_dict() for each in findings]})


def _show(findings: Sequence[Finding], targets: Sequence[str]) -> None:
    for each in sorted(findings, key=lambda finding: list(Severity).index(finding.check.severity)):
        check = each.check
        of = f"{each.target}: " if len(targets) > 1 else ""
        show(f"{check.severity.value}: {of}{each.symptom.name}: {each.symptom.said}", _STYLES[check.severity])
        show(f"  cost  {check.cost}")
        show(f"  do    {check.remedy}")
        show(f"  see   {check.page}  ({check.name})")
    if not findings:
        show(f"no findings: {len(CHECKS)} checks of {', '.join(targets)}", "green")


def _count(findings: Sequence[Finding], severity: Severity) -> int:
    return sum(each.check.severity is severity for each in findings)
