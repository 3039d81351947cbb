"""A store that notes in the ledger what it is asked, what it has remembered, and whether it was found well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from megaflow import Claim, Ended, Store
from megaflow.stores.store import check_store, close_store
from tests.torture.ledger import Ledger, What

Returned = TypeVar("Returned")


class ObservedStore:
    """A *store* for the consumers of *queue*. The file *unwell* is there as long as it is not found well."""

    def __init__(self, store: Store, ledger: Ledger, queue: str, unwell: Path) -> None:
        self._store = store
        self._ledger = ledger
        self._queue = queue
        self._unwell = unwell
        self.count_received: Callable[[], int] = lambda: 0

    def check(self) -> None:
        try:
            check_store(self._store, lambda: None)
        except Exception:
            self._unwell.touch()
            self._note(What.UNWELL)
            raise
        self._note(What.WELL)
        self._unwell.unlink(missing_ok=True)

    def load(self, work: str) -> Mapping[str, Ended]:
        self._note(What.ASKED, work)
        return self._ask(self._store.load, work)

    def save(self, work: str, handler: str, ended: Ended) -> None:
        self._ask(self._store.save, work, handler, ended)
        self._note(What.REMEMBERED, work)

    def claim(self, key: str, owner: str, seconds: float) -> Claim:
        self._note(What.CLAIMING, owner)
        return self._ask(self._store.claim, key, owner, seconds)

    def renew(self, key: str, owner: str, seconds: float) -> None:
        # That it fails is warned of, and is no outage: who works on the key goes on.
        self._store.renew(key, owner, seconds)

    def complete(self, key: str, owner: str, seconds: float) -> None:
        self._ask(self._store.complete, key, owner, seconds)
        self._note(What.KEY_DONE, owner)

    def release(self, key: str, owner: str) -> None:
        self._ask(self._store.release, key, owner)

    def close(self) -> None:
        close_store(self._store)

    def _ask(self, method: Callable[..., Returned], *arguments: object) -> Returned:
        try:
            return method(*arguments)
        except Exception:
            self._note(What.FAILED)
            raise

    def _note(self, what: What, work: str = "") -> None:
        self._ledger.note(what, queue=self._queue, work=work, received=self.count_received())
