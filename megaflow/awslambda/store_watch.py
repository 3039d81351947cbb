"""The stores of a function: checked before its first event, and again once one has failed."""

from __future__ import annotations

from collections.abc import Callable

from megaflow.errors import ConfigurationError, text_of
from megaflow.logs import get_logger

log = get_logger(__name__)


class StoreWatch:
    """Knows whether what handlers do can be remembered; *check* finds it out. May be used from any thread."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._has_answered = False
        self._are_well = False

    def are_well(self) -> bool:
        """Tell whether the stores are well; raise `ConfigurationError` where they never were, as they are set up."""
        if not self._are_well:
            try:
                self._check()
            except Exception as error:
                if isinstance(error, ConfigurationError) and not self._has_answered:
                    raise
                log.error("messages come again, as long as the store is not well: %s", text_of(error))
                return False
            self._has_answered = self._are_well = True
        return True

    def are_well_after_failure(self) -> bool:
        """Tell whether the stores are well although one has failed."""
        self._are_well = False
        return self.are_well()
