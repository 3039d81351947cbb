"""Outages of a store in a DynamoDB table: calls, or writes alone, are throttled, or the server says nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError
from typing_extensions import override

from megaflow import DynamoDbStore
from tests.torture.chaos import Act
from tests.torture.ledger import Ledger
from tests.torture.processes import ROOT, find_port
from tests.torture.settings import TABLE, make_client, without_aws
from tests.torture.stores import StoreFaults

_PATIENCE: Final = 60.0
_LOOK_AGAIN: Final = 0.1
_THROTTLED: Final[Mapping[Act, str]] = {Act.LOCK_STORE: "UpdateItem", Act.MOVE_STORE: "GetItem UpdateItem"}
"""The operations, by what would befall a file; for the rest the server hangs."""


class TableFaults(StoreFaults):
    """What befalls a store in a table, and the server that has it."""

    def __init__(self, folder: Path, queue: str, ledger: Ledger) -> None:
        super().__init__(folder, queue, ledger)
        self._port = find_port()
        self._server: subprocess.Popen[bytes] | None = None

    @property
    @override
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @override
    def make(self) -> None:
        self._folder.mkdir(parents=True)
        command = [sys.executable, "-m", "tests.torture.table_server", str(self._port), str(self._throttled)]
        with (self._folder / "server.log").open("w") as log:
            self._server = subprocess.Popen(
                command, cwd=ROOT, env=without_aws(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        client = make_client(self.address, "dynamodb")
        self._wait_for_server(client)
        DynamoDbStore(TABLE, client=client).create_table()
        client.close()

    @override
    def tell(self, act: Act) -> str:
        return f"{_THROTTLED[act]}: throttled" if act in _THROTTLED else "the server of the table hangs"

    @override
    def close(self) -> None:
        super().close()
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    @override
    def _begin(self, act: Act, pids: Iterable[int]) -> ExitStack:
        assert self._server is not None
        undo = ExitStack()
        if act in _THROTTLED:
            self._throttled.write_text(_THROTTLED[act])
            undo.callback(self._throttled.unlink)
        else:
            self._server.send_signal(signal.SIGSTOP)
            undo.callback(self._server.send_signal, signal.SIGCONT)
        return undo

    @property
    def _throttled(self) -> Path:
        return self._folder / "throttled"

    def _wait_for_server(self, client: Any) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                client.list_tables()
            except BotoCoreError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the table did not answer: see {self._folder / 'server.log'}") from error
                time.sleep(_LOOK_AGAIN)
            else:
                return
