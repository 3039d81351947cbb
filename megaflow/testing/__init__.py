"""Tests of an app: the app over an embedded queue, with time at the test's word."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from megaflow.testing.client import TestClient
    from megaflow.testing.seen import Handled

__all__ = ["Handled", "TestClient"]


def __getattr__(name: str) -> Any:
    """Import it once it is asked for: the pytest plugin is loaded by tests of whatever else, too."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "client" if name == "TestClient" else "seen"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
