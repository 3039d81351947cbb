"""Whatever happens to a consumer on a simulated day, what it guarantees holds; see ``python -m tests.simulation``."""

import pytest

from tests.simulation.runs import find_violation, tell


def violations(first: int, count: int) -> dict[int, str]:
    found = {seed: find_violation(seed) for seed in range(first, first + count)}
    return {seed: violation for seed, violation in found.items() if violation is not None}


def test_every_guarantee_holds_on_simulated_days() -> None:
    assert violations(0, 60) == {}


@pytest.mark.long
@pytest.mark.parametrize("block", range(8))
def test_every_guarantee_holds_on_many_simulated_days(block: int) -> None:
    assert violations(1_000 + block * 250, 250) == {}


def test_a_day_can_be_lived_through_again_and_told() -> None:
    told = tell(7)

    assert told == tell(7)
    assert told.startswith("seed 7: nothing was violated")
    assert " sends " in told
