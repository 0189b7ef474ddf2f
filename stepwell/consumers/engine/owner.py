"""The owner of one partition: claims it, takes it over, and decides its commands as long as the claim stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from stepwell.consumers.engine.admission import Admission
from stepwell.consumers.engine.care import InboxEnds
from stepwell.consumers.engine.clock import Clock, PartitionClock
from stepwell.consumers.engine.ledger import Claimant, Ledger
from stepwell.consumers.engine.takeover import Possession, take_over
from stepwell.consumers.engine.tenure import Tenure
from stepwell.consumers.registry.definitions import Definitions
from stepwell.core.decide.deaths import MOST_DEATHS, died_over
from stepwell.log.port import COMMANDS, STARTS, Log
from stepwell.logs import Logger
from stepwell.schemas.records.partition_records import PartitionOwned
from stepwell.tasks import cancel_and_wait

_logger = Logger("stepwell.owner")


class PartitionOwner:
    """Owns one partition from its claim until it is told to stop or meets a surprise.

    Args:
        admission: Says when starts are taken; shared by the owners of one engine.
        name: Who it is, for people who read the log.
        clock: This machine's.
        process: Whose life this is: no other process has the same, and none after a restart.
        alive: Asked which processes live, where one may have died.
        most_deaths: How many processes may die over a command before its instance is quarantined.
        reached: Told up to where a topic was followed; see ``port.Membership``.
        snapshot: Take a snapshot as soon as all that there is has been delivered; done when it counts, and a record
            behind it names it, by which it is found.

    Attributes:
        tenure: What it does since it has taken the partition over; None before.
    """

    def __init__(
        self,
        log: Log,
        partition: int,
        definitions: Definitions,
        admission: Admission,
        *,
        name: str,
        clock: Clock,
        process: str = "",
        alive: Callable[[], Awaitable[Collection[str]]] | None = None,
        most_deaths: int = MOST_DEATHS,
        reached: Callable[[str, int, int], None] | None = None,
        snapshot: asyncio.Future[None] | None = None,
    ) -> None:
        self._log = log
        self.partition = partition
        self._definitions = definitions
        self._admission = admission
        self._clock = clock
        self._claimant = Claimant(name, process, clock.wall)
        self._alive = alive
        self._most_deaths = most_deaths
        self._reached = reached
        self._wanted_snapshot = snapshot
        self._taken_at: float | None = None
        self.tenure: Tenure | None = None

    def steady_for(self) -> float:
        """Seconds since it has taken the partition over; 0 before."""
        return 0.0 if self._taken_at is None else asyncio.get_running_loop().time() - self._taken_at

    async def run(self) -> None:
        """Take the partition over and decide its commands until cancelled.

        Raises:
            SurpriseError: Claim anew, if the group still gives the partition to this process.
            LogError: The log cannot be used.
        """
        claimant = self._claimant
        possession = await take_over(self._log, self.partition, claimant.name, claimant.wall(), claimant.process)
        commands, starts = [await self._log.end(topic, self.partition) for topic in (COMMANDS, STARTS)]
        clock = PartitionClock(self._clock, self.partition, possession.state.at)
        deaths = await self._deaths(possession.claims)
        self.tenure = tenure = self._begin(possession, InboxEnds(commands, starts), deaths, clock)
        self._taken_at = asyncio.get_running_loop().time()
        trouble = tenure.ledger.trouble
        work = asyncio.ensure_future(tenure.work())
        try:
            await asyncio.wait((work, trouble), return_when=asyncio.FIRST_COMPLETED)
            if trouble.done():
                trouble.result()
            work.result()
        finally:
            # All that ends at once comes first: who gives up a partition may be cancelled itself meanwhile.
            if not trouble.done() and not work.done():
                tenure.ledger.tell_of_living()
            tenure.stop()
            try:
                await cancel_and_wait(work)
            finally:
                tenure.ledger.settle()

    async def _deaths(self, claims: Sequence[PartitionOwned]) -> list[PartitionOwned]:
        """The claims that tell what the owners before have died over."""
        if not died_over(claims, (self._claimant.process,)):
            return []
        return died_over(claims, (self._claimant.process, *(await self._alive() if self._alive is not None else ())))

    def _begin(
        self, possession: Possession, until: InboxEnds, deaths: Sequence[PartitionOwned], clock: PartitionClock
    ) -> Tenure:
        ledger = Ledger(
            self._log,
            self.partition,
            possession,
            self._claimant,
            asked=until.commands,
            reached=self._reached,
            snapshot=self._wanted_snapshot,
        )
        tenure = Tenure(
            self._log,
            ledger,
            possession,
            self._definitions,
            until=until,
            deaths=deaths,
            most_deaths=self._most_deaths,
            admission=self._admission,
            clock=clock,
        )
        _logger.info(
            "took over",
            partition=self.partition,
            epoch=possession.epoch,
            instances=len(possession.state.instances),
            resent=len(possession.resend),
        )
        return tenure
