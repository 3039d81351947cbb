"""cfn-lint, which names the Pythons that it goes with: on a newer one what asks it is skipped."""

from __future__ import annotations

from typing import Any

import pytest


def lint(template: str) -> list[Any]:
    """Return what it finds in a template."""
    api = pytest.importorskip("cfnlint.api", reason="cfn-lint does not go with this Python yet")
    found: list[Any] = api.lint(template)
    return found
