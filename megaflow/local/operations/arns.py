"""ARNs that SNS is called with: of the right form, before anything is looked for."""

from __future__ import annotations

from typing import Final

from megaflow.local.refused import invalid_parameter

ELEMENTS: Final = 6
"""Parts of an ARN at least; a subscription has one more than its topic."""


def check_arn(parameter: str, arn: str) -> str:
    """Return *arn*.

    Raises:
        Refused: it has too few parts to be one.
    """
    count = arn.count(":") + 1
    if count < ELEMENTS:
        raise invalid_parameter(f"{parameter} Reason: An ARN must have at least {ELEMENTS} elements, not {count}")
    return arn
