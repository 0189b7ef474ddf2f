"""``stepwell engine`` and ``stepwell worker`` as they are, but with snapshots often enough to matter in a minute.

A real log takes one after 4 MB of transitions; no short run writes so many.
"""

from __future__ import annotations

from typing import Final

SMALLEST_TAIL: Final = 30_000  # bytes

if __name__ == "__main__":
    from stepwell.cli.main import entry
    from stepwell.consumers import snapshotting

    snapshotting.SMALLEST_TAIL = SMALLEST_TAIL  # type: ignore[misc]
    entry()
