"""What the ledger must say, and what it shows otherwise. No I/O."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from tests.torture.excuses import find_faults, given_up_at, may_cost_lease, name
from tests.torture.ledger import COMPLETIONS, RUN_ENDS, Entry, Key, What
from tests.torture.outcomes import fails_for_good
from tests.torture.store_checks import check_stores, summarize_stores


class Excuse(Enum):
    """Why two runs of one message could be under way at once."""

    NONE = "unexplained"
    FAULT = "after a fault, which may have cost the lease"
    GIVEN_UP = "beside a handler that its stopping consumer had given up"


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two runs of one message at once."""

    first: Entry
    second: Entry
    excuse: Excuse


@dataclass(slots=True)
class _Runs:
    """Which runs are under way, told line by line."""

    by_message: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))

    def end(self, entry: Entry) -> None:
        runs = self.by_message[entry.message_id]
        for run in [run for run in runs if run.pid == entry.pid][:1]:
            runs.remove(run)

    def end_all(self, pid: int) -> None:
        for runs in self.by_message.values():
            runs[:] = [run for run in runs if run.pid != pid]


def check(seed: int, queue: str, entries: Sequence[Entry], dead: Mapping[Key, int]) -> Iterator[str]:
    """Give every violation that the *entries* of one *queue* show; *dead* is what its dead-letter queue holds."""
    yield from _check_handled(seed, queue, entries, dead)
    yield from _check_dead(queue, entries, dead)
    yield from check_stores(queue, entries)
    yield from _check_limits(queue, entries)
    if queue == "fifo":
        yield from _check_order(entries)
    for overlap in find_overlaps(entries):
        if overlap.excuse is Excuse.NONE:
            first, second = overlap.first, overlap.second
            yield (
                f"{queue}: {name(first)} was run at once by process {first.pid} (since {first.at:.3f}) and "
                f"{second.pid} (from {second.at:.3f}, receive count {second.receive_count}), and no fault explains it"
            )


def _check_handled(seed: int, queue: str, entries: Sequence[Entry], dead: Mapping[Key, int]) -> Iterator[str]:
    ended = {entry.key for entry in entries if entry.what is What.END}
    for entry in entries:
        if entry.what is not What.SENT:
            continue
        if fails_for_good(seed, entry.key):
            if entry.key not in dead:
                yield f"{queue}: {name(entry)} was not dead-lettered: {_tell(entries, entry)}"
        elif entry.key not in ended:
            yield f"{queue}: {name(entry)} was lost, no run of it was completed: {_tell(entries, entry)}"


def _tell(entries: Iterable[Entry], about: Entry) -> str:
    """Return the history of a message in short."""
    runs = [entry for entry in entries if entry.key == about.key and entry.pid != about.pid]
    return ", ".join(f"{run.what} by {run.pid} at {run.at:.3f}" for run in runs) or "it was never run"


def _check_dead(queue: str, entries: Iterable[Entry], dead: Iterable[Key]) -> Iterator[str]:
    given_up = {entry.key for entry in entries if entry.what is What.FATAL}
    for key in dead:
        if key not in given_up:
            yield f"{queue}: {key} is in the dead-letter queue, and no handler said that it is beyond help"


def _check_order(entries: Iterable[Entry]) -> Iterator[str]:
    completed: dict[str, set[int]] = defaultdict(set)
    for entry in entries:
        if entry.what in COMPLETIONS:
            completed[entry.group].add(entry.number)
        elif entry.what is What.START and entry.number and entry.number - 1 not in completed[entry.group]:
            yield f"fifo: {name(entry)} was started by {entry.pid} at {entry.at:.3f}, and the one ahead was not done"


def _check_limits(queue: str, entries: Iterable[Entry]) -> Iterator[str]:
    under_way: dict[int, set[str]] = defaultdict(set)
    for entry in entries:
        runs = under_way[entry.pid]
        if entry.what is What.START and entry.most:
            runs.add(entry.message_id)
            if len(runs) > entry.most:
                said = f"{len(runs)} times at once at {entry.at:.3f}, and it may {entry.most}"
                yield f"{queue}: process {entry.pid} runs a handler {said}"
        elif entry.what in RUN_ENDS:
            runs.discard(entry.message_id)


def find_overlaps(entries: Sequence[Entry]) -> Iterator[Overlap]:
    """Give every run that began while another one of the same message was under way in a living process."""
    runs = _Runs()
    faults, given_up = find_faults(entries), given_up_at(entries)
    for entry in entries:
        if entry.what is What.START:
            for first in runs.by_message[entry.message_id]:
                is_given_up = entry.at >= given_up.get(first.pid, math.inf)
                is_fault = any(may_cost_lease(fault, entry.at, entry.at) for fault in faults)
                excuse = Excuse.FAULT if is_fault else Excuse.NONE
                yield Overlap(first, entry, Excuse.GIVEN_UP if is_given_up else excuse)
            runs.by_message[entry.message_id].append(entry)
        elif entry.what in RUN_ENDS:
            runs.end(entry)
        elif entry.what is What.GONE:
            runs.end_all(entry.pid)


def summarize(queue: str, entries: Sequence[Entry], dead: Mapping[Key, int]) -> str:
    """Return in a few words what became of the messages of a queue."""
    counts = Counter(entry.what for entry in entries)
    overlaps = Counter(overlap.excuse for overlap in find_overlaps(entries))
    keys = {what: len({entry.key for entry in entries if entry.what is what}) for what in (What.SENDING, *COMPLETIONS)}
    again = sum(entry.what is What.START and entry.receive_count > 1 for entry in entries)
    sent = len({entry.key for entry in entries if entry.what is What.SENT})
    completions = Counter(entry.message_id for entry in entries if entry.what in COMPLETIONS)
    repeated = sum(times > 1 for times in completions.values())
    return (
        f"{queue}: {sent} messages sent and {keys[What.SENDING] - sent} perhaps; {keys[What.END]} handled, "
        f"{len(dead)} dead-lettered ({sum(dead.values())} times); "
        f"{counts[What.START]} runs, {again} of them redeliveries; "
        f"{counts[What.LATER]} asked for later, {counts[What.ERROR]} failed for now, "
        f"{counts[What.CANCELLED]} were cancelled; {repeated} messages completed more than once; "
        f"overlapping runs: {', '.join(f'{overlaps[excuse]} {excuse.value}' for excuse in Excuse)}; "
        f"{summarize_stores(entries)}"
    )
