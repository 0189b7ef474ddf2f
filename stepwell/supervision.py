"""What keeps engines and workers going while their log comes and goes.

A part (an engine, a worker) is crash-only: it ends with whatever error it meets, and what it had is safe in the log.
Trouble that may pass (a lock that is held, a broker that is away) is waited out here, and the part is started anew.
What only a person can mend (a damaged log, events of a newer version, a full disk) ends it, as does a bug, and a log
that this very process cannot use any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from stepwell.backoff import Backoff
from stepwell.errors import (
    LogClosedError,
    LogCorruptedError,
    LogError,
    LogFullError,
    LogLostError,
    LogUnavailableError,
    LogVersionError,
)
from stepwell.log.port import Log
from stepwell.logs import Logger

_logger = Logger("stepwell.supervisor")

FATAL: Final = (LogVersionError, LogCorruptedError, LogFullError, LogLostError)
"""Errors that a retry cannot cure: a person must act."""

FIRST_PAUSE: Final = 0.05  # seconds; most trouble is over in a moment
LONGEST_PAUSE: Final = 2.0  # seconds; a try costs little, and every further second is a second of standing still
STEADY_AFTER: Final = (
    10.0  # seconds of work after which trouble counts as over; less may be luck between two failures
)
TELL_EVERY: Final = 30.0  # seconds between two warnings of one and the same trouble


class OutOfPatienceError(LogError):
    """The log was not usable for longer than the caller wanted to wait.

    Args:
        cause: The newest error.
        seconds: The time since the first error.
    """

    def __init__(self, cause: LogError, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"no use of the log for {seconds:.0f} s: {cause.message}", place=cause.place, remedy=cause.remedy
        )


def may_pass(error: BaseException) -> bool:
    """Whether a retry is worthwhile after this error, given that the part has worked before."""
    return isinstance(error, LogError) and not isinstance(error, (*FATAL, LogClosedError, OutOfPatienceError))


class Trouble:
    """How long something has not worked, and how long to wait before it is tried again.

    Args:
        what: What it is, for people: ``engine``.
        retry_for: Seconds after which to give up; None never.
    """

    def __init__(self, what: str, retry_for: float | None = None) -> None:
        self._what = what
        self._retry_for = retry_for
        self._since: float | None = None
        self._told = 0.0
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)

    def failed(self, error: LogError) -> float:
        """It has failed (again), which is told now and then.

        Returns:
            Seconds to wait before the next try.

        Raises:
            OutOfPatienceError: It has failed for too long.
        """
        now = asyncio.get_running_loop().time()
        first = self._since is None
        since = self._since = now if self._since is None else self._since
        left = None if self._retry_for is None else since + self._retry_for - now
        if left is not None and left <= 0:
            raise OutOfPatienceError(error, now - since) from error
        if first or now - self._told >= TELL_EVERY:
            self._told = now
            lasted = {} if first else {"for_seconds": round(now - since)}
            _logger.warning("log trouble, trying again", part=self._what, error=error.sentence, **lasted)
        pause = self._backoff.next()
        return pause if left is None else min(pause, left)  # so that the last try is at the very end

    def over(self) -> None:
        """Record that the part has worked for a while."""
        self._since = None
        self._backoff.reset()

    def back(self) -> None:
        """Record that the part has begun to work again. The trouble may return."""
        if self._since is not None:
            _logger.info("log back", part=self._what)


async def supervise(
    what: str, attempt: Callable[[Callable[[], None]], Awaitable[None]], *, retry_for: float | None = None
) -> None:
    """Run a part until it ends by itself, is cancelled, or meets an error that a retry cannot cure.

    Args:
        what: What it is, for people.
        attempt: Runs it once; calls its argument when it is at work.
        retry_for: Seconds of trouble after which to give up; None never.

    Raises:
        LogError: One that does not pass (``FATAL``), or ``OutOfPatienceError``.
    """
    trouble = Trouble(what, retry_for)
    loop = asyncio.get_running_loop()
    while True:
        began: list[float] = []

        def at_work(began: list[float] = began) -> None:
            began.append(loop.time())
            trouble.back()

        try:
            await attempt(at_work)
        except LogError as error:
            if not may_pass(error):
                raise
            if began and loop.time() - began[0] >= STEADY_AFTER:
                trouble.over()
            await asyncio.sleep(trouble.failed(error))
        else:
            return


async def open_patiently(
    opening: Callable[[], Awaitable[Log]],
    *,
    retry_for: float | None = None,
    told: Callable[[LogError], None] | None = None,
) -> Log:
    """Open a log, and retry after temporary errors. Any other error, such as a wrong URL, is raised at once.

    Args:
        told: Called with each error that is waited out.

    Raises:
        LogError: It cannot be opened; ``OutOfPatienceError`` where it was tried for ``retry_for`` seconds.
    """
    trouble = Trouble("opening", retry_for)
    while True:
        try:
            return await opening()
        except LogUnavailableError as error:
            if told is not None:
                told(error)
            await asyncio.sleep(trouble.failed(error))
