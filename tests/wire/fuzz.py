"""Answers that were broken by a seed, and the reading of them: ``python -m tests.wire.fuzz [--seed N]``."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from megaflow.wire.answers import WireOperation
from megaflow.wire.fallback import HOT_METHODS
from megaflow.wire.http import BrokenAnswerError, read_answer
from tests.wire.scripted import answer

MESSAGE = {
    "MessageId": "m-1",
    "ReceiptHandle": "AQEB",
    "MD5OfBody": "0" * 32,
    "Body": '{"a": "b"}',
    "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"},
    "MessageAttributes": {
        "n": {"DataType": "Number", "StringValue": "1"},
        "b": {"DataType": "Binary", "BinaryValue": "AA=="},
    },
}
BODIES = [
    {"Messages": [MESSAGE, MESSAGE]},
    {"Messages": []},
    {},
    {"MessageId": "m-1", "MD5OfMessageBody": "0" * 32, "SequenceNumber": "1"},
    {
        "Successful": [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "0" * 32}],
        "Failed": [{"Id": "1", "SenderFault": True, "Code": "C", "Message": "m"}],
    },
    {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no such queue"},
]
STATUSES = ["200 OK", "200 OK", "200 OK", "400 Bad Request", "503 Slow Down", "301 Moved", "300 Odd", "429 Busy"]
ODD = [None, 0, -1, 1.5, True, "", "x", [], {}, [None], {"a": None}, "\ud800", 10**30]


def whole(randomness: random.Random) -> bytes:
    body: Any = json.loads(json.dumps(randomness.choice(BODIES)))
    if randomness.random() < 0.5:
        swap_something(body, randomness)
    said = json.dumps(body).encode()
    headers = {"x_amzn_query_error": randomness.choice(["A.B;Sender", ";", "x"])} if randomness.random() < 0.3 else {}
    if randomness.random() < 0.2:
        half = len(said) // 2
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in (said[:half], said[half:]) if each)
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return answer(said, status=randomness.choice(STATUSES), **headers)


def swap_something(value: Any, randomness: random.Random) -> None:
    """Put something odd in the place of something within *value*."""
    while isinstance(value, dict | list) and value:
        key = randomness.choice(list(value)) if isinstance(value, dict) else randomness.randrange(len(value))
        if randomness.random() < 0.4 or not isinstance(value[key], dict | list):
            value[key] = randomness.choice(ODD)
            return
        value = value[key]


def break_something(seed: int) -> list[bytes]:
    """Return an answer in pieces, broken in the way of *seed*, or not at all."""
    randomness = random.Random(seed)
    data = bytearray(whole(randomness))
    for _ in range(randomness.choice([0, 1, 1, 2, 5])):
        place = randomness.randrange(len(data) + 1)
        match randomness.randrange(5):
            case 0:
                del data[place:]
            case 1:
                del data[place : place + randomness.randrange(1, 20)]
            case 2:
                data[place:place] = randomness.randbytes(randomness.randrange(1, 10))
            case 3:
                data[place:place] = randomness.choice([b"\r\n", b"\r\n\r\n", b'"', b"}", b":", b"0", b"<html>"])
            case _:
                data[place : place + 1] = bytes([randomness.randrange(256)])
    return pieces_of(bytes(data), [randomness.randrange(1, 400) for _ in range(5)])


def pieces_of(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    pieces, place = [], 0
    for size in sizes:
        pieces.append(data[place : place + size])
        place += size
    return [piece for piece in [*pieces, data[place:]] if piece]


def read_broken(seed: int) -> str:
    """Read the broken answer of *seed*, and return what that came to; raise whatever is no clear error."""
    left = iter(break_something(seed))
    try:
        got = read_answer(lambda size: next(left, b""))
    except BrokenAnswerError as error:
        return f"broken: {error}"
    operation = operations()[seed % len(operations())]
    if got.status >= 300:
        said = operation.make_error(operation.read_failure(got), {})
        if not isinstance(said, ClientError) or not said.response["Error"]["Code"]:
            raise AssertionError(f"{said!r} is no clear error")
        return str(said)
    try:
        given = operation.read(got, {})
    except ResponseParserError as error:
        return f"not understood: {error}"
    check_messages(given)
    return "read"


def check_messages(given: dict[str, Any]) -> None:
    for message in given.get("Messages", ()):
        if not all(isinstance(message[name], str) for name in ("MessageId", "ReceiptHandle", "Body")):
            raise AssertionError(f"{message} is half a message")


@cache
def operations() -> tuple[WireOperation, ...]:
    client = boto3.client("sqs", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    return tuple(WireOperation(client.meta.service_model, name, client.exceptions) for name in HOT_METHODS.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="show what comes of this one")
    parser.add_argument("--count", type=int, default=1_000_000)
    options = parser.parse_args()
    if options.seed is not None:
        print(b"".join(break_something(options.seed)), read_broken(options.seed), sep="\n")
        return
    for seed in range(options.count):
        try:
            read_broken(seed)
        except BaseException:
            print(f"--seed {seed} shows it again")
            raise


if __name__ == "__main__":
    main()
