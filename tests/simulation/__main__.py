# ruff: noqa: T201 - a terminal program prints
"""Run seeds: ``python -m tests.simulation --seeds 1000``. One seed again, step by step: ``--seed N --trace``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter

from tests.simulation.many import begin, run, tell
from tests.simulation.mutations import MUTATIONS

AFTER_EACH = 2.0  # real seconds between two lines of progress


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


def _alone(given: argparse.Namespace) -> int:
    result = run(given.seed, given)
    if result.problem is not None:
        print("".join(traceback.format_exception(result.problem)))
    for kind, count in sorted(result.counts.items()):
        print(f"  {count:8,}  {kind}")
    print(f"seed {result.seed}: {'FAILED' if result.problem else 'clean'}, trace {result.digest}, ", end="")
    print(f"{result.seconds:.1f} virtual seconds")
    return 1 if result.problem else 0


def _all(given: argparse.Namespace) -> int:
    seeds = range(given.first, given.first + given.seeds)
    options = (" --long" if given.long else "") + (f" --mutation {given.mutation}" if given.mutation else "")
    counts: Counter[str] = Counter()
    failed: list[int] = []
    began = last = time.monotonic()
    done = 0
    with multiprocessing.get_context("spawn").Pool(given.jobs, begin, maxtasksperchild=2_000) as pool:
        for told in pool.imap_unordered(tell, ((seed, given) for seed in seeds), chunksize=4):
            done += 1
            counts += told.counts
            if told.problem:
                failed.append(told.seed)
                print(
                    f"seed {told.seed} FAILED: {told.problem}\n  again: python -m tests.simulation --seed {told.seed}{options} --trace"
                )
            if time.monotonic() - last > AFTER_EACH or done == len(seeds):
                last = time.monotonic()
                rate = done / (last - began)
                print(f"{done:,} of {len(seeds):,} seeds, {len(failed)} failed, {rate:.1f} seeds/s", flush=True)
    for kind, count in sorted(counts.items()):
        print(f"  {count:12,}  {kind}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
