"""Testing without waiting: workflows in virtual time, crashed where the test likes. See ``stepwell.testing.kit``."""

from stepwell.testing.kit import World, failing, simulate, stub
from stepwell.testing.loop import DeadlockError, VirtualLoop, run

__all__ = ["DeadlockError", "VirtualLoop", "World", "failing", "run", "simulate", "stub"]
