"""``stepwell engine`` and ``stepwell worker`` as they are, but with snapshots often enough to matter in a minute.

A real log takes one after 4 MB of transitions; no short run writes so many. And with a deliberate bug, where
``CHAOS_BUG`` names one of those that the simulation has to find: the suite must find it, too.
"""

from __future__ import annotations

import os
from typing import Final

from tests.chaos.parts import BUG

SMALLEST_TAIL: Final = 30_000  # bytes

if __name__ == "__main__":
    from stepwell.cli.main import entry
    from stepwell.consumers.engine import snapshotting

    snapshotting.SMALLEST_TAIL = SMALLEST_TAIL  # type: ignore[misc]
    if os.environ.get(BUG):
        from tests.simulation.mutations import MUTATIONS

        with MUTATIONS[os.environ[BUG]].applied():
            entry()
    entry()
