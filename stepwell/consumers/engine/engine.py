"""The engine: owns the partitions that the group gives to this process, and gives them up again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from stepwell.backoff import Backoff
from stepwell.consumers.engine.admission import MOST_RUNS, Admission
from stepwell.consumers.engine.clock import Clock
from stepwell.consumers.engine.owner import PartitionOwner
from stepwell.consumers.reading.snapshots import SurpriseError
from stepwell.consumers.registry.definitions import Definitions
from stepwell.core.decide.deaths import MOST_DEATHS
from stepwell.errors import LogClosedError, LogError, LogFullError, LogLostError
from stepwell.log.port import DEFINITIONS, ENGINES, Log, Membership
from stepwell.logs import Logger
from stepwell.process import THIS_PROCESS, now_ms, process_name
from stepwell.supervision import FATAL, STEADY_AFTER, OutOfPatienceError, Trouble
from stepwell.tasks import cancel_and_wait

_logger = Logger("stepwell.engine")

_FIRST_PAUSE: Final = 0.05  # seconds; doubled for each further surprise, so that two owners never fight hot
_LONGEST_PAUSE: Final = 2.0


_PROCESS: Final = "process"  # what an engine says of itself, so that others know that it lives


async def live_processes(log: Log) -> list[str]:
    """The processes of the live engines of a log."""
    return [member.about.get(_PROCESS, "") for member in await log.members(ENGINES)]


class Engine:
    """Decides the commands of the partitions that it is given.

    Args:
        clock: Milliseconds since 1970; only new decisions look at it, replays never.
        name: Who it is, for people; without one, host and process id.
        most_runs: Steps in the hands of workers, over all its partitions, at which it takes no further starts.
        retry_for: Seconds for which a partition may have trouble with the log before the engine gives up; None
            for ever.
        process: Whose life this is: no other process has the same, and none after a restart. Without one, the
            running program's.
        most_deaths: How many processes may die over one command, or have to be killed, before its instance is
            quarantined.
        outlast: Go on with the other partitions where one has stopped because nobody may decide on it: its events
            are damaged, or of a newer version. Otherwise, and where none is left, ``run`` raises what stopped it.
    """

    def __init__(
        self,
        log: Log,
        *,
        definitions: Definitions | None = None,
        clock: Callable[[], int] = now_ms,
        name: str = "",
        most_runs: int = MOST_RUNS,
        retry_for: float | None = None,
        process: str = THIS_PROCESS,
        most_deaths: int = MOST_DEATHS,
        outlast: bool = False,
    ) -> None:
        self._log = log
        self._process = process
        self._most_deaths = most_deaths
        self._outlast = outlast
        self._most_runs = most_runs
        self._retry_for = retry_for
        self._wall = clock
        self._clock: Clock
        self._name = name or process_name()
        self._definitions = definitions or Definitions(log)
        self._owners: dict[int, asyncio.Task[None]] = {}
        self._stopped: set[int] = set()
        self._fatal: asyncio.Future[None]
        self._membership: Membership
        self._admission: Admission

    async def run(self, at_work: Callable[[], None] | None = None) -> None:
        """Work until cancelled, then give the partitions back.

        Args:
            at_work: Called once it has joined the other engines.

        Raises:
            LogError: Of a kind that a person must look at, or that does not concern a single partition.
        """
        self._fatal = asyncio.get_running_loop().create_future()
        self._admission = Admission(self._most_runs)
        self._clock = Clock(self._wall)
        about = {"name": self._name, "max_runs": str(self._most_runs), _PROCESS: self._process}
        self._membership = await self._log.join(ENGINES, about)
        if at_work is not None:
            at_work()
        tail = asyncio.ensure_future(self._follow_definitions())
        follow = asyncio.ensure_future(self._follow_assignment())
        try:
            await asyncio.wait((follow, tail, self._fatal), return_when=asyncio.FIRST_COMPLETED)
            for done in (self._fatal, follow, tail):
                if done.done():
                    done.result()
        except LogClosedError:
            pass
        finally:
            await cancel_and_wait(follow, tail, *self._owners.values())
            self._owners.clear()
            if not self._fatal.cancel():
                self._fatal.exception()  # asked for, so that asyncio does not complain where we were cancelled
            with suppress(LogError):  # the log strikes us off once it can, and what ended us is told
                await self._membership.leave()

    async def _follow_assignment(self) -> None:
        given: frozenset[int] = await self._membership.assignment()
        while True:
            for partition in sorted(self._owners.keys() - given):
                await self._give_up(partition)
            for partition in sorted(given):
                owner = self._owners.get(partition)
                if owner is None or owner.done():
                    self._stopped.discard(partition)
                    self._owners[partition] = asyncio.ensure_future(self._own(partition))
            given = await self._membership.changed(given)

    async def _give_up(self, partition: int) -> None:
        await cancel_and_wait(self._owners[partition])
        self._stopped.discard(partition)
        del self._owners[partition]  # not before: where we are cancelled meanwhile, somebody must wait for it
        _logger.info("gave up", partition=partition)

    async def _own(self, partition: int) -> None:
        """Own a partition for as long as the group says so, claiming it anew after every surprise."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, well_after=STEADY_AFTER)
        trouble = Trouble(f"partition {partition}", self._retry_for)
        while True:
            began = loop.time()
            owner = PartitionOwner(
                self._log,
                partition,
                self._definitions,
                self._admission,
                name=self._name,
                clock=self._clock,
                process=self._process,
                alive=partial(live_processes, self._log),
                most_deaths=self._most_deaths,
                reached=self._membership.reached,
            )
            try:
                given = await self._membership.assignment()
                while partition not in given:  # we are about to be told so, unless it comes back first
                    given = await self._membership.changed(given)
                await owner.run()
            except LogClosedError:
                return
            except FATAL as error:
                _logger.warning("partition stopped", partition=partition, error=error.sentence)
                self._stopped.add(partition)
                of_all = isinstance(error, (LogFullError, LogLostError)) or self._owners.keys() <= self._stopped
                if of_all or not self._outlast:
                    self._give_out(error)
                return
            except LogError as error:
                if owner.steady_for() >= STEADY_AFTER:
                    trouble.over()
                try:
                    await asyncio.sleep(trouble.failed(error))
                except OutOfPatienceError as too_long:
                    self._give_out(too_long)
                    return
                continue
            except SurpriseError as surprise:
                _logger.info("somebody else wrote; claiming anew", partition=partition, reason=str(surprise))
            except Exception as error:
                _logger.warning("claiming the partition anew", partition=partition, error=str(error), exc_info=True)
            await asyncio.sleep(backoff.next(loop.time() - began))

    def _give_out(self, error: LogError) -> None:
        if not self._fatal.done():
            self._fatal.set_exception(error)

    async def _follow_definitions(self) -> None:
        await self._definitions.catch_up()
        while True:
            await self._log.read(DEFINITIONS, 0, self._definitions.position, limit=1, wait=None)
            await self._definitions.catch_up()
