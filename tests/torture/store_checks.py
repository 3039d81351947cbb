"""What the ledger must say of stores: nothing that is remembered or held runs again, and nobody goes on without them.

No I/O.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.torture.excuses import find_faults, given_up_at, may_cost_lease, name
from tests.torture.ledger import COMPLETIONS, Entry, Key, What
from tests.torture.settings import READ_TIMEOUT, WAIT_TIME

GRACE: Final = 1.0
"""Seconds after a consumer found its store out within which what it had begun before may come to its handler."""

POLLS_END: Final = WAIT_TIME + READ_TIMEOUT + GRACE
"""Seconds within which polls that were under way as an outage began bring messages."""

_OUTAGE: Final = frozenset({What.UNWELL, What.FAILED})
_NOTICED: Final = 0.3
"""Seconds that a store takes to remember only where it is out."""


def check_stores(queue: str, entries: Sequence[Entry]) -> Iterator[str]:
    """Give every violation that the *entries* of one *queue* show."""
    yield from (f"{queue}: {said}" for said in _check_remembered(entries))
    yield from (f"{queue}: {said}" for said in _check_held(entries))
    yield from (f"{queue}: {said}" for said in _check_outages(entries))
    yield from (f"{queue}: {said}" for said in _check_refused(entries))


def _check_remembered(entries: Iterable[Entry]) -> Iterator[str]:
    """A handler that a store remembers to have finished is not called for whoever asks the store after that."""
    remembered: set[str] = set()
    keys: dict[str, Key] = {}
    done: set[Key] = set()
    warned: dict[tuple[int, str], str] = {}
    for entry in entries:
        mine = (entry.pid, entry.work)
        match entry.what:
            case What.REMEMBERED:
                remembered.add(entry.work)
            case What.KEY_DONE:
                done.add(keys[entry.work])
            case What.ASKED:
                warned[mine] = "the store had remembered its end" if entry.work in remembered else ""
            case What.CLAIMING if keys.get(entry.work) in done:
                warned[mine] = "its idempotency key was done"
            case What.START:
                keys[entry.work] = entry.key
                if why := warned.get(mine):
                    yield f"{name(entry)} was run again by {entry.pid} at {entry.at:.3f}, although {why} before"


def _check_held(entries: Sequence[Entry]) -> Iterator[str]:
    """What a handler has finished is held until the store has it, unless its process ends, or the lease is lost."""
    faults, given_up = find_faults(entries), given_up_at(entries)
    held: dict[str, Entry] = {}
    for entry in entries:
        if entry.what in COMPLETIONS:
            held[entry.work] = entry
        elif entry.what is What.REMEMBERED:
            held.pop(entry.work, None)
        elif entry.what is What.GONE:
            held = {work: end for work, end in held.items() if end.pid != entry.pid}
        elif entry.what is What.START and (end := held.pop(entry.work, None)):
            is_given_up = entry.at >= given_up.get(end.pid, math.inf)
            if not is_given_up and not _are_any(faults, end, entry):
                yield (
                    f"{name(entry)} was run again by {entry.pid} at {entry.at:.3f}, although {end.pid} had finished it "
                    f"at {end.at:.3f}, and had not ended before its store had that"
                )


def _check_outages(entries: Sequence[Entry]) -> Iterator[str]:
    """From when a consumer knows that its store is out until that is well, it begins and receives nothing."""
    faults = find_faults(entries)
    late = [fault for fault in faults if fault.what is What.LATE]
    outages = _Outages()
    quiet: dict[int, Entry] = {}
    asked: dict[tuple[int, str], Entry] = {}
    for entry in entries:
        began = outages.take(entry)
        if entry.what is What.ASKED:
            asked[entry.pid, entry.work] = entry
        if began is None:
            quiet.pop(entry.pid, None)
        elif entry.what in _OUTAGE and entry.at > began.at + POLLS_END:
            known = quiet.setdefault(entry.pid, entry)
            if entry.received != known.received and not _are_any(faults, began, entry):
                yield (
                    f"process {entry.pid} received {entry.received - known.received} messages between "
                    f"{known.at:.3f} and {entry.at:.3f}, and its store was out since {began.at:.3f}"
                )
        elif entry.what is What.START:
            ask = asked.get((entry.pid, entry.work), entry)
            if ask.at > began.at + GRACE and not _are_any(late, began, entry):
                yield (
                    f"{name(entry)} was begun by {entry.pid} at {ask.at:.3f}, "
                    f"and its store was out since {began.at:.3f}"
                )


@dataclass(slots=True)
class _Outages:
    """Since when consumers know that their stores are out, told line by line.

    Where it is known that a store is out, no consumer is believed that says otherwise.
    """

    known: dict[int, Entry] = field(default_factory=dict)
    out: dict[int, Entry] = field(default_factory=dict)

    def take(self, entry: Entry) -> Entry | None:
        """Take the next line, and return since when its consumer knows; None where it does not."""
        pid, out = entry.pid, self.out.get(entry.pid)
        if entry.what is What.OUT:
            self.out[pid] = entry
        elif entry.what is What.HEALED:
            self.out.pop(pid, None)
        elif entry.what is What.UNWELL or (entry.what is What.FAILED and out is not None):
            self.known.setdefault(pid, entry)
        elif entry.what is What.WELL and (out is None or entry.at < out.at + GRACE):
            # What was found right before may be noted right after.
            self.known.pop(pid, None)
        return self.known.get(pid)


def _are_any(faults: Iterable[Entry], since: Entry, until: Entry) -> bool:
    return any(may_cost_lease(fault, since.at, until.at) for fault in faults)


def _check_refused(entries: Sequence[Entry]) -> Iterator[str]:
    """Where a store cannot be used at the start, nothing is received."""
    refused = {entry.pid: entry for entry in entries if entry.what is What.REFUSED}
    for entry in refused.values():
        if entry.received:
            yield f"process {entry.pid} received {entry.received} messages, and its store could not be used"
    for entry in entries:
        if entry.what is What.START and entry.pid in refused:
            yield f"{name(entry)} was run by {entry.pid}, whose store could not be used"


def summarize_stores(entries: Iterable[Entry]) -> str:
    """Return in one line what the stores went through."""
    finished: dict[str, Entry] = {}
    outages: dict[int, Entry] = {}
    lengths: list[float] = []
    held: list[float] = []
    saved: defaultdict[str, int] = defaultdict(int)
    for entry in entries:
        if entry.what in COMPLETIONS:
            finished[entry.work] = entry
        elif entry.what is What.REMEMBERED:
            saved[entry.work] += 1
            if entry.work in finished:
                held.append(entry.at - finished.pop(entry.work).at)
        elif entry.what is What.UNWELL:
            outages.setdefault(entry.pid, entry)
        elif entry.what is What.WELL and entry.pid in outages:
            lengths.append(entry.at - outages.pop(entry.pid).at)
    waited = [seconds for seconds in held if seconds > _NOTICED]
    return (
        f"stores: {len(saved)} messages remembered; {len(lengths)} outages of a consumer that ended, after "
        f"{max(lengths, default=0.0):.1f} s at most; {len(waited)} runs were held until their store had them, for "
        f"{max(waited, default=0.0):.1f} s at most"
    )
