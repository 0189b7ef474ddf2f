"""What time it is: on this machine, and in a partition.

Times never go back within a partition. But wall clocks do: one is set wrong and corrected, or the partition moves to
a host whose clock is behind. While the wall clock is behind the newest time of the partition, the partition's time
goes on from there as fast as seconds really pass (a hybrid logical clock), so that whatever is due after some delay
is due after that delay, and not only once the wall clock has caught up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from stepwell.logs import Logger
from stepwell.process import now_ms

_logger = Logger("stepwell.engine")

# Milliseconds by which a wall clock may move without the time that really passes before somebody should hear of it.
_JUMP: Final = 60_000

LONGEST_WAIT: Final = 5.0
"""Seconds after which whoever waits for a time of the day looks at the clock again.

A sleeping laptop, a paused virtual machine and a clock that is set move the time of the day, and no timer of the
event loop hears of it.
"""


class Clock:
    """The clocks of one machine, as one engine sees them.

    Args:
        wall: Milliseconds since 1970; may jump.
    """

    def __init__(self, wall: Callable[[], int] = now_ms) -> None:
        self._wall = wall
        self._steady = asyncio.get_running_loop().time
        self._ahead: int | None = None  # milliseconds by which the wall clock was ahead of the steady one

    def read(self) -> tuple[int, int]:
        """Milliseconds since 1970, and milliseconds that only ever go on. Tells when the first have jumped."""
        wall, steady = self._wall(), int(self._steady() * 1000)
        ahead, before = wall - steady, self._ahead
        self._ahead = ahead
        if before is not None and not -_JUMP < ahead - before < _JUMP:
            jumped = ahead - before
            _logger.warning(
                "this machine's clock has jumped" if jumped > 0 else "this machine's clock was set back",
                seconds=jumped / 1000,
                remedy="Timers that are due by the new time fire now. If it is wrong, set the clock right.",
            )
        return wall, steady

    def wall(self) -> int:
        """Milliseconds since 1970."""
        return self.read()[0]


class PartitionClock:
    """The time in one partition.

    Args:
        at: Its newest time so far, in milliseconds since 1970.
    """

    def __init__(self, clock: Clock, partition: int, at: int) -> None:
        self._clock = clock
        self._at = at
        wall, self._since = clock.read()
        if at - wall >= _JUMP:
            _logger.warning(
                "the partition is ahead of this machine's clock; its time goes on from there",
                partition=partition,
                seconds=(at - wall) / 1000,
                remedy="Set the wrong clock right: this machine's, or that of the one which wrote before.",
            )

    def now(self) -> int:
        """Milliseconds since 1970: of the wall clock, or of the partition where that is behind. Never goes back."""
        wall, steady = self._clock.read()
        self._at = max(wall, self._at + steady - self._since)
        self._since = steady
        return self._at
