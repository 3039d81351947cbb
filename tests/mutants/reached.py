"""Reached: which tests reach which lines, as learnt once and kept for the next run, and those to try a mutant with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.mutants.mutations import Mutant

_BUDGET: Final = 120.0
"""Seconds that the tests of one mutant may take when nothing is wrong: what is beyond them is left out."""


@dataclass
class Reached:
    """Which tests reach which lines, and the seconds each takes; *code* is a digest of what has these lines."""

    code: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path | None, code: str) -> Reached:
        """Return what *file* knows of this very *code*: nothing where there is no such file, or it is of other code."""
        known = cls()
        if file is not None and file.exists():
            known = cls.parse(file.read_text())
        return known if known.code == code else cls(code)

    @classmethod
    def parse(cls, text: str) -> Reached:
        """Return what is written in *text*, as `reach` and `write` do it."""
        found = json.loads(text)
        lines = {path: {int(line): set(names) for line, names in each.items()} for path, each in found["lines"].items()}
        return cls(found.get("code", ""), found["seconds"], lines)

    def write(self, file: Path) -> None:
        """Keep it in *file*."""
        lines = {path: {line: sorted(names) for line, names in each.items()} for path, each in self.lines.items()}
        file.write_text(json.dumps({"code": self.code, "seconds": self.seconds, "lines": lines}))

    def add(self, other: Reached) -> None:
        """Take over what *other* has besides."""
        self.seconds |= other.seconds
        for path, lines in other.lines.items():
            for line, names in lines.items():
                self.lines.setdefault(path, {}).setdefault(line, set()).update(names)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests to run: those of the same room first, then the quickest."""
        lines = self.lines.get(mutant.path, {})
        first, last = mutant.lines
        names = set().union(*(lines.get(line, set()) for line in range(first, last + 1)))
        if not mutant.function or not names - {""}:
            # What is run at import is reached by whoever uses the module.
            names = set().union(*lines.values())
        room = str(Path(mutant.path).parent).replace("megaflow", "tests", 1)
        own = f"{room}/test_{Path(mutant.path).stem}"
        known = [name for name in names if name in self.seconds]
        known.sort(key=lambda name: (not name.startswith(own), not name.startswith(room), self.seconds[name]))
        return self._within_budget(known)

    def _within_budget(self, names: Sequence[str]) -> list[str]:
        chosen, spent = [], 0.0
        for name in names:
            if spent + self.seconds[name] <= _BUDGET:
                spent += self.seconds[name]
                chosen.append(name)
        return chosen


def digest_code(files: Sequence[Path]) -> str:
    """Return what tells the code in these files from any other."""
    digest = sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
