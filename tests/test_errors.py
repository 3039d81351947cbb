"""One tree of errors: what they are, what they carry, what they say."""

from __future__ import annotations

import pickle

import pytest

import megaflow
from megaflow import errors
from megaflow.errors import (
    ConfigurationError,
    EarlierFailureError,
    EncodeError,
    FailedEntry,
    MegaflowError,
    PatternError,
    ProtocolError,
    PublishError,
    RegistrationError,
    UsageError,
    describe_error,
)

TREE = (
    ConfigurationError,
    RegistrationError,
    PatternError,
    ProtocolError,
    EncodeError,
    PublishError,
    UsageError,
)
LOST = FailedEntry(index=2, payload={"id": 2}, code="ReadTimeoutError", reason="no answer", unknown=True)


def failed(index: int) -> FailedEntry:
    return FailedEntry(index=index, payload={"id": index}, code="InternalError", reason="try again")


@pytest.mark.parametrize("error", TREE)
def test_every_error_is_under_one_root(error: type[Exception]) -> None:
    assert issubclass(error, MegaflowError)


@pytest.mark.parametrize("error", TREE)
def test_every_error_is_public_and_drawn_in_the_tree(error: type[Exception]) -> None:
    assert error.__name__ in megaflow.__all__
    assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("error", "python_error"),
    [(PatternError, ValueError), (ProtocolError, ValueError), (EncodeError, ValueError), (UsageError, RuntimeError)],
)
def test_what_python_has_a_word_for_is_that_as_well(error: type[Exception], python_error: type[Exception]) -> None:
    assert issubclass(error, python_error)


@pytest.mark.parametrize("error", [PatternError, ProtocolError, EncodeError])
def test_an_error_at_a_path_says_where_and_why(error: type[PatternError | ProtocolError | EncodeError]) -> None:
    caught = error("must be text", path="event.name")

    assert str(caught) == "event.name: must be text"
    assert (caught.path, caught.reason) == ("event.name", "must be text")


@pytest.mark.parametrize("error", [PatternError, ProtocolError, EncodeError])
def test_without_a_path_only_why(error: type[PatternError | ProtocolError | EncodeError]) -> None:
    caught = error("must be text")

    assert str(caught) == "must be text"
    assert caught.path == ""


def test_a_publish_error_carries_what_failed_and_what_went() -> None:
    caught = PublishError([failed(1), LOST], ["m-0", "", ""])

    assert caught.failed == (failed(1), LOST)
    assert caught.message_ids == ("m-0", "", "")


def test_a_publish_error_says_what_failed_and_why() -> None:
    caught = PublishError([failed(1), LOST], ["m-0", "", ""])

    assert str(caught) == (
        "1 of 3 messages were not sent, and 1 may have been sent or not: entry 1: InternalError: try again; "
        "entry 2: ReadTimeoutError: no answer (it is not known whether it was sent)"
    )


def test_a_publish_error_does_not_say_of_what_may_have_gone_that_it_did_not() -> None:
    caught = PublishError([LOST], ["m-0", "m-1", ""])

    assert str(caught) == (
        "1 of 3 messages may have been sent or not: "
        "entry 2: ReadTimeoutError: no answer (it is not known whether it was sent)"
    )


@pytest.mark.parametrize(
    ("error", "text", "type_"),
    [
        (ValueError("no card 4711"), "ValueError: no card 4711", "ValueError"),
        (EarlierFailureError("KeyError: 'card'"), "EarlierFailureError: KeyError: 'card'", "KeyError"),
        (EarlierFailureError("KeyError"), "EarlierFailureError: KeyError", "KeyError"),
        (EarlierFailureError(""), "EarlierFailureError: ", "EarlierFailureError"),
    ],
)
def test_an_error_is_described_with_its_text_or_by_its_type_alone(error: Exception, text: str, type_: str) -> None:
    assert describe_error(error) == text
    assert describe_error(error, with_text=False) == type_


@pytest.mark.parametrize(("count", "end"), [(3, "entry 2: InternalError: try again"), (4, "; and 1 more")])
def test_a_publish_error_shows_three_reasons_and_counts_the_rest(count: int, end: str) -> None:
    caught = PublishError([failed(index) for index in range(count)], [""] * count)

    assert str(caught).startswith(f"{count} of {count} messages were not sent: entry 0: InternalError: try again; ")
    assert str(caught).count("entry ") == 3
    assert str(caught).endswith(end)


def test_a_publish_error_does_not_quote_payloads() -> None:
    entry = FailedEntry(index=0, payload={"password": "hunter2"}, code="InternalError", reason="try again")

    assert "hunter2" not in str(PublishError([entry], [""]))


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("wait_time_seconds=21"),
        RegistrationError("no"),
        UsageError("use aprocess"),
        PatternError("must be text", path="a.b"),
        ProtocolError("is missing", "event.name"),
        EncodeError("bytes need binary_encoding=True", path="payload.a"),
        PublishError([failed(0)], ["", "m-1"]),
    ],
)
def test_errors_cross_process_boundaries_whole(error: MegaflowError) -> None:
    back = pickle.loads(pickle.dumps(error))

    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
