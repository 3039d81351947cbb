"""``megaflow export``: documents of what apps need, and of how they run, for tools that set it up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import click

from megaflow.cli.errors import WrongUsage
from megaflow.cli.output import note, shorten_paths
from megaflow.cli.targets import load_apps
from megaflow.provision.export.cloudformation import write_template
from megaflow.provision.export.compose import write_compose
from megaflow.provision.export.deployment import Deployment, deploy
from megaflow.provision.export.ecs import write_task_definition
from megaflow.provision.export.iam import write_policies, write_policy
from megaflow.provision.export.kubernetes import write_manifests
from megaflow.provision.export.terraform import write_configuration
from megaflow.provision.export.text import write_json, write_yaml
from megaflow.provision.permissions import Role

FORMATS: Final[Mapping[str, Callable[[Deployment], str]]] = {
    "cloudformation": lambda deployment: write_yaml([write_template(deployment)]),
    "terraform": lambda deployment: write_json(write_configuration(deployment)),
    "iam": lambda deployment: write_json(write_policies(deployment)),
    "kubernetes": lambda deployment: write_yaml(write_manifests(deployment)),
    "ecs": lambda deployment: write_json(write_task_definition(deployment)),
    "compose": lambda deployment: write_yaml([write_compose(deployment)]),
}
"""What writes each format."""

_WITH_SUBSCRIPTIONS: Final = ("cloudformation", "terraform", "compose")


@click.command(short_help="Write what apps need, and how they run, for other tools.")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@click.option("--format", "name", type=click.Choice([*FORMATS]), required=True, help="For whom.")
@click.option("--role", type=click.Choice([role.value for role in Role]), help="With --format iam: its policy alone.")
@click.option("--region", default="", help="The region, where no address of an app names it.")
@click.option("--account", default="", help="The number of the account, where no address of an app names it.")
@click.option("--image", default="", help="The image of the containers.  [the name of the service]")
@click.option(
    "--existing-topic",
    "existing",
    multiple=True,
    metavar="NAME",
    help="A topic that others make; may be repeated.",
)
def export(
    targets: Sequence[str], name: str, role: str | None, region: str, account: str, image: str, existing: Sequence[str]
) -> None:
    """Write what each TARGET needs of AWS, or how it runs, as a document for the tool that sets it up.

    cloudformation and terraform have queues, topics, subscriptions, policies, tables of DynamoDB and alarms. iam has
    the policies of consumer, producer and operator. kubernetes, ecs and compose run the TARGETs. Nothing is asked of
    AWS, and the same app gives the same text.
    """
    if role and name != "iam":
        raise WrongUsage(f"--role {role} says something about --format iam, and this is {name}")
    deployment = deploy(load_apps(targets), region=region, account_id=account, image=image, existing_topics=existing)
    click.echo(write_json(write_policy(deployment, Role(role))) if role else FORMATS[name](deployment))
    if name in _WITH_SUBSCRIPTIONS:
        _explain(deployment, name)


def _explain(deployment: Deployment, name: str) -> None:
    """Say what the document does not: why a subscription has no filter, and what is missing."""
    for each in deployment.needs.subscriptions:
        if each.filter_policy is None:
            note(shorten_paths(f"{each.name}: no filter, as {each.reason}"), style="yellow")
    if name == "compose" and deployment.tables:
        note(f"there is no DynamoDB in it for {', '.join(deployment.tables)}", style="yellow")
