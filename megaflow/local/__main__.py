"""``python -m megaflow.local``: SQS and SNS on this machine as a program."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from pathlib import Path

from megaflow.errors import ConfigurationError
from megaflow.local.account import Account
from megaflow.local.store import Store


def main() -> int:
    """Serve until interrupted; return the exit code."""
    given = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        return _serve(given)
    except ConfigurationError as error:
        print(f"megaflow.local: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _serve(given: argparse.Namespace) -> int:
    from megaflow.local.server import Server

    account = Account(region=given.region, account_id=given.account)
    store = Store(given.data) if given.data else None
    if store is not None:
        store.load(account)
    server = Server(account, port=given.port)
    print(f"SQS and SNS on {server.url}, {_contents(account, given.data)}", flush=True)  # noqa: T201
    # What was loaded stays; the collector need not look at it ever again.
    gc.freeze()
    try:
        server.serve()
    finally:
        if store is not None:
            store.close()
    return 0


def _contents(account: Account, data: Path | None) -> str:
    where = f"account {account.account_id} in {account.region}"
    if data is None:
        return f"{where}, in memory"
    messages = sum(sum(hosted.queue.counts().values()) for hosted in account.queues.values())
    return f"{where}, kept in {data}: {len(account.queues)} queues, {len(account.topics)} topics, {messages} messages"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m megaflow.local",
        description="SQS and SNS on this machine, for development and tests. Any credentials do.",
    )
    parser.add_argument("--port", type=int, default=4566, help="port on 127.0.0.1; 0 takes a free one (default: 4566)")
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="SQLite file to keep everything in; made where it is not there"
    )
    parser.add_argument("--region", default="us-east-1", help="region of the ARNs (default: us-east-1)")
    parser.add_argument(
        "--account", default="000000000000", help="account of the ARNs, twelve digits (default: 000000000000)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
