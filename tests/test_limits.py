"""The numbers and characters of SQS and SNS, as AWS's pages give them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaflow import limits


def test_the_numbers_are_those_of_aws() -> None:
    assert limits.SQS_MESSAGE_SIZE == 1024 * 1024
    assert limits.SNS_MESSAGE_SIZE == 256 * 1024
    assert limits.MESSAGE_ATTRIBUTES == 10
    assert limits.BATCH_ENTRIES == 10
    assert limits.DELAY == 15 * 60
    assert limits.VISIBILITY_TIMEOUT == 12 * 60 * 60
    assert limits.WAIT_TIME == 20
    assert limits.RECEIVED_MESSAGES == 10
    assert limits.SNS_SUBJECT_LENGTH == 100
    assert limits.GROUP_ID_LENGTH == 128


def sqs_takes(character: str) -> bool:
    """The sentence of AWS's page: #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF."""
    code = ord(character)
    return code in (0x9, 0xA, 0xD) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000


@given(text=st.text(st.characters()))
def test_the_first_refused_character_is_found(text: str) -> None:
    refused = [character for character in text if not sqs_takes(character)]

    assert limits.refused_character(text) == (refused[0] if refused else None)


@pytest.mark.parametrize(
    "character", ["\t", "\n", "\r", " ", "\x7f", "\x85", "\ud7ff", "\ue000", "\ufffd", "\U0010ffff"]
)
def test_characters_at_the_edge_of_what_sqs_takes(character: str) -> None:
    assert limits.refused_character(f"a{character}b") is None


@pytest.mark.parametrize("code", [0x0, 0x8, 0xB, 0xC, 0x1F, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF])
def test_characters_just_beyond_it(code: int) -> None:
    character = chr(code)

    assert limits.refused_character(f"a{character}b") == character


@pytest.mark.parametrize("name", ["a", "A.b-c_9", "megaflow-kind", "awesome", "aws", "my.aws.name", "x" * 256])
def test_names_that_a_message_attribute_can_have(name: str) -> None:
    assert limits.allows_attribute_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".a", "a.", "a..b", "AWS.a", "aws.a", "Amazon.a", "aMaZoN.a", "a b", "gr\u00fcn", "a\n", "x" * 257, "."],
)
def test_names_that_it_cannot_have(name: str) -> None:
    assert not limits.allows_attribute_name(name)


@pytest.mark.parametrize("value", ["a", "0", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "x" * 128])
def test_what_a_group_id_can_be(value: str) -> None:
    assert limits.allows_group_id(value)


@pytest.mark.parametrize("value", ["", " ", "a b", "gr\u00fcn", "a\n", "\x7f", "x" * 129])
def test_what_it_cannot_be(value: str) -> None:
    assert not limits.allows_group_id(value)
