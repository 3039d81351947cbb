"""``megaflow handlers`` and ``megaflow explain``: which handlers are registered, and which of them match a body."""

from __future__ import annotations

from typing import IO

import click

from megaflow.app import App
from megaflow.cli.errors import FAILED, WrongUsage, name_options
from megaflow.cli.options import json_option
from megaflow.cli.output import note, shorten_paths, show, show_json, show_table
from megaflow.cli.reading import read_text
from megaflow.cli.targets import load_app
from megaflow.dispatch.check import Finding
from megaflow.dispatch.explain import HandlerExplanation
from megaflow.handlers.handler import Handler
from megaflow.messages.codec import Kind
from megaflow.messages.message import open_message


@click.command(short_help="Show the handlers of an app, and what is odd about them.")
@click.argument("target")
@json_option
@click.option(
    "--sns-filter-policy", is_flag=True, help="Print the filter policy for the subscription of the queue to a topic."
)
@click.option(
    "--json-only", is_flag=True, help="With --sns-filter-policy: say that no publisher sends text, bytes or BSON."
)
def handlers(target: str, as_json: bool, sns_filter_policy: bool, json_only: bool) -> int:
    """Show the handlers of TARGET, and what is odd about them."""
    app = load_app(target)
    if json_only and not sns_filter_policy:
        raise WrongUsage("--json-only says something about --sns-filter-policy, which is not there")
    if sns_filter_policy:
        return _show_policy(app, json_only)
    found = app.check()
    if as_json:
        show_json({"handlers": [_describe(each) for each in app.handlers], "findings": [_tell(each) for each in found]})
        return 0
    if not app.handlers:
        note("no handler is registered", style="yellow")
        return 0
    rows = ((each.name, each.kind.value, repr(each.pattern), shorten_paths(each.where)) for each in app.handlers)
    show_table(["handler", "kind", "pattern", "where"], rows)
    for each in found:
        show(shorten_paths(str(each)), style="yellow")
    return 0


@click.command(short_help="Say which handlers a message reaches, and why not the others.")
@click.argument("target")
@click.argument("file", type=click.File(encoding="utf-8"))
@json_option
def explain(target: str, file: IO[str], as_json: bool) -> int:
    """Say which handlers of TARGET the message in FILE reaches, and why not the others.

    FILE holds the body as SQS would deliver it; - is the standard input. The exit code is 1 where no handler gets the
    message.
    """
    app = load_app(target)
    body = _read(file)
    said = app.explain(open_message(body))
    if body.lstrip().startswith("{") and said.message.kind is Kind.TEXT:
        note("it is no JSON, and so text", style="yellow")
    if as_json:
        show_json(
            {"kind": said.message.kind.value, "problem": said.message.problem, "handlers": [*map(_explain, said)]}
        )
    else:
        heading, *lines = shorten_paths(str(said)).splitlines()
        show(heading, style="bold")
        for line in lines:
            show(line, style="green" if ": matched  (" in line else "")
    return 0 if any(each.matched for each in said) else FAILED


def _show_policy(app: App, json_only: bool) -> int:
    policy = app.sns_filter_policy(json_only=json_only)
    if policy.policy is None:
        note(name_options(shorten_paths(str(policy))))
        return FAILED
    show(str(policy))
    note(f"its scope is {policy.scope}")
    return 0


def _read(file: IO[str]) -> str:
    try:
        return read_text(file, file.name)
    except UnicodeDecodeError as error:
        raise WrongUsage(f"{file.name} is not UTF-8 text: {error}") from error


def _describe(handler: Handler) -> dict[str, str]:
    return {
        "name": handler.name,
        "kind": handler.kind.value,
        "pattern": repr(handler.pattern),
        "where": handler.where,
    }


def _tell(finding: Finding) -> dict[str, str | None]:
    return {
        "oddity": finding.oddity.value,
        "handler": finding.handler.name,
        "reason": finding.reason,
        "other": finding.other.name if finding.other else None,
    }


def _explain(each: HandlerExplanation) -> dict[str, object]:
    failures = [{"path": failure.path, "wanted": failure.wanted, "found": failure.found} for failure in each.failures]
    return {"handler": each.handler.name, "matched": each.matched, "failures": failures}
