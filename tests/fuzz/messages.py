"""Messages made at random: right ones, and what an attacker, a bug or another language may make of them.

Each is made from a seed and its place alone, so that any of them can be made again.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

from megaflow.limits import DIGITS, NESTING
from megaflow.messages.bson import encode_document

Received: TypeAlias = dict[str, Any]
"""A message as ``receive_message`` of boto3 gives it."""

QUEUE_URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
TOPIC_ARN = "arn:aws:sns:eu-west-1:123456789012:orders"

_WORDS = (
    *("order", "refund", "ping", "paid", "user:7", "ORDER", "", "a", "none", "10.1.2.3", "2026-02-28", "19.99", "NaN"),
    *(
        "2026-11-30T03:59:19Z",
        "0000-00-00",
        "99999-01-01",
        "1e400000",
        "infinity",
        "0x1F",
        "a" * 300,
        "user@example.com",
    ),
    *(
        "\x1b]52;c;aGk=\x07",
        "\x1b[2J",
        "a\nb",
        "a\r\nmessage 4711: deleted",
        "\u202egnp",
        "\x9b31m",
        "\0",
        "\ud800",
        "e\u0301",
    ),
    *("\U0001f600", "\u2028", "$$__CLASS_NAME__$$", "${jndi:ldap://x}", "{}", "[]", '"', "\\", "a" * 28 + "!"),
)
_KEYS = (
    *("type", "id", "status", "total", "user", "items", "tags", "address", "at", "price", "protocol", "version"),
    *(
        "event",
        "object",
        "name",
        "domain",
        "attributes",
        "current",
        "Type",
        "TopicArn",
        "Message",
        "MessageId",
        "Timestamp",
    ),
    *("Signature", "MessageAttributes", "extra", "", "$ref", "$id", "_id", "a.b", "0", "__class__", "\ud800", "\x1b"),
)
_FITTING: tuple[dict[str, Any], ...] = (
    {"user": {"name": "user@example.com", "address": "10.1.2.3"}},
    {"tags": ["a", "user:7"], "items": [1, 7]},
    {"items": [0.5], "at": "2026-02-28"},
    {"price": "19.99", "id": 7},
    {"extra": {}, "name": "aab"},
    {"type": "user:7", "id": 1},
)
"""What some handlers of the app ask for."""

_NUMBERS = (0, 1, -1, 7, 100, 101, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 0.5, -0.0, 1e308, 19.99, 10**40)
_RAW_JSON = ("NaN", "Infinity", "-Infinity", "1e400", "-1e-400", '"\\ud800"', '"\\udc00\\ud800"', "1E5", "0.1e1", "-0")
_LARGE = 100_000
"""Characters of a body, after which no envelope is put around it: each may be six times as large as what it holds."""

_NAMES = ("tenant", "price", "blob", "a.b", "x" * 256, "Content-Type", "ExtendedPayloadSize", "SQSLargePayloadSize")
_VALUES_OF_NUMBERS = (
    *("1", "-7", "1.50", "NaN", "sNaN", "-nan123", "Infinity", "1e400000", "-1e400000", "1e-400000", "0x10", "", "१२"),
    *("1_000", "9" * 41, "9" * 5_000, "1" + "0" * 39, " 1 ", "1e5", "\x1b", "1e999999999999999999"),
)


def make(seed: int, place: int) -> Received:
    """Return the message at *place* of those that *seed* makes."""
    random = Random(f"{seed} {place}")
    attributes = _make_attributes(random) if random.random() < 0.4 else {}
    system = {"ApproximateReceiveCount": str(random.choice((1, 1, 1, 2, 3, 1_000))), "SentTimestamp": "1796000000000"}
    if random.random() < 0.1:
        system["MessageGroupId"] = random.choice(("g", "a/b", "!" * 128))
    body = make_body(random)
    if random.random() < 0.05:
        body, attributes["megaflow-kind"] = _make_base64(random), _string("binary")
    made = {
        "MessageId": f"m-{seed}-{place}",
        "ReceiptHandle": f"r-{seed}-{place}",
        "Body": body,
        "Attributes": system,
    }
    return made | ({"MessageAttributes": attributes} if attributes else {})


def make_body(random: Random) -> str:
    """Return a body, spoilt a little in one of four."""
    body = random.choices(_BODIES, _WEIGHTS)[0](random)
    return _spoil(random, body) if random.random() < 0.25 else body


def _make_event(random: Random) -> str:
    event: dict[str, Any] = {
        "name": random.choice(("paid", "item.added", "")),
        "version": random.choice((1, 2, 0, "1")),
    }
    event |= {"domain": random.choice(("shop", "shopping_cart")), "timestamp": _choose_time(random)}
    event["attributes"] = {"item_id": _make_scalar(random), "quantity": random.choice((0, 5, "5", None, 10**20))}
    document: dict[str, Any] = {"protocol": "mega", "version": random.choice((1, 1, 1, 2, "1")), "event": event}
    if random.random() < 0.5:
        document["object"] = {"type": "cart", "id": "c", "version": 1, "current": _make_object(random, 2)}
    if random.random() < 0.3:
        document["extra"] = _make_object(random, 2)
    if random.random() < 0.3:
        _forget_or_change(random, random.choice((document, event)))
    return _write(random, document)


def _make_data(random: Random) -> str:
    document = {
        "type": random.choice(("order", "refund", "user:7", "note")),
        "id": random.choice((*_NUMBERS, "7", None)),
        "status": random.choice(
            ("DONE", "RETRY_LATER", "RETRIABLE_ERROR", "FATAL_ERROR", "reject", "raise", "later", "")
        ),
        "total": random.choice(_NUMBERS),
    }
    document |= _make_object(random, 3)
    if random.random() < 0.3:
        document |= random.choice(_FITTING)
    if random.random() < 0.3:
        _forget_or_change(random, document)
    return _write(random, document)


def _make_text(random: Random) -> str:
    if random.random() < 0.5:
        return random.choice(_WORDS)
    return "".join(
        random.choice(_WORDS) if random.random() < 0.3 else _choose_char(random) for _ in range(random.randrange(60))
    )


def _make_pointer(random: Random) -> str:
    name = random.choice(
        ("software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer")
    )
    return json.dumps([name, {"s3BucketName": random.choice(_WORDS), "s3Key": random.choice(_WORDS)}])


def _make_base64(random: Random) -> str:
    return b64encode(random.randbytes(random.randrange(80))).decode()


def _make_bson(random: Random) -> str:
    """Return a document in BSON, with some of its bytes changed as often as not."""
    blob = bytearray(_encode(random, random.choice((_make_event, _make_data))(random)))
    if random.random() < 0.5:
        for _ in range(random.randrange(1, 4)):
            place = random.randrange(len(blob))
            blob[place] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
    return b64encode(bytes(blob)).decode()


def _encode(random: Random, body: str) -> bytes:
    try:
        return encode_document(json.loads(body))
    except Exception:  # noqa: BLE001 - neither module says which values it cannot write
        return encode_document({"type": "order", "id": random.randrange(10), "blob": random.randbytes(8)})


def _make_envelope(random: Random) -> str:
    body = make_body(random) if random.random() < 0.8 else random.choice(_WORDS)
    for _ in range(random.choice((1, 1, 1, 2, 3, 4, 5, 9))):
        envelope: dict[str, Any] = {
            "Type": random.choice(("Notification",) * 6 + ("SubscriptionConfirmation", "UnsubscribeConfirmation", "X")),
            "MessageId": random.choice(("n-1", *_WORDS)),
            "TopicArn": random.choice((TOPIC_ARN, TOPIC_ARN, *_WORDS)),
            "Message": body,
            "Timestamp": _choose_time(random),
            "Signature": "x",
        }
        if random.random() < 0.3:
            envelope["MessageAttributes"] = {
                random.choice((*_NAMES, "megaflow-kind", "megaflow-origin")): random.choice(
                    (
                        {"Type": "String", "Value": random.choice(("text", "binary", "data"))},
                        {"Type": 7},
                        [],
                        None,
                        {"Type": "Number", "Value": random.choice(_VALUES_OF_NUMBERS)},
                        {"Type": "Binary", "Value": "@"},
                    )
                )
            }
        if random.random() < 0.2:
            envelope |= {"Subject": _make_scalar(random), "SubscribeURL": random.choice(_WORDS)}
        if random.random() < 0.2:
            _forget_or_change(random, envelope)
        body = _write(random, envelope)
        if len(body) > _LARGE:
            break
    return body


def _make_deep(random: Random) -> str:
    depth = random.choice((NESTING - 1, NESTING, NESTING + 1, 2 * NESTING, 1_000, 20_000))
    opening, closing = random.choice((('{"a":', "}"), ("[", "]"), ('[{"a":', "}]")))
    inner = random.choice(("1", "{}", "[]", "NaN")) + closing * random.choice((depth, depth, depth - 1))
    inner = f"{opening * depth}{inner}"
    claim = random.choice(('"type":"order",', '"protocol":"mega",', '"protocol" : "mega","version":1,', ""))
    return f'{{{claim}"deep":{inner}}}' if random.random() < 0.8 else inner


def _make_digits(random: Random) -> str:
    number = random.choice("123456789") * random.choice((DIGITS - 1, DIGITS, DIGITS + 1, 20_000))
    number = random.choice((number, f"-{number}", f"{number}.5", f"{number}e5", f"0.{number}", f'"{number}"'))
    claim = random.choice(('"type":"order",', '"protocol":"mega","version":1,'))
    return f'{{{claim}"total":{number}}}'


_MAKERS: dict[Callable[[Random], str], int] = {
    _make_event: 20,
    _make_data: 25,
    _make_text: 12,
    _make_envelope: 15,
    _make_bson: 10,
    _make_base64: 5,
    _make_pointer: 3,
    _make_deep: 2,
    _make_digits: 1,
}
_BODIES, _WEIGHTS = list(_MAKERS), list(_MAKERS.values())


def _write(random: Random, document: dict[str, Any]) -> str:
    """Return *document* as JSON, with what JSON may hold and Python does not write, here and there."""
    text = json.dumps(document, ensure_ascii=random.random() < 0.8, indent=random.choice((None, None, None, 1)))
    if random.random() < 0.1:
        text = text.replace("19.99", random.choice(_RAW_JSON)).replace('"a"', random.choice(_RAW_JSON))
    if random.random() < 0.03:
        text = text.replace("{", '{"type": "order", "type": null, ', 1)
    return text


def _make_object(random: Random, depth: int) -> dict[str, Any]:
    return {random.choice(_KEYS): _make_value(random, depth - 1) for _ in range(random.randrange(4))}


def _make_value(random: Random, depth: int) -> Any:
    chance = random.random()
    if depth <= 0 or chance < 0.5:
        return _make_scalar(random)
    if chance < 0.75:
        return _make_object(random, depth)
    return [_make_value(random, depth - 1) for _ in range(random.randrange(4))]


def _make_scalar(random: Random) -> Any:
    return random.choice((random.choice(_WORDS), random.choice(_NUMBERS), True, False, None))


def _choose_time(random: Random) -> Any:
    return random.choice(("2026-11-30T03:59:19.123Z", "2026-11-30T03:59:19+99:99", "1", _make_scalar(random)))


def _choose_char(random: Random) -> str:
    return chr(random.choice((random.randrange(128), random.randrange(0x300), random.randrange(0x110000))))


def _forget_or_change(random: Random, document: dict[str, Any]) -> None:
    name = random.choice(list(document) or ["a"])
    if random.random() < 0.5:
        document.pop(name, None)
    else:
        document[name] = _make_value(random, 2)


def _spoil(random: Random, body: str) -> str:
    """Return *body* with something changed, cut out, said twice, or put in."""
    place = random.randrange(len(body) + 1)
    end = min(len(body), place + random.randrange(1, 9))
    return random.choice(
        (
            body[:place],
            body[:place] + body[end:],
            body[:end] + body[place:],
            f" \n{body}\t",
            body[:place] + random.choice((*_WORDS, *_RAW_JSON, _choose_char(random))) + body[place:],
        )
    )


def _make_attributes(random: Random) -> dict[str, dict[str, Any]]:
    made = {random.choice(_NAMES): _make_attribute(random) for _ in range(random.randrange(4))}
    if random.random() < 0.4:
        kind = random.choice(("text", "binary", "data", "mega", "any", "TEXT", "\x1b", ""))
        made["megaflow-kind"] = random.choice((_string(kind), _make_attribute(random)))
    if random.random() < 0.5:
        made["megaflow-origin"] = random.choice((_string(_make_origin(random)), _make_attribute(random)))
    return made


def _make_attribute(random: Random) -> dict[str, Any]:
    chance = random.random()
    if chance < 0.4:
        return {
            "DataType": random.choice(("Number", "Number.eur", "NumberArray")),
            "StringValue": random.choice(_VALUES_OF_NUMBERS),
        }
    if chance < 0.6:
        return {
            "DataType": random.choice(("Binary", "Binary.png")),
            "BinaryValue": random.randbytes(random.randrange(20)),
        }
    return {
        "DataType": random.choice(("String", "String.\x1b", "String.Array", "")),
        "StringValue": random.choice(_WORDS),
    }


def _make_origin(random: Random) -> str:
    """Return what forged or damaged ``megaflow-origin`` says."""
    said: dict[str, Any] = {
        "message_id": random.choice(("m-1", *_WORDS)),
        "queue": random.choice((QUEUE_URL, "https://sqs.eu-west-1.amazonaws.com/123456789012/payments", *_WORDS)),
        "failed": random.choice(
            ({"shop.reserve": "ValueError: no"}, {random.choice(_WORDS): _make_scalar(random)}, [1], None)
        ),
        "finished": random.choice((["shop.notify"], {}, _make_scalar(random))),
        "problem": random.choice(("no handler matched", _make_scalar(random), [], {})),
    }
    if random.random() < 0.3:
        _forget_or_change(random, said)
    text = json.dumps(said, ensure_ascii=random.random() < 0.7)
    return random.choice((text, text, text, _spoil(random, text), "[" * 5_000, f'{{"queue": {"9" * 5_000}}}', "null"))


def _string(value: str) -> dict[str, Any]:
    return {"DataType": "String", "StringValue": value}
