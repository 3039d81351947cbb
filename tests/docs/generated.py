"""Generated parts of the docs, made from the code: ``python -m tests.docs.generated`` writes them anew.

Each stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import inspect
import io
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import fields
from typing import Any, Final
from unittest import mock

from megaflow import App, AwsOptions, Health, MegaflowError, Oddity, errors
from megaflow.cli.errors import EXIT_CODES
from megaflow.cli.main import COMMANDS, cli
from megaflow.local import SnsClient, SqsClient
from megaflow.logs import LOG_KEYS
from megaflow.provision.doctor.checks import CHECKS
from megaflow.provision.permissions import IMPLIED, PERMISSIONS, Permission, Role
from megaflow.settings import VARIABLES
from megaflow.telemetry import conventions
from megaflow.telemetry.instruments import INSTRUMENTS, LABELS
from megaflow.telemetry.metrics import NAMES
from megaflow.telemetry.otel_metrics import ATTRIBUTES
from megaflow.wire import fallback
from tests import guarantees
from tests.docs.pages import PAGES, ROOT
from tests.docs.public import members_of

_PART: Final = re.compile(r"(?<=<!-- generated: )(?P<name>[\w ]+)( -->\n\n)(.*?)(?=\n\n<!-- end -->)", re.DOTALL)
_ARGUMENT: Final = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_WIDTH: Final = 80


def _table(*rows: tuple[str, ...]) -> str:
    head, *others = rows
    return "\n".join(f"| {' | '.join(row)} |" if row else "|---" * len(head) + "|" for row in (head, (), *others))


def _write(text: str) -> str:
    """Return a docstring as a cell of a table has it."""
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


def _metrics() -> str:
    return _table(("counter", "counts"), *((f"`{name}`", meaning) for name, meaning in NAMES.items()))


def _instruments() -> str:
    rows = (
        (
            f"`{name}`",
            f"`{each.prometheus_name}`",
            f"`{each.otel_name}`",
            each.kind.value,
            ", ".join(each.labels),
            each.meaning,
        )
        for name, each in INSTRUMENTS.items()
    )
    return _table(("name", "Prometheus", "OpenTelemetry", "", "labels", "what it is"), *rows)


def _labels() -> str:
    rows = ((f"`{name}`", f"`{ATTRIBUTES[name]}`", meaning) for name, meaning in LABELS.items())
    return _table(("label", "OpenTelemetry", ""), *rows)


def _log_keys() -> str:
    return _table(("key", ""), *((f"`{key}`", meaning) for key, meaning in LOG_KEYS.items()))


def _spans() -> str:
    rows = ((f"`{name}`", kind, meaning) for name, (kind, meaning) in conventions.SPANS.items())
    return _table(("span", "kind", "what it stands for"), *rows)


def _span_attributes() -> str:
    rows = ((f"`{name}`", ", ".join(spans), meaning) for name, (spans, meaning) in conventions.ATTRIBUTES.items())
    return _table(("attribute", "spans", ""), *rows)


def _settings() -> str:
    documented = dict(_ARGUMENT.findall(inspect.getdoc(App) or ""))
    given = [each for each in inspect.signature(App).parameters.values() if each.kind is not each.VAR_KEYWORD]
    rows = ((f"`{each.name}`", _default(each.default), _write(documented[each.name])) for each in given)
    return _table(("parameter", "default", ""), *rows)


def _default(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return f"`{value!r}`"
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}"


def _members(kind: type, head: str) -> str:
    return _table((head, ""), *((f"`{name}`", _write(text)) for name, text in members_of(kind).items() if text))


def _variables() -> str:
    return _table(("variable", ""), *((f"`{name}`", meaning) for name, meaning in VARIABLES.items()))


def _error_tree() -> str:
    tree = inspect.cleandoc(errors.__doc__ or "").partition("::\n\n")[2].partition("\n\n")[0]
    return f"```text\n{textwrap.dedent(tree)}\n```".replace("``timeout=``", "timeout=")


def _errors() -> str:
    rows = ((f"[`{error.__name__}`][megaflow.{error.__name__}]", *_when_and_what(error)) for error in all_errors())
    return _table(("error", "when", "what to do"), *rows)


def _when_and_what(error: type[MegaflowError]) -> tuple[str, str]:
    when, _, what = (inspect.getdoc(error) or "").partition("\n\n")
    return _write(when), _write(what)


def all_errors(of: type[MegaflowError] = MegaflowError) -> Iterator[type[MegaflowError]]:
    """Give the errors of the tree, each before those below it."""
    if not of.__name__.startswith("_"):
        yield of
    for each in of.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from all_errors(each)


def _commands() -> str:
    return "\n\n".join(f"## {name}\n\n```text\n{_help(name)}\n```" for name in COMMANDS)


def _help(name: str) -> str:
    """Return what ``megaflow NAME --help`` says in a terminal of 80 columns, whatever this one has."""
    said = io.StringIO()
    with mock.patch.dict("os.environ", COLUMNS=str(_WIDTH)), redirect_stdout(said), suppress(SystemExit):
        cli.main([name, "--help"], prog_name="megaflow", max_content_width=_WIDTH, terminal_width=_WIDTH)
    return said.getvalue().strip()


def _exit_codes() -> str:
    return _table(("code", ""), *((str(code), meaning) for code, meaning in EXIT_CODES.items()))


def _hot_calls() -> str:
    return "\n".join(f"- `{operation}`" for operation in fallback.HOT_METHODS.values())


def _reasons() -> str:
    return (fallback.__doc__ or "").partition("\n\n")[2].strip().replace("``", "`")


def _health() -> str:
    health = Health(live=True, ready=True, heard_ago=(0.4, None), finished_ago=1.5, in_hand=12, running=10)
    documented = members_of(Health)
    keys = ((f"`{each.name}`", _write(documented[each.name])) for each in fields(Health))
    return f"```json\n{json.dumps(health.as_dict(), indent=2)}\n```\n\n{_table(('key', ''), *keys)}"


def _operations(client: type) -> str:
    operations = {
        name: text
        for name, text in members_of(client).items()
        if name not in ("account", "exceptions", "meta", "close")
    }
    return _table(("method", ""), *((f"`{name}`", _write(text)) for name, text in operations.items()))


def _oddities() -> str:
    return _table(
        ("`finding.oddity`", "the handler"),
        *((f"`Oddity.{name}`", _write(text)) for name, text in members_of(Oddity).items()),
    )


def _permissions() -> str:
    documented = members_of(Role)
    return "\n\n".join(
        f"## The {role.value}\n\n{_write(documented[role.name])}\n\n"
        + _table(("action", "on", "what for", "when"), *(_permit(each) for each in PERMISSIONS if each.role is role))
        for role in Role
    )


def _permissions_for_keys() -> str:
    rows = ((each.role.value, *_permit(each)) for each in IMPLIED)
    return _table(("role", "action", "on", "what for", "when"), *rows)


def _permit(each: Permission) -> tuple[str, str, str, str]:
    actions = ", ".join(f"`{action}`" for action in each.actions)
    return actions, each.on.value, each.what_for, each.when.value or "always"


def _checks() -> str:
    rows = (
        (
            f"[`{check.name}`]({_link(check.page)})",
            check.severity.value,
            check.looks_at,
            check.cost,
            check.remedy,
        )
        for check in CHECKS
    )
    return _table(("check", "", "looks at", "what it costs", "what to do"), *rows)


def _link(page: str) -> str:
    """Return the way to a page from those of how-tos."""
    return f"../{page.removeprefix('docs/')}"


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "checks": _checks,
    "commands": _commands,
    "environment variables": _variables,
    "error tree": _error_tree,
    "errors": _errors,
    "exit codes": _exit_codes,
    "guarantees": lambda: guarantees.render(guarantees.collect()),
    "health": _health,
    "instruments": _instruments,
    "labels": _labels,
    "log keys": _log_keys,
    "metrics": _metrics,
    "span attributes": _span_attributes,
    "permissions": _permissions,
    "permissions for keys": _permissions_for_keys,
    "spans": _spans,
    "oddities": _oddities,
    "operations of SnsClient": lambda: _operations(SnsClient),
    "operations of SqsClient": lambda: _operations(SqsClient),
    "options for AWS": lambda: _members(AwsOptions, "option"),
    "reasons for boto3": _reasons,
    "settings": _settings,
    "calls of the wire": _hot_calls,
}


def read_parts(page: str) -> Iterator[tuple[str, str]]:
    """Give name and text of each generated part, as it stands in a page."""
    return ((found["name"], found[3]) for found in _PART.finditer(page))


def main() -> int:
    """Write all parts anew."""
    for name, page in PAGES.items():
        (ROOT / name).write_text(_PART.sub(lambda found: f"{found['name']}{found[2]}{PARTS[found['name']]()}", page))
    return 0


if __name__ == "__main__":
    sys.exit(main())
