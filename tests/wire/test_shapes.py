"""What is plain, botocore's own parser gives back as it is; and whole answers of SQS are plain."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.parsers import ResponseParserFactory
from hypothesis import given
from hypothesis import strategies as st

from megaflow.wire.fallback import HOT_METHODS
from megaflow.wire.shapes import compile_plain
from tests.wire.fuzz import BODIES, MESSAGE, ODD

MODEL = boto3.client("sqs", region_name="us-east-1").meta.service_model
SHAPES = {name: MODEL.operation_model(name).output_shape for name in HOT_METHODS.values()}
PLAIN = {name: compile_plain(shape) for name, shape in SHAPES.items() if shape is not None}

odd = st.sampled_from(ODD)
texts = st.text(max_size=5) | odd
attributes = st.dictionaries(
    st.text(max_size=3),
    st.dictionaries(st.sampled_from(["DataType", "StringValue", "BinaryValue", "StringListValues", "x"]), texts) | odd,
    max_size=2,
)
entries = st.dictionaries(st.sampled_from(["Id", "MessageId", "Code", "SenderFault", "x"]), texts)
messages = st.fixed_dictionaries(
    {},
    optional={
        "MessageId": texts,
        "Body": texts,
        "Attributes": st.dictionaries(st.text(max_size=3), texts, max_size=2) | odd,
        "MessageAttributes": attributes | odd,
        "Unheard": texts,
    },
)
answers = st.fixed_dictionaries(
    {},
    optional={
        "Messages": st.lists(messages | odd, max_size=3) | odd,
        "Successful": st.lists(entries | odd, max_size=3) | odd,
        "Failed": st.lists(entries, max_size=3) | odd,
        "MessageId": texts,
        "Unheard": texts,
    },
)


def parse(name: str, given_: dict[str, Any]) -> dict[str, Any]:
    response = {"status_code": 200, "headers": {}, "body": json.dumps(given_).encode()}
    parsed: dict[str, Any] = ResponseParserFactory().create_parser("json").parse(response, SHAPES[name])
    del parsed["ResponseMetadata"]
    return parsed


@given(st.sampled_from(sorted(PLAIN)), answers)
def test_what_is_plain_is_given_back_as_it_is(name: str, given_: dict[str, Any]) -> None:
    assert not PLAIN[name](given_) or parse(name, given_) == given_


@pytest.mark.parametrize(
    ("name", "given_"),
    [
        ("ReceiveMessage", {"Messages": [{**MESSAGE, "MessageAttributes": {}}] * 10}),
        ("ReceiveMessage", {}),
        ("SendMessage", BODIES[3]),
        ("DeleteMessageBatch", {"Successful": [{"Id": "0"}], "Failed": []}),
        ("SendMessageBatch", BODIES[4]),
    ],
)
def test_what_sqs_answers_is_plain(name: str, given_: dict[str, Any]) -> None:
    assert PLAIN[name](given_)


@pytest.mark.parametrize(
    "given_",
    [
        {"Messages": [MESSAGE]},
        {"Messages": [{"Body": "b", "Unheard": "of"}]},
        {"Messages": [{"Body": None}]},
        {"Messages": None},
        {"Messages": {}},
        {"Messages": ["text"]},
        {"Unheard": "of"},
    ],
    ids=["binary", "unknown", "null", "null list", "no list", "no object", "unknown beside"],
)
def test_what_botocore_would_change_is_not_plain(given_: dict[str, Any]) -> None:
    assert not PLAIN["ReceiveMessage"](given_)
