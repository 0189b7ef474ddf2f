"""The pauses between the tries of something that fails."""

from __future__ import annotations

from stepwell.backoff import Backoff


def test_each_pause_is_as_many_times_as_long_as_the_one_before_up_to_the_longest() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    slow = Backoff(1.0, 2.0, factor=1.5)
    assert [slow.next() for _ in range(4)] == [1.0, 1.5, 2.0, 2.0]


def test_the_pauses_begin_anew_once_it_has_worked() -> None:
    backoff = Backoff(0.5, 3.0)
    assert backoff.is_fresh
    assert backoff.next() == 0.5
    assert not backoff.is_fresh
    backoff.next()
    backoff.reset()
    assert backoff.is_fresh
    assert backoff.next() == 0.5


def test_a_try_that_lasted_for_long_went_well_and_a_short_one_did_not() -> None:
    backoff = Backoff(0.5, 3.0, well_after=10.0)
    assert [backoff.next(lasted) for lasted in (0.1, 10.0, 0.1)] == [0.5, 1.0, 2.0]
    assert [backoff.next(lasted) for lasted in (10.1, 0.1)] == [0.5, 1.0]


def test_without_a_bound_no_try_counts_as_having_gone_well() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next(1e9) for _ in range(3)] == [0.5, 1.0, 2.0]
