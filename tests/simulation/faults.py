"""The client of a simulated consumer: calls fail before or after they take effect, in whole or in part."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError

from megaflow.local import SqsClient

Answer = Mapping[str, Any]


class Fault(Enum):
    """What goes wrong with a call."""

    NONE = auto()
    FAILS = auto()
    ANSWER_LOST = auto()
    PARTLY_FAILS = auto()
    PARTLY_LOST = auto()
    OVER_LIMIT = auto()


class StoreFault(Enum):
    """What goes wrong with every call to a store, for a while."""

    NONE = auto()
    OUT = auto()
    READS_ONLY = auto()


@dataclass
class Weather:
    """How much goes wrong, from 0 to 1; it can clear up."""

    faults: float = 0.0
    hangs: float = 0.0
    slowest: float = 0.2
    store: StoreFault = StoreFault.NONE
    is_database_away: bool = False
    """Whether handlers that have a circuit breaker fail."""


class FaultyClient:
    """The embedded client, with one fault to come, set before each call; *observer* sees what took effect."""

    def __init__(self, sqs: SqsClient, randomness: random.Random, observer: Observer) -> None:
        self._sqs = sqs
        self._random = randomness
        self._observer = observer
        self.fault = Fault.NONE

    def draw_fault(self, weather: Weather) -> Fault:
        """Decide what goes wrong with the next call."""
        if self._random.random() >= weather.faults:
            return Fault.NONE
        return self._random.choice(list(Fault)[1:])

    def receive_message(self, **parameters: Any) -> Answer:
        if self.fault is Fault.OVER_LIMIT:
            raise ClientError({"Error": {"Code": "OverLimit", "Message": "too many"}}, "ReceiveMessage")
        # Time stands still during a call: whoever asks again does the waiting.
        return self._do("receive_message", parameters | {"WaitTimeSeconds": 0}, self._observer.note_received)

    def get_queue_attributes(self, **parameters: Any) -> Answer:
        return self._do("get_queue_attributes", parameters)

    def get_queue_url(self, **parameters: Any) -> Answer:
        return self._sqs.get_queue_url(**parameters)

    def send_message(self, **parameters: Any) -> Answer:
        return self._do("send_message", parameters, lambda answer: self._observer.note_dead_letter(parameters))

    def send_message_batch(self, **parameters: Any) -> Answer:
        return self._sqs.send_message_batch(**parameters)

    def delete_message_batch(self, **parameters: Any) -> Answer:
        self._observer.note_delete_tried(parameters)
        return self._do_batch("delete_message_batch", parameters, self._observer.note_deleted)

    def change_message_visibility_batch(self, **parameters: Any) -> Answer:
        return self._do_batch("change_message_visibility_batch", parameters, self._observer.note_hidden)

    def _do(self, operation: str, parameters: dict[str, Any], note: Callable[[Answer], None] | None = None) -> Answer:
        if self.fault is Fault.FAILS:
            raise ConnectionClosedError(endpoint_url="simulated")
        answer: Answer = getattr(self._sqs, operation)(**parameters)
        if note is not None:
            note(answer)
        if self.fault is Fault.ANSWER_LOST:
            raise ConnectionClosedError(endpoint_url="simulated")
        return answer

    def _do_batch(
        self, operation: str, parameters: dict[str, Any], note: Callable[[Mapping[str, Any]], None]
    ) -> Answer:
        entries = parameters["Entries"]
        unlucky = [entry for entry in entries if self._observer.is_unlucky(operation, entry)]
        if unlucky:
            rest = [entry for entry in entries if entry not in unlucky]
            answer = self._do_batch(operation, parameters | {"Entries": rest}, note) if rest else {}
            return {**answer, "Failed": [*answer.get("Failed", ()), *map(_fail, unlucky)]}
        if self.fault not in (Fault.PARTLY_FAILS, Fault.PARTLY_LOST):
            return self._do(operation, parameters, lambda answer: _each_done(parameters, answer, note))
        failing = [entry for entry in entries if self._random.random() < 0.5]
        done = entries if self.fault is Fault.PARTLY_LOST else [each for each in entries if each not in failing]
        answer = {"Successful": [], "Failed": []}
        if done:
            sent = parameters | {"Entries": done}
            answer |= getattr(self._sqs, operation)(**sent)
            _each_done(sent, answer, note)
        gone = {each["Id"] for each in failing}
        answer["Successful"] = [each for each in answer.get("Successful", ()) if each["Id"] not in gone]
        failed = [each for each in answer.get("Failed", ()) if each["Id"] not in gone]
        return {**answer, "Failed": [*failed, *map(_fail, failing)]}


class Observer:
    """Sees what takes effect in the queue, by the entries of the calls, and says which of these fail by themselves."""

    def is_unlucky(self, operation: str, entry: Mapping[str, Any]) -> bool:
        return False

    def note_received(self, answer: Answer) -> None: ...

    def note_dead_letter(self, parameters: Mapping[str, Any]) -> None: ...

    def note_delete_tried(self, parameters: Mapping[str, Any]) -> None: ...

    def note_deleted(self, entry: Mapping[str, Any]) -> None: ...

    def note_hidden(self, entry: Mapping[str, Any]) -> None: ...


def _fail(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"Id": entry["Id"], "Code": "InternalError", "SenderFault": False}


def _each_done(parameters: Mapping[str, Any], answer: Answer, note: Callable[[Mapping[str, Any]], None]) -> None:
    done = {each["Id"] for each in answer.get("Successful", ())}
    for entry in parameters["Entries"]:
        if entry["Id"] in done:
            note(entry)
