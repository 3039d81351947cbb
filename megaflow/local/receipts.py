"""Receipt handles: made for each receive, and read again."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from megaflow.local.refused import Refused


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt handle says. It needs no memory: a handle is known long after its message is gone."""

    queue_id: str
    number: int
    serial: int
    """The how-manieth receive of the message in this queue."""


def write_receipt(receipt: Receipt) -> str:
    """Make a receipt handle."""
    return urlsafe_b64encode(f"{receipt.queue_id} {receipt.number} {receipt.serial}".encode()).decode()


def read_receipt(handle: str) -> Receipt:
    """Read a receipt handle.

    Raises:
        Refused: ``ReceiptHandleIsInvalid``, nobody made such a handle here.
    """
    try:
        queue_id, number, serial = urlsafe_b64decode(handle.encode()).decode().split(" ")
        return Receipt(queue_id, int(number), int(serial))
    except ValueError as error:
        raise Refused(
            "ReceiptHandleIsInvalid",
            f'The input receipt handle "{handle}" is not a valid receipt handle.',
            status=404,
        ) from error
