"""``python -m megaflow.local``: SQS and SNS on this machine as a program."""

from __future__ import annotations

import argparse
import gc
import logging
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from megaflow.errors import ConfigurationError
from megaflow.local.account import Account
from megaflow.local.store import Store

_ACCOUNT: Final = "[0-9]{12}"
_REGION: Final = "[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}"
_HIGHEST_PORT: Final = 65535

_EPILOG: Final = """\
It speaks what boto3, the AWS CLI and other SDKs speak. Give them its URL and any credentials:

  AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1

The AWS CLI, version 1, wants to be told of it each time: aws --endpoint-url http://127.0.0.1:4566 sqs list-queues

SIGINT (Ctrl+C) and SIGTERM stop it. What is in --data FILE is there again the next time.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit code."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        with _ended_by_signals():
            _serve(given)
    except ConfigurationError as error:
        print(f"megaflow.local: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM do what SIGINT does, and take both as a good end."""
    # While it serves, uvicorn takes them first, lets calls in progress end, and then hands them on.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _serve(given: argparse.Namespace) -> None:
    from megaflow.local.server import Server

    account = Account(region=given.region, account_id=given.account)
    with _kept(account, given.data), closing(Server(account, port=given.port)) as server:
        print(f"SQS and SNS on {server.url}, {_contents(account, given.data)}", flush=True)  # noqa: T201
        # What was loaded stays; the collector need not look at it ever again.
        gc.freeze()
        server.serve()


@contextmanager
def _kept(account: Account, data: Path | None) -> Iterator[None]:
    """Keep *account* in the file *data*, where one is named."""
    if data is None:
        yield
        return
    with closing(Store(data)) as store:
        store.load(account)
        yield


def _contents(account: Account, data: Path | None) -> str:
    where = f"account {account.account_id} in {account.region}"
    if data is None:
        return f"{where}, in memory"
    messages = sum(sum(hosted.queue.counts().values()) for hosted in account.queues.values())
    return f"{where}, kept in {data}: {len(account.queues)} queues, {len(account.topics)} topics, {messages} messages"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m megaflow.local",
        description="SQS and SNS on this machine, for development and tests.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--port", type=_port, default=4566, help="port on 127.0.0.1; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="keep everything in this SQLite file; made where it is not there"
    )
    parser.add_argument(
        "--region",
        type=_like(_REGION, "a region, such as eu-west-1"),
        default="us-east-1",
        help="region of the ARNs (default: %(default)s)",
    )
    parser.add_argument(
        "--account",
        type=_like(_ACCOUNT, "twelve digits"),
        default="000000000000",
        help="account of the ARNs, twelve digits (default: %(default)s)",
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give a number from 0 to {_HIGHEST_PORT}")
    return int(text)


def _like(pattern: str, allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give {allowed}")
        return text

    return read


if __name__ == "__main__":
    sys.exit(main())
