# ruff: noqa: T201 - a terminal program prints
"""Real processes, a real broker, and trouble: ``python -m tests.chaos --seed 1 --seconds 60 --brokers 3``.

Several seeds: ``--seed 1 --seeds 5``. Exit status 1 if anything that is promised did not hold; then the logs of all
processes are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import Report, Settings, play
from tests.simulation.mutations import MUTATIONS


def main() -> int:
    """Run what the arguments ask for; 1 if something that is promised did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what goes wrong, and when")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="this many, one after the other")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of trouble, for each seed")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--engines", type=int, default=3, metavar="N")
    parser.add_argument("--workers", type=int, default=3, metavar="N")
    parser.add_argument("--log", default="", metavar="URL", help="brokers that are there already; nobody kills those")
    parser.add_argument(
        "--bug",
        default="",
        choices=["", *MUTATIONS],
        metavar="NAME",
        help="a bug that it must find: one of tests/simulation/mutations.py",
    )
    parser.add_argument("--keep", action="store_true", help="keep the logs of the processes whatever happens")
    given = parser.parse_args()
    failed = 0
    for seed in range(given.seed, given.seed + given.seeds):
        settings = Settings(seed, given.seconds, given.brokers, given.engines, given.workers, given.log, given.bug)
        folder = Path(tempfile.mkdtemp(prefix=f"stepwell-chaos-{seed}-"))
        report = asyncio.run(play(settings, folder))
        tell(settings, report, folder)
        failed += bool(report.problems)
        if not (report.problems or given.keep):
            shutil.rmtree(folder)
    return 1 if failed else 0


def tell(settings: Settings, report: Report, folder: Path) -> None:
    """Print one line of JSON, and lines for people."""
    figures = report.figures
    print(json.dumps(figures))
    faults = ", ".join(f"{count} {kind}" for kind, count in figures["faults"].items())
    print(f"  faults injected                {sum(figures['faults'].values())}: {faults}")
    print(f"  acknowledged commands lost     {figures['lost']} of {figures['acknowledged']}")
    print(f"  state divergences              {figures['divergences']}")
    print(f"  duplicate transitions          {figures['duplicate_transitions']} of {figures['transitions']}")
    print(f"  writes of replaced owners      {figures['refused']} refused, after {figures['claims']} claims")
    needed, beyond = figures["handler_runs_needed"], figures["handler_runs_beyond"]
    print(f"  handler runs beyond the needed {beyond} beside {needed}")
    print(f"  instances stuck after healing  {figures['stuck']} of {figures['instances']}")
    recovery = figures["recovery"]["all"]
    if recovery["n"]:
        print(f"  recovery time                  p50 {recovery['p50']} s, p99 {recovery['p99']} s")
    if report.problems:
        for problem in report.problems[:40]:
            print(f"  VIOLATION {problem}")
        print(f"  seed {settings.seed} FAILED; logs are in {folder}; again: {settings.again}")
    else:
        print(f"  seed {settings.seed}: everything held")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
