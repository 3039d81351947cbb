"""What tests of an app need: the app over an embedded queue, with time at their word."""

from megaflow.testing.client import Handled, Seen, TestClient

__all__ = ["Handled", "Seen", "TestClient"]
