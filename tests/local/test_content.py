from __future__ import annotations

from typing import Any

import pytest

from megaflow.local.content import (
    Content,
    MessageAttribute,
    chosen,
    md5_of_attributes,
    read_attributes,
    read_content,
    show_attributes,
    size_of_entry,
)
from megaflow.local.refused import Refused

TRACE = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}}


def test_size_is_body_names_types_and_values() -> None:
    content = Content("grün", {"naïve": MessageAttribute("Binary", b"\x00\x01"), "n": MessageAttribute("Number", "19")})

    assert content.size == 5 + (6 + 6 + 2) + (1 + 6 + 2)


def test_the_trace_header_does_not_count() -> None:
    content = read_content({"MessageBody": "x", "MessageSystemAttributes": TRACE})

    assert content.size == 1
    assert content.system_attributes == {"AWSTraceHeader": MessageAttribute("String", "Root=1")}


def test_an_entry_has_a_size_whatever_is_wrong_with_it() -> None:
    attributes: dict[str, dict[str, Any]] = {
        "ab": {"DataType": "Nonsense", "StringValue": "\ud800"},
        "c": {"BinaryValue": bytearray(4)},
    }

    assert size_of_entry("x", attributes) == 1 + (2 + 8 + 3) + (1 + 4)


@pytest.mark.parametrize("value", [b"\x00\xff", bytearray(b"\x00\xff")])
def test_bytes_stay_bytes(value: bytes) -> None:
    attributes = read_attributes({"a": {"DataType": "Binary.png", "BinaryValue": value}})

    assert attributes == {"a": MessageAttribute("Binary.png", b"\x00\xff")}
    assert show_attributes(attributes) == {"a": {"DataType": "Binary.png", "BinaryValue": b"\x00\xff"}}


@pytest.mark.parametrize("number", ["0", "-1", "+1.5", "1e3", ".5", "5.", "1" * 38])
def test_numbers_are_taken_as_written(number: str) -> None:
    attributes = read_attributes({"a": {"DataType": "Number", "StringValue": number}})

    assert attributes["a"].value == number


@pytest.mark.parametrize("number", ["", "one", "1,5", "0x1", "NaN", "1 "])
def test_what_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(Refused, match="attribute 'a'"):
        read_attributes({"a": {"DataType": "Number", "StringValue": number}})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"DataType": "String", "StringValue": "a\x01"}, "InvalidParameterValue"),
        ({"DataType": "String", "StringListValues": ["a"]}, "UnsupportedOperation"),
        ({"DataType": "Binary", "BinaryListValues": [b"a"]}, "UnsupportedOperation"),
        ({"DataType": "Strings", "StringValue": "a"}, "InvalidParameterValue"),
        ({"DataType": "Binary", "StringValue": "a"}, "InvalidParameterValue"),
    ],
)
def test_a_wrong_value_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        read_attributes({"a": fields})


@pytest.mark.parametrize(
    "attributes",
    [
        {"Other": {"DataType": "String", "StringValue": "x"}},
        {"AWSTraceHeader": {"DataType": "Number", "StringValue": "1"}},
    ],
)
def test_the_trace_header_is_the_only_system_attribute(attributes: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="system attribute"):
        read_content({"MessageBody": "x", "MessageSystemAttributes": attributes})


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(Refused, match="InvalidMessageContents"):
        read_content({"MessageBody": "\ud800"})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], set()),
        (["All"], {"a.x", "a.y", "b"}),
        ([".*"], {"a.x", "a.y", "b"}),
        (["*"], {"a.x", "a.y", "b"}),
        (["a.*"], {"a.x", "a.y"}),
        (["a.*", "b"], {"a.x", "a.y", "b"}),
        (["b", "c"], {"b"}),
    ],
)
def test_attributes_are_chosen(names: list[str], expected: set[str]) -> None:
    attributes = {name: MessageAttribute("String", "x") for name in ("a.x", "a.y", "b")}

    assert set(chosen(attributes, names)) == expected


def test_the_sum_depends_on_the_kind_of_value() -> None:
    text, binary = MessageAttribute("Same", "x"), MessageAttribute("Same", b"x")

    assert md5_of_attributes({"a": text}) != md5_of_attributes({"a": binary})


def test_the_sum_does_not_depend_on_the_order() -> None:
    first, second = MessageAttribute("String", "x"), MessageAttribute("String", "y")

    assert md5_of_attributes({"a": first, "b": second}) == md5_of_attributes({"b": second, "a": first})
