"""Run seeds: ``python -m tests.simulation --seeds 1000``. One seed again, step by step: ``--seed N --trace``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import Counter
from typing import NamedTuple

from tests.simulation.mutations import MUTATIONS
from tests.simulation.world import LONG, Bias, Result, simulate

AFTER_EACH = 2.0  # real seconds between two lines of progress
MOST_SECONDS = 120  # real ones, for a seed: one that takes longer hangs without waiting


class Told(NamedTuple):
    """What a process tells of one seed: everything as plain data."""

    seed: int
    problem: str
    counts: Counter[str]


def main() -> int:
    """Run what the arguments ask for; 1 if a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="how many at once")
    parser.add_argument("--long", action="store_true", help="larger worlds, and more trouble in each")
    parser.add_argument("--seed", type=int, metavar="N", help="run this one alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print step by step what happens")
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), help="with this deliberate bug")
    given = parser.parse_args()
    if given.seed is not None:
        return _alone(given)
    return _all(given)


def _bias(given: argparse.Namespace) -> Bias:
    if given.mutation:
        return MUTATIONS[given.mutation].bias
    return LONG if given.long else Bias()


def _run(seed: int, given: argparse.Namespace) -> Result:
    tell = print if given.trace else None
    if not given.mutation:
        return simulate(seed, _bias(given), tell)
    with MUTATIONS[given.mutation].applied():
        return simulate(seed, _bias(given), tell)


def _alone(given: argparse.Namespace) -> int:
    result = _run(given.seed, given)
    if result.problem is not None:
        print("".join(traceback.format_exception(result.problem)))
    for kind, count in sorted(result.counts.items()):
        print(f"  {count:8,}  {kind}")
    print(f"seed {result.seed}: {'FAILED' if result.problem else 'clean'}, trace {result.digest}, ", end="")
    print(f"{result.seconds:.1f} virtual seconds")
    return 1 if result.problem else 0


def _told(job: tuple[int, argparse.Namespace]) -> Told:
    seed, given = job
    signal.alarm(MOST_SECONDS)
    try:
        result = _run(seed, given)
    except TimeoutError:
        return Told(seed, f"takes more than {MOST_SECONDS} real seconds", Counter())
    finally:
        signal.alarm(0)
    return Told(seed, "" if result.problem is None else f"{result.problem!r}"[:1_000], result.counts)


def _begin() -> None:
    def too_long(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _all(given: argparse.Namespace) -> int:
    seeds = range(given.first, given.first + given.seeds)
    options = (" --long" if given.long else "") + (f" --mutation {given.mutation}" if given.mutation else "")
    counts: Counter[str] = Counter()
    failed: list[int] = []
    began = last = time.monotonic()
    done = 0
    with multiprocessing.get_context("spawn").Pool(given.jobs, _begin, maxtasksperchild=2_000) as pool:
        for told in pool.imap_unordered(_told, ((seed, given) for seed in seeds), chunksize=4):
            done += 1
            counts += told.counts
            if told.problem:
                failed.append(told.seed)
                print(f"seed {told.seed} FAILED: {told.problem}\n  again: python -m tests.simulation --seed {told.seed}{options} --trace")
            if time.monotonic() - last > AFTER_EACH or done == len(seeds):
                last = time.monotonic()
                rate = done / (last - began)
                print(f"{done:,} of {len(seeds):,} seeds, {len(failed)} failed, {rate:.1f} seeds/s", flush=True)
    for kind, count in sorted(counts.items()):
        print(f"  {count:12,}  {kind}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
