"""A client that answers by script and keeps what it was asked, in place of boto3's for SQS and SNS."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from botocore.exceptions import ClientError

Parameters: TypeAlias = dict[str, Any]
Answer: TypeAlias = Mapping[str, Any]
Line: TypeAlias = Answer | Exception | Callable[[Parameters], Answer]
"""What a call comes to: this answer, this error, or what this function makes of its parameters."""


class ScriptedClient:
    """Answers call after call by its script, and when that has ended, sends whatever it is given.

    A message that is sent has the id ``"id of "`` and its body.
    """

    def __init__(self, *script: Line) -> None:
        self.calls: list[tuple[str, Parameters]] = []
        self._script = list(script)

    @property
    def asked(self) -> Parameters:
        """The parameters of the one call there was."""
        ((_, parameters),) = self.calls
        return parameters

    @property
    def batches(self) -> list[list[str]]:
        """The bodies of each batch call."""
        return [[body_of(entry) for entry in entries_of(parameters)] for _, parameters in self.calls]

    def send_message(self, **parameters: Any) -> Answer:
        return self._call("send_message", parameters)

    def send_message_batch(self, **parameters: Any) -> Answer:
        return self._call("send_message_batch", parameters)

    def receive_message(self, **parameters: Any) -> Answer:
        return self._call("receive_message", parameters)

    def delete_message_batch(self, **parameters: Any) -> Answer:
        return self._call("delete_message_batch", parameters)

    def change_message_visibility_batch(self, **parameters: Any) -> Answer:
        return self._call("change_message_visibility_batch", parameters)

    def get_queue_attributes(self, **parameters: Any) -> Answer:
        return self._call("get_queue_attributes", parameters)

    def get_queue_url(self, **parameters: Any) -> Answer:
        return self._call("get_queue_url", parameters)

    def publish(self, **parameters: Any) -> Answer:
        return self._call("publish", parameters)

    def publish_batch(self, **parameters: Any) -> Answer:
        return self._call("publish_batch", parameters)

    def _call(self, operation: str, parameters: Parameters) -> Answer:
        self.calls.append((operation, parameters))
        line = self._script.pop(0) if self._script else send_everything
        if isinstance(line, Exception):
            raise line
        return line(parameters) if callable(line) else line


def send_everything(parameters: Parameters) -> Answer:
    """Answer that the message, or every entry of the batch, was sent."""
    if "Entries" in parameters or "PublishBatchRequestEntries" in parameters:
        return {"Successful": [_sent(entry) for entry in entries_of(parameters)]}
    return {"MessageId": f"id of {body_of(parameters)}"}


def batch(
    *, failing: Mapping[str, str] | None = None, faulty: Collection[str] = (), silent: Collection[str] = ()
) -> Line:
    """Return an answer to a batch: all entries were sent, but not those with these bodies.

    Those *failing*, with a code, may be tried again; those *faulty* are the sender's fault; of those *silent* the
    answer does not speak.
    """
    codes = failing or {}

    def answer(parameters: Parameters) -> Answer:
        spoken_of = [entry for entry in entries_of(parameters) if body_of(entry) not in silent]
        bad = [entry for entry in spoken_of if body_of(entry) in codes or body_of(entry) in faulty]
        return {
            "Successful": [_sent(entry) for entry in spoken_of if entry not in bad],
            "Failed": [
                {
                    "Id": entry["Id"],
                    "Code": codes.get(body_of(entry), "InvalidMessageContents"),
                    "Message": f"no {body_of(entry)} today",
                    "SenderFault": body_of(entry) in faulty,
                }
                for entry in bad
            ],
        }

    return answer


def client_error(code: str, *, status: int = 400, retries: int = 0) -> ClientError:
    """Return what boto3 raises for an answer that refuses, after so many *retries* of its own."""
    return ClientError(
        {
            "Error": {"Code": code, "Message": f"{code}, it said"},
            "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": retries},
        },
        "AnyOperation",
    )


def entries_of(parameters: Parameters) -> list[Parameters]:
    """Return the entries of a batch call to either service."""
    return list(parameters.get("Entries") or parameters["PublishBatchRequestEntries"])


def body_of(entry: Parameters) -> str:
    """Return the body of a message to either service."""
    return str(entry["MessageBody"] if "MessageBody" in entry else entry["Message"])


def _sent(entry: Parameters) -> Parameters:
    return {"Id": entry["Id"], "MessageId": f"id of {body_of(entry)}"}
