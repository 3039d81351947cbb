"""Why a message may be handled twice all the same: a fault may have cost the lease, or its consumer has given it up."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from tests.torture.ledger import Entry, What
from tests.torture.settings import READ_TIMEOUT, SHUTDOWN_TIMEOUT, VISIBILITY_TIMEOUTS

AFTERMATH: Final = max(VISIBILITY_TIMEOUTS) + 2 * READ_TIMEOUT
"""Seconds after a fault within which a lease may be lost by it: its extension hung, was tried again, and then ended."""


def find_faults(entries: Iterable[Entry]) -> list[Entry]:
    """Return what may cost leases. What befalls a store does not."""
    return [entry for entry in entries if entry.what in (What.FAULT, What.LATE)]


def may_cost_lease(fault: Entry, since: float, until: float) -> bool:
    """Tell whether a lease may be lost by a fault between these times."""
    # A fault is noted as it begins; that somebody was late, once he knows.
    begins = fault.at - (fault.seconds if fault.what is What.LATE else 0.0)
    return begins <= until and since <= fault.at + fault.seconds + AFTERMATH


def given_up_at(entries: Iterable[Entry]) -> dict[int, float]:
    """Return when each consumer that was asked to stop gives up its handlers: a second signal does not wait."""
    times: dict[int, float] = {}
    for entry in entries:
        if entry.what is What.STOP:
            later = entry.at if entry.pid in times else entry.at + SHUTDOWN_TIMEOUT
            times[entry.pid] = min(times.get(entry.pid, math.inf), later)
    return times


def name(entry: Entry) -> str:
    """Return what to call a message."""
    return f"message {entry.group or 'number'} {entry.number} ({entry.message_id or 'id unknown'})"
