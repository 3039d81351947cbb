"""Bytecodes and calls that a message costs, counted and not timed: what a change costs, on however busy a machine.

``python -m benchmarks.bytecodes [--beside CHECKOUT] [--functions N] [--rounds N]`` drains a queue of ready answers with
the wire on, as `benchmarks.wire` does, and counts what megaflow's Python does for each message. *CHECKOUT* is another
version of this project, counted in turn with this one. A busy machine makes threads look more often whether there is
something to do, so the round with the fewest counts. What C does is not seen: `benchmarks.wire` times it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

HERE = Path(__file__).parents[1]
FEW, MANY = 1_000, 4_000
"""Messages of the two runs whose difference is counted: what the start and the end cost is in both."""

HANDLERS = 20
ROUNDS = 3

Counts = dict[str, float]


def drain(endpoint_url: str, count: int) -> None:
    """Drain *count* messages, and print the bytecodes and the calls of each function as JSON."""
    from benchmarks.consumers import run_megaflow

    bytecodes: Counter[str] = Counter()
    calls: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        name = f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_qualname}"
        calls[name] += 1

        def count_one(frame: FrameType, event: str, arg: object) -> Any:
            bytecodes[name] += event == "opcode"
            return count_one

        return count_one

    threading.settrace(trace)
    run_megaflow(endpoint_url, f"http://sqs.example.com/canned/{count}/{uuid4().hex}", count=count, handlers=HANDLERS)
    threading.settrace(None)
    print(json.dumps([bytecodes, calls]))


def count_per_message(checkout: Path, endpoint_url: str) -> tuple[Counts, Counts]:
    """Return the bytecodes and the calls a message, by function, of the version in *checkout*."""
    few, many = (_run(checkout, endpoint_url, count) for count in (FEW, MANY))
    bytecodes, calls = (
        {name: (after[name] - before.get(name, 0)) / (MANY - FEW) for name in after}
        for before, after in zip(few, many, strict=True)
    )
    return bytecodes, calls


def _run(checkout: Path, endpoint_url: str, count: int) -> list[dict[str, int]]:
    command = [sys.executable, __file__, "--drain", endpoint_url, str(count)]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    said = subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    counts: list[dict[str, int]] = json.loads(said.splitlines()[-1])
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bytecodes", description=__doc__)
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another version of this project")
    parser.add_argument("--functions", type=int, default=0, help="so many functions that cost the most, or differ most")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--drain", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drain:
        drain(options.drain[0], int(options.drain[1]))
        return
    from benchmarks.sqs import server

    checkouts = [HERE, *([options.beside.resolve()] if options.beside else [])]
    with server("benchmarks.canned") as endpoint_url:
        rounds = [[count_per_message(each, endpoint_url) for each in checkouts] for _ in range(options.rounds)]
    counted = [min(same, key=lambda counts: sum(counts[0].values())) for same in zip(*rounds, strict=True)]
    for name, place in (("bytecodes", 0), ("calls", 1)):
        totals = [sum(each[place].values()) for each in counted]
        ratio = f"   ratio {totals[0] / totals[1]:.3f}" if options.beside else ""
        print(f"{name} a message: {'   beside '.join(f'{total:,.0f}' for total in totals)}{ratio}")
    _show_functions([each[0] for each in counted], options.functions)


def _show_functions(counted: list[Counts], most: int) -> None:
    names = {name for counts in counted for name in counts}
    rows = [(name, [counts.get(name, 0.0) for counts in counted]) for name in names]
    rows.sort(key=lambda row: -abs(row[1][0] - (row[1][1] if len(row[1]) > 1 else 0.0)))
    for name, figures in rows[:most]:
        print(f"{name:64}", *(f"{figure:8.1f}" for figure in figures))


if __name__ == "__main__":
    main()
