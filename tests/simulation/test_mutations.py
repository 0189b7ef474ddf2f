"""The simulation bites: each deliberate bug of ``mutations`` is found within its number of seeds."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import MUTATIONS, find
from tests.simulation.world import simulate


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_simulation_finds(name):
    seed, problem = find(name)
    assert seed >= 0, f"{name}: not found within {MUTATIONS[name].seeds} seeds"
    artefacts = ("TypeError", "AttributeError", "NameError")  # the mutation no longer fits the code it replaces
    assert not any(name in problem for name in artefacts), problem


def test_without_a_mutation_the_same_worlds_are_clean():
    """So it is the bug that is found, and nothing else."""
    for bias in {mutation.bias for mutation in MUTATIONS.values()}:
        for seed in range(5):
            assert simulate(seed, bias).problem is None
