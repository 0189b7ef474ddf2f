# ruff: noqa: T201 - a terminal program prints
"""``python -m tests.hostile NAME``: one monster, in a process of its own; a line of JSON says what it took.

``python -m tests.hostile --fuzz 20000 [--seed N]`` draws definitions, texts, expressions and schemas at random.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from pathlib import Path

from stepwell.errors import DefinitionError, ExpressionError
from tests.hostile import fuzz, monsters


def _peak() -> float:
    """Megabytes that this process has had at most (Linux)."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("name", nargs="?", choices=(*monsters.REFUSED, *monsters.TAKEN), metavar="NAME")
    parser.add_argument("--fuzz", type=int, metavar="N", help="draw so many of each kind")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="of the fuzz run; by default a new one")
    given = parser.parse_args()
    if given.fuzz:
        seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
        return fuzz.main(given.fuzz, seed)
    if not given.name:
        parser.error("name a monster, or --fuzz N")
    before, began = _peak(), time.process_time()
    error = ""
    try:
        result = monsters.told(given.name)
    except (DefinitionError, ExpressionError) as problem:
        error, result = type(problem).__name__, str(problem)
    took = {"seconds": round(time.process_time() - began, 2), "mb": round(_peak() - before, 1)}
    print(json.dumps({"name": given.name, "error": error, "result": result, **took}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
