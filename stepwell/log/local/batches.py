"""What one ``enqueue`` promises: its future is done once each of its records is safe."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future

from stepwell.errors import LogError


class Batch:
    """One ``enqueue``: done when each of its records is settled, or in the file."""

    def __init__(self, loop: AbstractEventLoop, size: int) -> None:
        self.future: Future[None] = loop.create_future()
        self._left = size
        self.safe(0)

    def safe(self, number: int) -> None:
        """So many more of its records are settled or written."""
        self._left -= number
        if not self._left and not self.future.done():
            self.future.set_result(None)

    def failed(self, error: LogError) -> None:
        """One of them is not, as far as we know."""
        if not self.future.done():
            self.future.set_exception(error)
