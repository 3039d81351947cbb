"""``megaflow local``: the embedded server alone, which is ``python -m megaflow.local`` as well."""

from __future__ import annotations

import click

from megaflow.local.__main__ import main


@click.command(
    context_settings={"ignore_unknown_options": True},
    add_help_option=False,
    short_help="Serve SQS and SNS on this machine.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def local(arguments: tuple[str, ...]) -> int:
    """Serve SQS and SNS on this machine; --help says how."""
    return main(arguments, program="megaflow local")
