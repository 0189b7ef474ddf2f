"""The transitions of one claim: on their way into the log, proved by it, and delivered.

A ledger keeps three states of the same history, all persistent maps, so each costs a pointer:

- *speculative*: what is decided on. Runs ahead of the disk and never waits for it.
- *confirmed*: what acknowledgements have proved to count. Effects leave from here.
- *delivered*: the part of that whose effects are known to have arrived. Snapshots are taken of it.

There is one error path. An append that fails, ends in doubt or lands anywhere but where it must: ``trouble`` says so,
everything is dropped, and whoever the group then gives the partition to takes it over from the log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from msgspec import Struct

from stepwell.consumers.engine.delivering import Deliveries
from stepwell.consumers.engine.snapshotting import Covered, SinceSnapshot, Snapshots
from stepwell.consumers.engine.takeover import Possession, claim_of, is_unsettled
from stepwell.consumers.engine.trouble import tell_trouble
from stepwell.consumers.reading.snapshots import SurpriseError
from stepwell.core.decide.effects import Effect, effects
from stepwell.core.fold.acceptance import SNAPSHOT, TRANSITION, Acceptance, Stamp, proves, stamp_headers
from stepwell.core.fold.partition import PartitionState, enter
from stepwell.core.fold.state import InstanceState
from stepwell.errors import LogClosedError
from stepwell.log.port import COMMANDS, EVENTS, NO_HEADERS, STARTS, Log, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.events import EVENTS_VERSION, Transition
from stepwell.schemas.records.partition_records import Deciding, PartitionOwned, PartitionSnapshotted


class Decided(NamedTuple):
    """A transition about to be appended.

    Attributes:
        value: The transition, encoded.
        after: The instance after it; None where it only answers for one that is not live.
    """

    transition: Transition
    value: bytes
    after: InstanceState | None


class _Unproved(Struct, frozen=True, gc=False):
    """A record on its way, with what it makes of the partition.

    Attributes:
        at: Its place; its index is 0 where it is a claim.
        decided: None for a snapshot's own record, and for a claim.
    """

    at: Acceptance
    decided: Decided | None
    state: PartitionState
    size: int


class Claimant(Struct, frozen=True, gc=False):
    """Who claims a partition.

    Attributes:
        name: For people who read the log.
        process: Whose life it is: no other process has the same, and none after a restart.
        wall: This machine's clock, in milliseconds since 1970.
    """

    name: str
    process: str
    wall: Callable[[], int]

    def claim(self, named: Deciding | None) -> PartitionOwned:
        """What a claim says.

        Args:
            named: What is decided next.
        """
        return PartitionOwned(EVENTS_VERSION, self.wall(), self.name, self.process, named)


class Ledger:
    """The transitions of one claim.

    Args:
        possession: The partition as it was taken over.
        claimant: Who has claimed it.
        asked: The end of ``commands`` at that moment. What the owner before may not have delivered is sent again
            once all below is decided: the outcomes of some of it may be there.
        reached: Told up to where a topic was followed; see ``port.Membership``.
        snapshot: Take a snapshot as soon as all that there is has been delivered; done when it counts, and a record
            behind it names it, by which it is found.

    Attributes:
        epoch: Offset of the newest claim.
        index: How many records of this owner stand behind that, or are on their way there.
        speculative: The partition as it is decided on,
        confirmed: and as the log has proved it.
        proved: Place of the newest record that the log has proved.
        source: Offset of the newest record of ``commands`` that was followed,
        started: and of ``starts``.
        deliveries: What is sent out.
        snapshots: Those that are taken.
        trouble: Fails once an append went wrong.
    """

    def __init__(
        self,
        log: Log,
        partition: int,
        possession: Possession,
        claimant: Claimant,
        *,
        asked: int,
        reached: Callable[[str, int, int], None] | None = None,
        snapshot: asyncio.Future[None] | None = None,
    ) -> None:
        self._log = log
        self.partition = partition
        self._claimant = claimant
        self._reached = reached
        self._wanted_snapshot = snapshot
        self._is_second_snapshot = False
        self.epoch: int = possession.epoch
        self.index: int = 0
        self.confirmed: PartitionState = possession.state
        self.speculative: PartitionState = possession.state
        self.proved: Acceptance = Acceptance(self.epoch)
        self._named = -1  # our newest claim that names what is decided
        self._unproved: deque[_Unproved] = deque()
        self._room = asyncio.Event()
        self.trouble: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        progress = possession.state.progress
        self.source: int = progress.command - 1
        self.started: int = progress.start - 1
        moved = None if snapshot is None else self._snapshot_at_once
        self.deliveries: Deliveries = Deliveries(
            log, self.epoch, possession.state, possession.released, self._failed, moved=moved
        )
        tail = SinceSnapshot(possession.tail_bytes, possession.tail_since)
        self.snapshots: Snapshots = Snapshots(log, partition, possession.reader, tail, owner=claimant.name)
        self._again: Sequence[Effect] | None = possession.resend
        self._asked = asked
        self._asked_at: int | None = None  # offset of the transition that answers the last of it

    @property
    def is_at_rest(self) -> bool:
        """Whether all that was added is proved and delivered."""
        return not self._unproved and not self.deliveries.under_way

    def add(
        self,
        instance_id: str,
        decided: Decided,
        batch: list[NewRecord],
        *,
        told: Mapping[str, str] = NO_HEADERS,
        ahead: int = -1,
    ) -> None:
        """Take a decision into the speculative state, and put it with those that are appended next.

        Args:
            told: Headers that tell who asked for it.
            ahead: Its offset on ``starts``, where it has not had its turn; else -1.
        """
        self.index += 1
        stamp = self._stamp(ahead)
        self.speculative = enter(self.speculative, instance_id, decided.after, stamp=stamp, at=decided.transition.at)
        headers = stamp_headers(TRANSITION, stamp)
        headers.update(told)
        batch.append(NewRecord(instance_id, decided.value, headers))
        at = Acceptance(self.epoch, self.index)
        self._unproved.append(_Unproved(at, decided, self.speculative, len(decided.value)))

    def _stamp(self, ahead: int = -1) -> Stamp:
        progress = self.speculative.progress
        source, started = self.source, max(self.started, progress.start - 1)
        if ahead >= 0:  # the command that it is started for has yet to be followed
            source, started = progress.command - 1, progress.start - 1
        return Stamp(self.epoch, self.index, source, self.snapshots.at, self.deliveries.released, started, ahead)

    def flush(self, batch: list[NewRecord]) -> None:
        """Append the transitions decided last; must come before anything is waited for."""
        if batch:
            self._append(list(batch))
            batch.clear()

    async def until_proved(self, *, but: int = 0) -> None:
        """Wait until all that is on its way is proved, but for so many records."""
        while len(self._unproved) > but:
            self._room.clear()
            await self._room.wait()

    async def claim(self, named: Deciding | None, batch: list[NewRecord]) -> None:
        """Where something is to be named: claim the partition anew with it, and wait until that is durable."""
        if named is None:
            return
        self.flush(batch)
        # It lands right behind what is on its way, or it is a surprise: as with every other record.
        claim = Acceptance(self.epoch + self.index + 1)
        self.epoch, self.index, self._named = claim.epoch, claim.index, claim.offset
        self._unproved.append(_Unproved(claim, None, self.speculative, 0))
        self._append([claim_of(self._claimant.claim(named))])
        await self.until_proved()

    def tell_of_living(self) -> None:
        """Who is told to stop does not die over what was named last: claim once more, and name nothing."""
        if self._named >= 0 and self.proved.offset <= self._named:
            future = self._log.append(EVENTS, self.partition, [claim_of(self._claimant.claim(None))])
            future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def look_at_the_end(self, position: int) -> None:
        """Note how far ``commands`` was followed: at the end that it had at the claim, what is owed is sent again."""
        if self._asked_at is None and position >= self._asked:
            self._asked_at = self.epoch + self.index
            self._send_again()

    def settle(self) -> None:
        """Ask for the error of a trouble, so that asyncio does not complain where nobody else did."""
        if not self.trouble.cancel():
            self.trouble.exception()

    # --- what the log proves --------------------------------------------------------------------------------

    def _append(self, batch: list[NewRecord]) -> None:
        future = self._log.append(EVENTS, self.partition, batch)
        first = self.epoch + self.index - len(batch) + 1
        future.add_done_callback(partial(self._acknowledged, first))

    def _acknowledged(self, first: int, future: asyncio.Future[Sequence[int]]) -> None:
        if self.trouble.done():
            if not future.cancelled():
                future.exception()  # asked for, so that asyncio does not complain: one of several has been told
            return
        try:
            self._confirm(first, future.result())
        except (asyncio.CancelledError, LogClosedError):
            return
        except Exception as error:  # whatever it was, nothing is known about the records
            self.stumble(error)

    def _confirm(self, first: int, offsets: Sequence[int]) -> None:
        found: list[Effect] = []
        for expected, offset in enumerate(offsets, first):
            # The proof is for all up to this one: an acknowledgement that comes out of turn proves nothing.
            in_turn = expected == self.proved.offset + 1
            head = self._unproved[0]
            if not in_turn or not proves(head.at.epoch, head.at.index, offset):
                raise SurpriseError(f"partition {self.partition}: what was to land at {expected} landed at {offset}")
            self._unproved.popleft()
            before, self.confirmed = self.confirmed, head.state
            self.proved = head.at
            if not head.at.index:  # a claim
                continue
            self.snapshots.grew(head.size, head.state.at)
            if head.decided is None:
                self.snapshots.accepted(offset)
                self._tell_snapshot()
                continue
            transition, after = head.decided.transition, head.decided.after
            earlier = before.instances.get(transition.instance_id)
            found += effects(earlier, transition, after)
            tell_trouble(earlier, after)
        self.deliveries.send(found, self.proved, self.confirmed)
        self.tell_reached()
        self._send_again()
        self._room.set()

    def tell_reached(self) -> None:
        """Say how far we have come: what is proved, or where nothing is on its way, what was looked at."""
        if self._reached is not None:
            progress = self.confirmed.progress
            command, start = (
                (self.source + 1, self.started + 1) if not self._unproved else (progress.command, progress.start)
            )
            self._reached(COMMANDS, self.partition, command)
            self._reached(STARTS, self.partition, start)

    def _send_again(self) -> None:
        """Send what the owner before us may not have delivered, as far as it is still unsettled."""
        if self._again is None or self._asked_at is None or self.proved.offset < self._asked_at:
            return
        found, self._again = [effect for effect in self._again if is_unsettled(self.confirmed, effect)], None
        self.deliveries.send_again(found)

    # --- snapshots ------------------------------------------------------------------------------------------

    def maybe_snapshot(self) -> None:
        """Begin a snapshot where it is time for one."""
        delivered = self.deliveries.state
        if delivered is not None and self.snapshots.due(delivered.at):
            self._take_snapshot()

    def _snapshot_at_once(self) -> None:
        wanted = self._wanted_snapshot
        if wanted is not None and not wanted.done() and not self.deliveries.under_way and self.snapshots.idle:
            self._take_snapshot()

    def _take_snapshot(self) -> None:
        delivered = self.deliveries
        if delivered.state is not None:
            covers = Covered(delivered.state, delivered.at)
            self.snapshots.start(covers, self._append_snapshot, self.stumble)

    def _tell_snapshot(self) -> None:
        wanted = self._wanted_snapshot
        if wanted is not None and not wanted.done():
            if self._is_second_snapshot:
                wanted.set_result(None)
            else:  # where nothing else happens, a second one names the first
                self._is_second_snapshot = True
                self.snapshots.when_idle(self._snapshot_at_once)

    def _append_snapshot(self, snapshot: PartitionSnapshotted) -> None:
        # Between two batches, so the next index is free: the work loop never waits with a batch half made.
        self.index += 1
        value = encode(snapshot)
        at = Acceptance(self.epoch, self.index)
        self._unproved.append(_Unproved(at, None, self.speculative, len(value)))
        self._append([NewRecord("", value, stamp_headers(SNAPSHOT, self._stamp()))])

    # --- trouble --------------------------------------------------------------------------------------------

    def _failed(self, future: asyncio.Future[Any]) -> bool:
        if future.cancelled():
            return True
        error = future.exception()
        if error is not None and not isinstance(error, LogClosedError):
            self.stumble(error)
        return error is not None

    def stumble(self, error: BaseException) -> None:
        """Have the claim given up, because something went wrong."""
        if not self.trouble.done():
            self.trouble.set_exception(error)
