"""Records which requests were refused before they reached an engine, so that the audit shows them.

A refused client can ask again and again, so the number of records is bounded. Equal refusals are counted and written
as one record. One write contains at most 20 kinds, and one more record for all others. Writes are one second apart,
then two, four, … up to a minute for as long as refusals continue. The log keeps the last 10,000 records.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec.structs import replace

from stepwell.backoff import Backoff
from stepwell.errors import StepwellError
from stepwell.log.port import REFUSALS, Log, NewRecord
from stepwell.logs import Logger
from stepwell.process import now_ms
from stepwell.schemas.records.refusals import KEPT, Refusal, discreet, encode_refusal
from stepwell.schemas.records.sender import Sender

MOST_KINDS: Final = 20  # kinds of refusals in one write
OTHERS: Final = "refused for other reasons, or to others"

_SHORTEST: Final = 1.0  # seconds between the first two writes
_LONGEST: Final = 60.0  # seconds between two writes when refusals continue
_PATIENCE: Final = 2.0  # seconds for the last write at the end of the process
_DELETED_EVERY: Final = 1_000  # records
_logger = Logger("stepwell.refusals")


class _Kind(NamedTuple):
    by: str
    via: str
    command: str
    why: str


class Refusals:
    """Collects refusals and writes them to the log. All calls must come from one event loop.

    Args:
        log: The log.
        pause: Seconds between the first two writes.
        clock: Returns the time in milliseconds since 1970.
    """

    def __init__(self, log: Log, *, pause: float = _SHORTEST, clock: Callable[[], int] = now_ms) -> None:
        self._log = log
        self._pause = pause
        self._clock = clock
        self._waiting: dict[_Kind, Refusal] = {}
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def note(self, command: str, why: str, sender: Sender) -> None:
        """Record one refusal. The call takes microseconds; a task writes the record later.

        Args:
            command: The type of the command, or the route.
            why: The reason of the refusal.
            sender: Who sent the request, and from where. If neither is known, nothing is recorded, as in all of the
                audit.
        """
        if self._closing.is_set() or not (sender.by or sender.via):
            return
        kind = _Kind(discreet(sender.by), discreet(sender.via), discreet(command), discreet(why))
        if kind not in self._waiting and len(self._waiting) >= MOST_KINDS:
            kind = _Kind("", "several", "several", OTHERS)
        now = self._clock()
        self._add(kind, Refusal(at=now, since=now, **kind._asdict()))
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._write_down())

    def _add(self, kind: _Kind, more: Refusal) -> None:
        found = self._waiting.get(kind)
        if found is not None:
            more = replace(more, since=min(found.since, more.since), at=max(found.at, more.at),
                           times=found.times + more.times)  # fmt: skip
        self._waiting[kind] = more

    async def _write_down(self) -> None:
        backoff = Backoff(self._pause, _LONGEST)
        while self._waiting:
            await self._write()
            if self._closing.is_set():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.next()):
                    await self._closing.wait()

    async def _write(self) -> None:
        written, self._waiting = self._waiting, {}
        try:
            offsets = await self._log.append(
                REFUSALS, 0, [NewRecord(one.via, encode_refusal(one)) for one in written.values()]
            )
        except StepwellError as error:
            _logger.warning("refusals cannot be noted yet", kinds=len(written), error=str(error))
            for kind, refusal in written.items():
                self._add(kind, refusal)
            return
        if offsets[0] // _DELETED_EVERY != (offsets[-1] + 1) // _DELETED_EVERY and offsets[0] > KEPT:
            with contextlib.suppress(StepwellError):  # the next deletion covers these records, too
                await self._log.delete_before(REFUSALS, 0, offsets[0] - KEPT)

    async def close(self) -> None:
        """Write the collected refusals, within two seconds, and accept no more."""
        self._closing.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=_PATIENCE)
            self._task.cancel()
