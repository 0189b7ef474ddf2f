"""Testing without waiting: an event loop whose time is virtual."""

from stepwell.testing.loop import DeadlockError, VirtualLoop, run

__all__ = ["DeadlockError", "VirtualLoop", "run"]
