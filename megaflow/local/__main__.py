"""``python -m megaflow.local``: SQS and SNS on this machine as a program."""

from __future__ import annotations

import argparse
import gc
import glob
import logging
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from typing_extensions import override

from megaflow.errors import ConfigurationError
from megaflow.local.account import Account
from megaflow.local.accounts import NUMBER, REGION
from megaflow.local.clock import Clock
from megaflow.local.declared.config import declare
from megaflow.local.file.store import Store
from megaflow.logs import make_text_handler
from megaflow.printable import printable

if TYPE_CHECKING:
    from megaflow.local.server import Server

_HIGHEST_PORT: Final = 65535

_EPILOG: Final = """\
It speaks what boto3, the AWS CLI and other SDKs speak. Give them its URL and any credentials:

  AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1

The AWS CLI, version 1, wants to be told of it each time: aws --endpoint-url http://127.0.0.1:4566 sqs list-queues

SIGINT (Ctrl+C) and SIGTERM stop it. What is in --data FILE is there again the next time.
"""


def main(arguments: Sequence[str] | None = None, *, program: str = "python -m megaflow.local") -> int:
    """Serve until interrupted; return the exit code."""
    given = _parser(program).parse_args(arguments)
    handler = make_text_handler(sys.stderr, "%(asctime)s %(levelname)s %(message)s")
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        with _ended_by_signals():
            _serve(given)
    except ConfigurationError as error:
        print(f"{program.removeprefix('python -m ')}: {printable(str(error))}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End the program well at a signal: the first process of a container hears none that it does not ask for."""

    def end(*_: object) -> NoReturn:
        raise SystemExit(0)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve(given: argparse.Namespace) -> None:
    account = Account(clock=Clock(), region=given.region, account_id=given.account, relaxed=given.relaxed)
    with kept(account, given.data) as keep, closing(_listen(account, given, keep)) as server:
        for region, account_id in siblings_of(given.data):
            server.accounts.at(region, account_id)
        if given.config is not None:
            declare(account, given.config, parameters=dict(given.parameter))
        elif given.parameter:
            raise ConfigurationError("--parameter is for a template: name it with --config")
        # From before it is said that it serves: whoever reads that may signal at once. Uvicorn hands these on to us.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop())
        print(f"SQS and SNS on {server.url}, {_contents(account, given.data)}", flush=True)  # noqa: T201
        # What was loaded stays; the collector need not look at it ever again.
        gc.freeze()
        server.serve()


def _listen(account: Account, given: argparse.Namespace, keep: Callable[[Account], object]) -> Server:
    from megaflow.local.server import Server

    return Server(
        account,
        host=given.host,
        port=given.port,
        url=given.url,
        allowed_hosts=given.allow_host,
        keys=dict(given.accounts),
        region_any=given.region_any,
        deliver_to=given.deliver_to,
        key_file=key_file_of(given.data),
        opened=keep,
    )


@contextmanager
def kept(account: Account, data: Path | None) -> Iterator[Callable[[Account], object]]:
    """Keep *account* in the file *data*, where one is named; give what keeps another one in a file beside it."""
    if data is None:
        yield lambda account: None
        return
    with ExitStack() as stores:

        def keep(account: Account, path: Path) -> None:
            stores.enter_context(closing(Store(path))).load(account)

        keep(account, data)
        yield lambda other: keep(other, data.with_name(f"{data.name}.{other.region}.{other.account_id}"))


def key_file_of(data: Path | None) -> Path | None:
    """Return the file beside *data* that keeps the key which signs envelopes."""
    return None if data is None else data.with_name(f"{data.name}.sns.pem")


def siblings_of(data: Path | None) -> Iterator[tuple[str, str]]:
    """Go through the regions and numbers of the accounts that are kept in files beside *data*."""
    for path in sorted(data.parent.glob(f"{glob.escape(data.name)}.*.*")) if data is not None else ():
        region, _, number = path.name.removeprefix(f"{data.name}.").partition(".") if data is not None else ("", "", "")
        if REGION.fullmatch(region) and NUMBER.fullmatch(number):
            yield region, number


def _contents(account: Account, data: Path | None) -> str:
    where = f"account {account.account_id} in {account.region}, {f'kept in {data}' if data else 'in memory'}"
    if data is None and not account.queues and not account.topics:
        return where
    messages = sum(sum(hosted.queue.counts().values()) for hosted in account.queues.values())
    counts = {"queue": len(account.queues), "topic": len(account.topics), "message": messages}
    return f"{where}: " + ", ".join(f"{count} {what if count == 1 else f'{what}s'}" for what, count in counts.items())


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    @override
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog.removeprefix('python -m ')}: {message} (--help says more)\n")


def _parser(program: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program,
        description="SQS and SNS on this machine, for development and tests.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="listen on this address; 0.0.0.0, as in a container, lets others than this machine make any call "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=_port, default=4566, help="port to listen on; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--url",
        help="where URLs of queues and links in envelopes begin, behind a proxy: https://sqs.example.com (default: "
        "as the caller has called)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="keep everything in this SQLite file; made where it is not there"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="make the queues, topics and subscriptions that this file declares, in TOML, JSON or YAML, or as a "
        "template of CloudFormation",
    )
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        type=_parameter,
        metavar="NAME=VALUE",
        help="value of a parameter of that template, in place of its default; may be given several times",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer to this host name as well, or to all below it: *.example.com; may be given several times "
        "(always: addresses, names without a dot, *.localhost, *.localhost.localstack.cloud, and the host of --url)",
    )
    parser.add_argument(
        "--region",
        type=_like(REGION, "a region, such as eu-west-1"),
        default="us-east-1",
        help="region of calls that are not signed (default: %(default)s)",
    )
    parser.add_argument(
        "--account",
        type=_like(NUMBER, "twelve digits"),
        default="000000000000",
        help="account of calls whose key id says nothing else, twelve digits (default: %(default)s)",
    )
    parser.add_argument(
        "--accounts",
        action="append",
        default=[],
        type=_key,
        metavar="KEY=ACCOUNT",
        help="account of calls with this key id, twelve digits; may be given several times (a key id of twelve digits "
        "is its account)",
    )
    parser.add_argument(
        "--deliver-to",
        action="append",
        metavar="HOST[:PORT]",
        help="deliver to subscriptions over HTTP(S) there; may be given several times (default: 127.0.0.1, and "
        "nowhere with another --host)",
    )
    parser.add_argument(
        "--relaxed",
        action="store_true",
        help="for tests: purge a queue, or make one that was deleted, again without the 60 seconds in between",
    )
    parser.add_argument(
        "--region-any",
        action="store_true",
        help="one account in one region for all calls, whatever they are signed for",
    )
    return parser


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give a number from 0 to {_HIGHEST_PORT}")
    return int(text)


def _key(text: str) -> tuple[str, str]:
    key, _, number = text.rpartition("=")
    if not key or not NUMBER.fullmatch(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give a key id, =, and twelve digits")
    return key, number


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give a name, =, and a value")
    return name, value


def _like(pattern: re.Pattern[str], allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed: give {allowed}")
        return text

    return read


if __name__ == "__main__":
    sys.exit(main())
