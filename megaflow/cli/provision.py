"""``megaflow provision``: what apps need of AWS, compared with what is there, and made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

import click

from megaflow.app import App, parts_of
from megaflow.cli.errors import DIFFERS, FAILED, WrongUsage
from megaflow.cli.options import aws_options, json_option, read_aws
from megaflow.cli.output import note, shorten_paths, show, show_json, show_table
from megaflow.cli.targets import load_apps
from megaflow.provision.differences import Difference, State
from megaflow.provision.making import Provisioner
from megaflow.provision.needs import Needs, join_needs, needs_of

_COLUMNS: Final = ("resource", "name", "attribute", "there", "declared", "state", "why")


@click.command(short_help="Compare queues and topics with what apps declare, and make them.")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option("--apply", is_flag=True, help="Make and change what differs. Nothing is ever deleted.")
@click.option("--narrow", is_flag=True, help="With --apply: let filters let less through than they do.")
@json_option
@aws_options
def provision(targets: Sequence[str], apply: bool, narrow: bool, as_json: bool, **aws: Any) -> int:
    """Show where queues, topics and subscriptions are not what each TARGET declares, and with --apply make them so.

    What is not declared is left as it is. Without --narrow, the filter of a subscription still lets through what it
    does now: processes of before may still want that. The exit code is 3 where something differs, and 0 where it is
    the same. With --apply it is 0 where it is the same now, but for what --narrow would do, and 1 where something could
    not be made.
    """
    if narrow and not apply:
        raise WrongUsage("--narrow says something about --apply, which is not there")
    apps = load_apps(targets)
    given = read_aws(**aws)
    differences: list[Difference] = []
    with ExitStack() as connected:
        for app in apps.values():
            connected.enter_context(app.connected(**given))
        accounts = [(each, _join(each)) for each in _split_by_account(apps)]
        try:
            for some, needs in accounts:
                differences += _provision(some, needs, apply=apply, narrow=narrow)
        except BaseException:
            # What was made before something went wrong was made.
            if differences:
                _show(differences, as_json)
            raise
    _show(differences, as_json)
    if not as_json:
        _explain(differences, [needs for _, needs in accounts], apply)
    return _choose_code(differences, apply)


def _split_by_account(apps: Mapping[str, App]) -> list[dict[str, App]]:
    """Return the apps, by target, of each account and region: another one may have other queues of the same names."""
    accounts: dict[tuple[object, ...], dict[str, App]] = {}
    for target, app in apps.items():
        accounts.setdefault(parts_of(app).destination.account, {})[target] = app
    return list(accounts.values())


def _join(apps: Mapping[str, App]) -> Needs:
    each = {target: needs_of(app) for target, app in apps.items()}
    for target, needs in each.items():
        if needs == Needs():
            raise WrongUsage(
                f'{target} declares neither a queue nor a topic: say App(queue="orders"), or queue=Queue("orders", …), '
                "in place of an address"
            )
    return join_needs(each)


def _provision(apps: Mapping[str, App], needs: Needs, *, apply: bool, narrow: bool) -> Iterator[Difference]:
    destination = parts_of(next(iter(apps.values()))).destination
    # Any name will do: they are all in one region.
    name, *_ = (*(queue.name for queue in needs.queues), *(topic.name for topic in needs.topics))
    sqs, sns = destination.clients_of("sqs").client_for(name), destination.clients_of("sns").client_for(name)
    return Provisioner(sqs, sns, apply=apply, narrow=narrow).provision(needs)


def _show(differences: Sequence[Difference], as_json: bool) -> None:
    if as_json:
        show_json({"same": not differences, "differences": [_describe(each) for each in differences]})
    elif differences:
        show_table(_COLUMNS, map(_tell, differences))


def _describe(difference: Difference) -> dict[str, object]:
    return {
        "resource": difference.resource,
        "name": difference.name,
        "attribute": difference.attribute or None,
        "found": difference.found,
        "declared": difference.declared,
        "state": difference.state.value,
        "reason": difference.reason or None,
    }


def _tell(difference: Difference) -> Sequence[str]:
    """Return the row of a difference."""
    found, declared = map(_write, (difference.found, difference.declared))
    is_filter = difference.attribute == "FilterPolicy"
    absent = "no filter" if is_filter else "none" if difference.attribute else "missing"
    is_known = found or declared or is_filter
    return (
        difference.resource,
        difference.name,
        difference.attribute,
        found or (absent if is_known else "?"),
        declared or absent * is_filter,
        difference.state.value,
        difference.reason,
    )


def _write(value: Any) -> str:
    """Return what was found or declared in a few words; nothing for None."""
    if isinstance(value, Mapping):
        pairs = ((name, json.dumps(each) if isinstance(each, Mapping) else each) for name, each in value.items())
        return ", ".join(f"{name} {each}" for name, each in pairs) or "there"
    return value or ""


def _explain(differences: Sequence[Difference], several: Iterable[Needs], apply: bool) -> None:
    """Say what the table does not: that there is none, what to do, and why a subscription has no filter."""
    if not differences:
        show("same: what is declared is there")
    elif not apply and any(each.state is State.DIFFERS for each in differences):
        note("--apply makes what differs")
    for needs in several:
        for each in needs.subscriptions:
            if each.filter_policy is None:
                note(shorten_paths(f"{each.name}: no filter, as {each.reason}"), style="yellow")


def _choose_code(differences: Iterable[Difference], apply: bool) -> int:
    states = {each.state for each in differences}
    if State.FAILED in states or (apply and State.FIXED in states):
        return FAILED
    return DIFFERS if states and not apply else 0
