"""What a `TestClient` has seen of an app at work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from typing_extensions import override

from megaflow.message import Message
from megaflow.status import ProcessStatus

_SHOWN: Final = 200
"""Characters of a payload, or of a reason."""


@dataclass(frozen=True, slots=True)
class Handled:
    """A handler's work on a message: what it got, and what came of it."""

    handler: str
    """The handler's name."""

    payload: Any
    """As the handler got it, whatever it has done to it since."""

    status: ProcessStatus
    error: BaseException | None = field(default=None, compare=False)
    """What it raised."""

    message: Message | None = field(default=None, repr=False, compare=False)


class Seen(list[Any]):
    """What a client has seen, in order: a list. One that holds nothing shows why."""

    def __init__(self, items: Iterable[Any], explain: Callable[[], str]) -> None:
        super().__init__(items)
        self._explain = explain

    @override
    def __repr__(self) -> str:
        return super().__repr__() if self else f"[] ({shorten(self._explain())})"


class Unmet(AssertionError):
    """What a client was to have seen, and has not; it says why by itself."""


def shorten(text: str) -> str:
    """Return *text* in one line, and not too long a one."""
    line = "; ".join(text.split("\n"))
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
