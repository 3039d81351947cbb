"""Together: several calls in one request, each of which gets what it would have got alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from megaflow.errors import FailedEntry, PublishError
from megaflow.publishing.batches import BatchSender, EntryAnswer, Sent, read_error
from megaflow.publishing.gathering import Answer, Call, copy_error
from megaflow.publishing.offloading import NOT_STORED
from megaflow.publishing.outgoing import Prepared
from megaflow.transport.errors import is_refused_message, is_too_large

Count: TypeAlias = Callable[[Iterable[EntryAnswer]], None]


def send_together(
    calls: Sequence[Call],
    make_sender: Callable[[Count], BatchSender],
    send_alone: Callable[[Call], str],
    *,
    count: Count,
    make_error: Callable[[str, str], Exception],
) -> list[Answer]:
    """Send *calls* by the sender that *make_sender* makes, and return a message id or an error for each.

    Where the request is refused for what is in it, each goes alone: the others are not to suffer from one. *count*
    counts what else became of them. *make_error* makes the error for a code and a text of AWS's.
    """
    if len(calls) == 1:
        return [_try(send_alone, calls[0])]
    said: list[EntryAnswer] = []
    sender = make_sender(said.extend)
    sent = sender.send([replace(call.message, index=place) for place, call in enumerate(calls)])
    cause = sender.cause
    go_alone = cause is not None and is_refused_message(cause) and not read_error(cause).unknown
    count([each for each in said if each.sent or not go_alone])
    if go_alone:
        return [each.message_id or _try(send_alone, call) for call, each in zip(calls, sent, strict=True)]
    return [
        each.message_id or _explain(each, call.message, cause, make_error)
        for call, each in zip(calls, sent, strict=True)
    ]


def _try(send_alone: Callable[[Call], str], call: Call) -> Answer:
    """Return the message id of *call*, or the error that *send_alone* raises."""
    try:
        return send_alone(call)
    except BaseException as error:  # noqa: BLE001 - it is for whoever waits
        return error


def describe_too_large(error: Exception, message: Prepared) -> PublishError | None:
    """Return what says more than *error*, where that says that *message* is too large; else None."""
    if not is_too_large(error):
        return None
    said = read_error(error)
    reason = f"{said.reason} It has {message.size:,} bytes, and the destination takes fewer"
    described = PublishError([FailedEntry(0, message.source.payload, said.code, reason, said.unknown)], [""])
    described.__cause__ = error
    return described


def make_client_error(client: object, code: str, reason: str) -> Exception:
    """Return the error that *client* raises for a message of its own that AWS answers so."""
    from botocore.exceptions import ClientError

    find = getattr(getattr(client, "exceptions", None), "from_code", None)
    kind: type[Exception] = ClientError if find is None else find(code)
    return kind({"Error": {"Code": code, "Message": reason}, "ResponseMetadata": {}}, "Publish")


def _explain(
    sent: Sent, message: Prepared, cause: Exception | None, make_error: Callable[[str, str], Exception]
) -> BaseException:
    failure = sent.failure or FailedEntry(sent.index, message.source.payload, "NoAnswer", "", unknown=True)
    if cause is not None and read_error(cause)[1:3] == (failure.code, failure.reason):
        return copy_error(cause)
    if failure.unknown or failure.code == NOT_STORED:
        return PublishError([replace(failure, index=0)], [""])
    error = make_error(failure.code, failure.reason)
    return describe_too_large(error, message) or error
