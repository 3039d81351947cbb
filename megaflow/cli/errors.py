"""Errors of the command line: one line for what went wrong, and the exit code that says so."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import click

from megaflow.errors import ConfigurationError, MegaflowError, RegistrationError
from megaflow.printable import indented, printable

FAILED: Final = 1
WRONG_USAGE: Final = 2
DIFFERS: Final = 3
INTERRUPTED: Final = 130

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "done",
    FAILED: "all or some of it failed, explain found no handler, or doctor an error",
    WRONG_USAGE: "the command, the configuration or a name is wrong",
    DIFFERS: "provision found a difference",
    INTERRUPTED: "interrupted; an interrupt is the usual end of run, dev, local and tail, so it is 0 there",
}
"""What the exit codes of all commands mean."""

_OPTIONS: Final[Mapping[str, str]] = {
    "account_id": "--account",
    "concurrency": "--concurrency",
    "delay_seconds": "--delay",
    "deduplication_id": "--deduplication-id",
    "endpoint_url": "--endpoint-url",
    "existing_topics": "--existing-topic",
    "group_id": "--group-id",
    "health_host": "--health-host",
    "health_port": "--health-port",
    "json_only": "--json-only",
    "profile_name": "--profile",
    "queue_url": "--queue-url",
    "region_name": "--region",
    "subject": "--subject",
    "topic_arn": "--topic",
}
"""What is an option here, by the name of the parameter that it is elsewhere."""

_PARAMETER: Final = re.compile(rf"\b({'|'.join(_OPTIONS)})(?:=True|(?P<has_value>=)(?=[\w'\"])|=|(?=:| is not set))")
_NOT_THERE: Final = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NotFound"})


class WrongUsage(click.UsageError):
    """What was asked for is wrong, or not there; the help says nothing about it."""


class WrongTarget(WrongUsage):
    """What a target names is not there; one that is there and cannot be imported is not meant."""


@dataclass
class CommandEnd:
    """How a command has ended."""

    code: int = 0


@contextmanager
def report(*, debug: bool) -> Iterator[CommandEnd]:
    """Say in one line on stderr what a command raised, and note its exit code; with *debug*, after its traceback."""
    ended = CommandEnd()
    try:
        yield ended
        sys.stdout.flush()
    except click.exceptions.Exit as asked:
        ended.code = asked.exit_code
    except BrokenPipeError:
        # Whoever read has seen enough.
        ended.code = FAILED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        ended.code = WRONG_USAGE
    except (click.Abort, KeyboardInterrupt):
        ended.code = _say("interrupted", INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is said
        if debug:
            print(indented(traceback.format_exc()), file=sys.stderr)  # noqa: T201
        ended.code = _say(*describe(error))
    try:
        sys.stdout.flush()
    except OSError:
        # What cannot be written would be tried again at the end, with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def describe(error: Exception) -> tuple[str, int]:
    """Return what *error* is in one line, and the exit code."""
    if isinstance(error, click.UsageError):
        has_help = error.ctx is not None and not isinstance(error, WrongUsage)
        where = f" ({error.ctx.command_path} --help says more)" if error.ctx is not None and has_help else ""
        return f"{error.format_message()}{where}", error.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, MegaflowError):
        code = WRONG_USAGE if isinstance(error, ConfigurationError | RegistrationError) else FAILED
        return name_options(str(error)), code
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(map(str, filter(None, (error.filename, error.strerror)))), FAILED
    return _describe_aws(error) or (f"{type(error).__name__}: {error}", FAILED)


def name_options(text: str) -> str:
    """Return *text*, which is about parameters of functions, about the options that they are here."""
    return _PARAMETER.sub(lambda found: _OPTIONS[found[1]] + (" " if found["has_value"] is not None else ""), text)


def _describe_aws(error: Exception) -> tuple[str, int] | None:
    """Return what AWS, or boto3, says."""
    if "botocore" not in sys.modules:
        return None
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        EndpointConnectionError,
        NoCredentialsError,
        NoRegionError,
    )

    if isinstance(error, ClientError):
        answer = error.response.get("Error", {})
        said = f"{answer.get('Code', 'Unknown')}: {answer.get('Message', '')} ({error.operation_name})"
        return said, WRONG_USAGE if answer.get("Code") in _NOT_THERE else FAILED
    said = str(error).rstrip(".")
    if isinstance(error, NoCredentialsError | NoRegionError):
        return f"{said}. Set them in the environment or a profile; an embedded queue takes any (--endpoint-url)", FAILED
    if isinstance(error, EndpointConnectionError):
        return f"{said}; --endpoint-url, or AWS_ENDPOINT_URL, says where to: does anybody listen there?", FAILED
    return (said, FAILED) if isinstance(error, BotoCoreError) else None


def _say(line: str, code: int) -> int:
    print(f"megaflow: {printable(' '.join(line.split()))}", file=sys.stderr)  # noqa: T201
    return code
