"""The table of all checks, in the order in which their findings are shown."""

from __future__ import annotations

from typing import Final

from megaflow.provision.doctor import of_apps, of_dead_letters, of_filters, of_queues, of_topics
from megaflow.provision.doctor.check import Check

CHECKS: Final[tuple[Check, ...]] = (
    *of_apps.CHECKS,
    *of_queues.CHECKS,
    *of_dead_letters.CHECKS,
    *of_topics.CHECKS,
    *of_filters.CHECKS,
)
