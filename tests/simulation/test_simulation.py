"""Whatever happens to a consumer on a simulated day, what it guarantees holds; see ``python -m tests.simulation``."""

import pytest

from tests.simulation.runs import find_violation, tell


def violations(first: int, count: int) -> dict[int, str]:
    found = {seed: find_violation(seed) for seed in range(first, first + count)}
    return {seed: violation for seed, violation in found.items() if violation is not None}


def test_every_guarantee_holds_on_simulated_days() -> None:
    assert violations(0, 20) == {}


@pytest.mark.long
@pytest.mark.parametrize(("first", "count"), [(20, 40), *((first, 250) for first in range(1_000, 3_000, 250))])
def test_every_guarantee_holds_on_many_simulated_days(first: int, count: int) -> None:
    assert violations(first, count) == {}


def test_a_day_can_be_lived_through_again_and_told() -> None:
    told = tell(7)

    assert told == tell(7)
    assert told.startswith("seed 7: nothing was violated")
    assert " sends " in told
