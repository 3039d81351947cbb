"""What went wrong, in one line, and the exit code that says so."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import click

from megaflow.errors import MegaflowError

FAILED: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130


@dataclass
class Ended:
    """How a command has ended."""

    code: int = 0


@contextmanager
def report(*, debug: bool) -> Iterator[Ended]:
    """Say in one line on stderr what a command raised, and note its exit code; with *debug*, after its traceback."""
    ended = Ended()
    try:
        yield ended
        sys.stdout.flush()
    except click.exceptions.Exit as asked:
        ended.code = asked.exit_code
    except BrokenPipeError:
        # Whoever read has seen enough.
        ended.code = FAILED
    except (click.Abort, KeyboardInterrupt):
        ended.code = _say("interrupted", INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is said
        if debug:
            traceback.print_exc()
        ended.code = _say(*describe(error))
    try:
        sys.stdout.flush()
    except OSError:
        # What cannot be written would be tried again at the end, with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def describe(error: Exception) -> tuple[str, int]:
    """Return what *error* is in one line, and the exit code."""
    if isinstance(error, click.UsageError):
        where = f" ({error.ctx.command_path} --help says more)" if error.ctx is not None else ""
        return f"{error.format_message()}{where}", error.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, MegaflowError):
        return str(error), FAILED
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(map(str, filter(None, (error.filename, error.strerror)))), FAILED
    return _describe_aws(error) or f"{type(error).__name__}: {error}", FAILED


def _describe_aws(error: Exception) -> str:
    """Return what AWS, or boto3, says."""
    if "botocore" not in sys.modules:
        return ""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        return f"{said.get('Code', 'Unknown')}: {said.get('Message', '')} ({error.operation_name})"
    if isinstance(error, NoCredentialsError | NoRegionError):
        what = str(error).rstrip(".")
        return f"{what}. Set them in the environment or a profile; an embedded queue takes any (--endpoint-url)."
    return str(error) if isinstance(error, BotoCoreError) else ""


def _say(line: str, code: int) -> int:
    print(f"megaflow: {' '.join(line.split())}", file=sys.stderr)  # noqa: T201
    return code
