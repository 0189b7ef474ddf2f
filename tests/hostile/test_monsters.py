"""What would break a naive reader by its size, depth or cunning is refused, or taken, in bounded time and memory."""

import pytest

from stepwell.errors import DefinitionError, ExpressionError
from tests.hostile.measured import check_message, measured
from tests.hostile.monsters import REFUSED, TAKEN

SECONDS = 30.0
"""Processor time for any of them; on an idle machine the slowest takes 4."""
MEGABYTES = 600.0
"""At the peak, what holds the monster itself included; the largest takes 230."""


def within_bounds(took):
    assert took.seconds < SECONDS, f"took {took.seconds:.1f} s of processor time"
    assert took.megabytes < MEGABYTES, f"took {took.megabytes:.0f} MB"


@pytest.mark.parametrize("name", REFUSED)
def test_a_monster_is_refused(name):
    act, piece = REFUSED[name]
    with measured() as took, pytest.raises((DefinitionError, ExpressionError)) as caught:
        act()
    within_bounds(took)
    assert piece in check_message(caught.value)


@pytest.mark.parametrize("name", TAKEN)
def test_a_large_thing_that_is_meant_well_is_taken(name):
    act, piece = TAKEN[name]
    with measured() as took:
        result = act()
    within_bounds(took)
    assert piece in str(result)


def test_the_measure_sees_time_and_memory():
    with measured() as took:
        list(range(20_000_000))
    assert took.seconds > 0.05
    assert took.megabytes > 300 or took.megabytes == 0
