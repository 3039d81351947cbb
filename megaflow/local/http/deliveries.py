"""Deliveries over HTTP: what is due is posted by the loop of the server, to the address that was checked.

https://docs.aws.amazon.com/sns/latest/dg/http-header.html
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Final
from urllib.parse import unquote

from httptools import HttpParserError, HttpResponseParser

from megaflow.local.account import Account
from megaflow.local.endpoints.destinations import Endpoint, WrongEndpoint, read_endpoint
from megaflow.local.endpoints.posts import Post
from megaflow.local.operations.posting import body_of, rules_of, settle
from megaflow.local.refused import Refused
from megaflow.logs import get_logger

log = get_logger(__name__)

PATIENCE: Final = 15.0
"""Seconds for all of a delivery, as on AWS."""

_ANSWER_SIZE: Final = 64 * 1024
"""Bytes of an answer that are read; what comes after the head makes no difference."""

_AGENT: Final = "Amazon Simple Notification Service Agent"


class Deliveries:
    """Posts what is due, and notes what becomes of it. To be used on the thread of one loop.

    *patience* is how many seconds a delivery may take.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, account: Account) -> None:
        """Begin what is due; to be called within a turn of *account*."""
        for post in account.posts.take(account.clock(), lambda post: rules_of(account, post).per_second):
            task = asyncio.get_running_loop().create_task(self._deliver(account, post))
            self._tasks.add(task)
            task.add_done_callback(partial(self._end, account, post))

    async def stop(self) -> None:
        """Give up what is under way; it is begun again by whoever serves the account next."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, account: Account, post: Post) -> None:
        status, why = await self._post(account, post)
        # Where it cannot be written down, the store has said so; the post is made again once the file is opened again.
        with suppress(Refused), account.turn():
            settle(account, post, status, why)

    def _end(self, account: Account, post: Post, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # Also where it had not begun yet.
        if task.cancelled():
            with account.lock:
                account.posts.put_back(post)

    async def _post(self, account: Account, post: Post) -> tuple[int | None, str]:
        """Return the status that the endpoint answered, or None, and what there is to say of it."""
        answer = _Answer()
        try:
            async with asyncio.timeout(self._patience):
                await _exchange(account, post, answer)
        except TimeoutError:
            return answer.status, answer.said or f"no answer within {self._patience:.0f} seconds"
        except WrongEndpoint as wrong:
            # As if the endpoint had refused it: trying again makes it no better.
            return 403, str(wrong)
        except (OSError, HttpParserError, ssl.SSLError) as error:
            return answer.status, answer.said or f"{type(error).__name__}: {error}"
        except Exception:
            # A post that nobody settles would be under way for ever.
            log.exception("message %s to %s could not be posted", post.message_id, post.subscription_arn)
            return None, "it could not be posted; the log says why"
        return answer.status, answer.said or "the connection was closed without an answer"


@dataclass(slots=True)
class _Answer:
    """What an endpoint answers, as far as it was read."""

    status: int | None = None
    is_whole: bool = False

    @property
    def said(self) -> str:
        return "" if self.status is None else f"answered {self.status}"


class _Reader:
    """Hears from the parser what an answer consists of."""

    def __init__(self, answer: _Answer) -> None:
        self._answer = answer
        self.parser = HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        # What is below is no answer yet.
        if status >= 200:
            self._answer.status = status

    def on_message_complete(self) -> None:
        self._answer.is_whole = self._answer.status is not None


async def _exchange(account: Account, post: Post, answer: _Answer) -> None:
    if account.served is None:
        raise WrongEndpoint("no server delivers")
    endpoint = read_endpoint(post.endpoint.partition(":")[0].lower(), post.endpoint)
    reader, writer = await _connect(endpoint, await account.served.destinations.addresses_of(endpoint, _resolve))
    try:
        # Links lead back to where the endpoint is connected from: it may not know this machine by another address.
        url = account.served.url_from(writer.get_extra_info("sockname")[0]) or account.url
        # The first signature makes the key, which takes a while.
        body = (await asyncio.to_thread(body_of, account, post.content, url)).encode()
        head = _head(endpoint, post, rules_of(account, post).content_type, len(body))
        writer.write(head + body)
        await writer.drain()
        await _read(reader, answer)
    finally:
        writer.transport.abort()


async def _connect(endpoint: Endpoint, addresses: Sequence[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that answers: a web server may listen on one of those that its name has."""
    is_safe = endpoint.url.scheme == "https"
    context, name = (_trust(), str(endpoint.host)) if is_safe else (None, None)
    for address in addresses[:-1]:
        with suppress(OSError):
            return await asyncio.open_connection(address, endpoint.port, ssl=context, server_hostname=name)
    return await asyncio.open_connection(addresses[-1], endpoint.port, ssl=context, server_hostname=name)


async def _resolve(name: str, port: int) -> Collection[str]:
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


@cache
def _trust() -> ssl.SSLContext:
    # It knows the variables SSL_CERT_FILE and SSL_CERT_DIR.
    return ssl.create_default_context()


def _head(endpoint: Endpoint, post: Post, content_type: str, size: int) -> bytes:
    headers = {
        "Host": endpoint.authority,
        "User-Agent": _AGENT,
        "Accept-Encoding": "identity",
        "Connection": "close",
        **_login(endpoint),
        "Content-Type": content_type,
        "Content-Length": str(size),
        "x-amz-sns-message-type": post.kind,
        "x-amz-sns-message-id": post.message_id,
        "x-amz-sns-topic-arn": post.topic_arn,
        **({} if post.kind == "SubscriptionConfirmation" else {"x-amz-sns-subscription-arn": post.subscription_arn}),
        **({"x-amz-sns-rawdelivery": "true"} if post.raw else {}),
    }
    lines = [f"POST {endpoint.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _login(endpoint: Endpoint) -> dict[str, str]:
    """Return the header for a user and password in the URL."""
    if endpoint.url.username is None:
        return {}
    login = f"{unquote(endpoint.url.username)}:{unquote(endpoint.url.password or '')}"
    return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


async def _read(reader: asyncio.StreamReader, answer: _Answer) -> None:
    """Read an answer until all of it is there, or enough."""
    parser = _Reader(answer).parser
    left = _ANSWER_SIZE
    while left > 0 and not answer.is_whole:
        data = await reader.read(left)
        if not data:
            return
        parser.feed_data(data)
        left -= len(data)
