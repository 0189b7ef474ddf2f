"""What a process of ``python -m tests.simulation`` does: apart, so that a spawned process can import it."""

from __future__ import annotations

import argparse
import signal
from collections import Counter
from typing import NamedTuple

from tests.simulation.mutations import MUTATIONS
from tests.simulation.world import LONG, Bias, Result, simulate

MOST_SECONDS = 120  # real ones, for a seed: one that takes longer hangs without waiting


class Told(NamedTuple):
    """What a process tells of one seed: everything as plain data."""

    seed: int
    problem: str
    counts: Counter[str]


def _bias(given: argparse.Namespace) -> Bias:
    if given.mutation:
        return MUTATIONS[given.mutation].bias
    return LONG if given.long else Bias()


def run(seed: int, given: argparse.Namespace) -> Result:
    tell = print if given.trace else None
    if not given.mutation:
        return simulate(seed, _bias(given), tell)
    with MUTATIONS[given.mutation].applied():
        return simulate(seed, _bias(given), tell)


def tell(job: tuple[int, argparse.Namespace]) -> Told:
    seed, given = job
    signal.alarm(MOST_SECONDS)
    try:
        result = run(seed, given)
    except TimeoutError:
        return Told(seed, f"takes more than {MOST_SECONDS} real seconds", Counter())
    finally:
        signal.alarm(0)
    return Told(seed, "" if result.problem is None else f"{result.problem!r}"[:1_000], result.counts)


def begin() -> None:
    def too_long(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
