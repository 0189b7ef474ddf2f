# ruff: noqa: T201 - a terminal program prints
"""Draw definitions, documents, expressions, templates and schemas at random: ``python -m tests.hostile``."""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.hostile.fuzz import KINDS, run


def main() -> int:
    """Run what the arguments ask for; Hypothesis' report and status 1 at the first that does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000, metavar="N", help="how many of each kind")
    parser.add_argument("--seed", type=int, metavar="N", help="by default a new one")
    parser.add_argument("--only", choices=KINDS, action="append", help="one kind; may be repeated")
    given = parser.parse_args()
    number = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    for kind in given.only or KINDS:
        began = time.monotonic()
        good, slowest = run(kind, given.examples, number)
        took = time.monotonic() - began
        print(f"  {given.examples:,} in {took:.0f} s, {good:,} well-formed, the slowest took {slowest:.2f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
