"""The owner of one partition: decides its commands in order, and believes only what the log proves.

It keeps three states of the same history, all persistent maps, so each costs a pointer:

- *speculative*: what it decides on. Runs ahead of the disk and never waits for it.
- *confirmed*: what acknowledgements have proved to count. Effects leave from here.
- *delivered*: the part of that whose effects are known to have arrived. Snapshots are taken of it.

There is one error path. An append that fails, ends in doubt or lands anywhere but where it must: everything is
dropped, and whoever the group then gives the partition to (perhaps this process again) takes it over from the log.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from msgspec import Struct

from stepwell.consumers.admission import Admission
from stepwell.consumers.deciding import Decided, Decider
from stepwell.consumers.definitions import Definitions
from stepwell.consumers.delivering import Deliveries
from stepwell.consumers.inbox import BATCH, Inbox
from stepwell.consumers.snapshotting import Covered, Snapshots, Tail
from stepwell.consumers.strays import Asked, Strays, read_commands
from stepwell.consumers.takeover import Possession, SurpriseError, is_unsettled, take_over
from stepwell.core.acceptance import SNAPSHOT, TRANSITION, Stamp, proves, stamp_headers
from stepwell.core.effects import Effect, effects
from stepwell.core.load import change, runs_of
from stepwell.core.partition import PartitionState, enter
from stepwell.core.starting import can_continue
from stepwell.core.state import InstanceState
from stepwell.errors import LogClosedError
from stepwell.log.port import COMMANDS, EVENTS, NO_HEADERS, STARTS, Log, NewRecord
from stepwell.schemas.codec import decode_command, encode
from stepwell.schemas.commands import (
    CancelWorkflow,
    Command,
    ContinueWorkflow,
    FireTimer,
    InternalCommand,
    PauseWorkflow,
    ResumeWorkflow,
    RollbackWorkflow,
    StartWorkflow,
)
from stepwell.schemas.events import (
    CommandRejected,
    PartitionSnapshotted,
    StepRetryScheduled,
    StepReturned,
    StepStarted,
    StepWaiting,
    WorkflowReopened,
    WorkflowResumed,
    WorkflowStarted,
)
from stepwell.schemas.sender import answering
from stepwell.schemas.waiting import ApprovalRequired, ChildRequested
from stepwell.telling import Logger

_logger = Logger("stepwell.owner")

# Transitions on their way to the disk at once; bounds memory when the disk is slower than deciding.
MAX_UNPROVED: Final = 4_000

_SETS_TIMER: Final = (
    WorkflowStarted, StepRetryScheduled, StepWaiting, StepReturned, StepStarted, ApprovalRequired, ChildRequested,
)  # fmt: skip
_RESUMES: Final = (WorkflowResumed, WorkflowReopened)
_STEERS: Final = (CancelWorkflow, PauseWorkflow, ResumeWorkflow, RollbackWorkflow)


class _Unproved(Struct, frozen=True, gc=False):
    """A transition on its way, with what it makes of the partition."""

    index: int
    decided: Decided | None  # None for a snapshot's own record
    state: PartitionState
    size: int


class PartitionOwner:
    """Owns one partition from its claim until it is told to stop or meets a surprise.

    Args:
        admission: Says when starts are taken; shared by the owners of one engine.
        name: Who it is, for people who read the log.
        clock: Milliseconds since 1970.
        reached: Told up to where a topic was followed; see ``port.Membership``.
    """

    def __init__(
        self,
        log: Log,
        partition: int,
        definitions: Definitions,
        admission: Admission,
        *,
        name: str,
        clock: Callable[[], int],
        reached: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self._log = log
        self._reached = reached
        self.partition = partition
        self._definitions = definitions
        self._admission = admission
        self._name = name
        self._clock = clock
        self._strays = Strays(log, partition)
        self._timers: list[tuple[int, str, str]] = []  # (due, instance, timer): a heap; the state says which hold
        self._continuing: deque[str] = deque()  # instances with more to start than fitted one record
        self._unproved: deque[_Unproved] = deque()
        self._room = asyncio.Event()
        self._trouble: asyncio.Future[None]
        self._taken_at: float | None = None

    def steady_for(self) -> float:
        """Seconds since it has taken the partition over; 0 before."""
        return 0.0 if self._taken_at is None else asyncio.get_running_loop().time() - self._taken_at

    async def run(self) -> None:
        """Take the partition over and decide its commands until cancelled.

        Raises:
            SurpriseError: Claim anew, if the group still gives the partition to this process.
            LogError: The log cannot be used.
        """
        self._trouble = asyncio.get_running_loop().create_future()
        possession = await take_over(self._log, self.partition, self._name, self._clock())
        self._begin(possession, await self._log.end(COMMANDS, self.partition))
        self._taken_at = asyncio.get_running_loop().time()
        work = asyncio.ensure_future(self._work())
        try:
            await asyncio.wait((work, self._trouble), return_when=asyncio.FIRST_COMPLETED)
            if self._trouble.done():
                self._trouble.result()
            work.result()
        finally:
            # All that ends at once comes first: who gives up a partition may be cancelled itself meanwhile.
            work.cancel()
            self._inbox.stop()
            self._snapshots.stop()
            self._admission.changed(-self._runs)
            try:
                await asyncio.gather(work, return_exceptions=True)
            finally:
                if not self._trouble.cancel():
                    self._trouble.exception()  # asked for, so that asyncio does not complain where we were cancelled

    def _begin(self, possession: Possession, asked: int) -> None:
        self.epoch = possession.epoch
        self.index = 0
        self.speculative = self.confirmed = possession.state
        self._proved_index = 0
        self._deliveries = Deliveries(self._log, self.epoch, possession.state, possession.released, self._failed)
        place = possession.state.place
        self._source = place.command - 1
        self._started = place.start - 1
        self._inbox = Inbox(self._log, self.partition, place, self._admission)
        self._runs = sum(len(runs_of(instance)) for instance in possession.state.instances.values())
        self._admission.changed(self._runs)
        self._reader = possession.reader
        self._decider = Decider(self._log, self.partition, self._definitions, self._reader)
        tail = Tail(possession.tail_bytes, possession.tail_since)
        self._snapshots = Snapshots(self._log, self.partition, possession.reader, tail, owner=self._name)
        for instance in possession.state.instances.values():
            self._arm(instance)
        self._continuing.extend(sorted(possession.state.instances))  # a map's own order hangs on the hash seed
        # Before anything is sent again comes what was asked for by now: the outcomes of some may be there.
        self._again: Sequence[Effect] | None = possession.resend
        self._asked = asked
        self._asked_index: int | None = None  # the transition that answers the last of it
        _logger.info(
            "took over",
            partition=self.partition,
            epoch=self.epoch,
            instances=len(possession.state.instances),
            resent=len(possession.resend),
        )

    # --- deciding -------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            if self._asked_index is None and self._inbox.position >= self._asked:
                self._asked_index = self.index
                self._send_again()
            wait = 0.0 if self._continuing else self._until_next_timer()
            commands, starts = await self._inbox.next(wait)
            asked = [*read_commands(COMMANDS, commands), *read_commands(STARTS, starts)]
            await self._strays.send_on(asked)  # before any transition covers their places
            batch: list[NewRecord] = []
            for one in asked:
                offset = one.record.offset
                if one.topic == COMMANDS:
                    self._source = offset
                elif offset in self.speculative.place.ahead:
                    continue
                else:
                    self._started = offset
                await self._follow(one, batch)
            await self._fire_timers(batch)
            await self._continue(batch)
            self._flush(batch)
            self._tell_reached()
            self._maybe_snapshot()
            while len(self._unproved) > MAX_UNPROVED:
                self._room.clear()
                await self._room.wait()

    async def _follow(self, one: Asked, batch: list[NewRecord]) -> None:
        command = one.command
        if command is None:
            self._watch(self._strays.put_aside(one))
        elif self._strays.is_stray(command):
            note = self._strays.note(one, command, self._now())
            # What is sent on is answered where it belongs, and its sender is named there.
            refused = isinstance(note.transition.events[0], CommandRejected)
            told = answering(one.record.headers, command) if refused else NO_HEADERS
            self._enter(command, None, note, batch, told=told)
        else:
            await self._decide(command, batch, asked=one.record.headers)

    async def _fire_timers(self, batch: list[NewRecord]) -> None:
        now = self._now()
        while self._timers and self._timers[0][0] <= now and len(batch) < BATCH:
            due, instance_id, timer = heapq.heappop(self._timers)
            instance = self.speculative.instances.get(instance_id)
            if instance is not None and instance.timers.get(timer) == due:
                await self._decide(FireTimer(instance_id, timer), batch)

    async def _continue(self, batch: list[NewRecord]) -> None:
        while self._continuing and len(batch) < BATCH:
            instance_id = self._continuing.popleft()
            instance = self.speculative.instances.get(instance_id)
            if instance is not None and self._can_continue(instance):
                await self._decide(ContinueWorkflow(instance_id), batch)

    def _can_continue(self, instance: InstanceState) -> bool:
        if instance.active and not instance.deferred and not instance.deferred_sequential:
            return False
        plan = self._definitions.by_hash(instance.definition)
        return plan is None or can_continue(instance, plan)  # not known yet: deciding waits for it

    async def _start_ahead(self, instance_id: str, batch: list[NewRecord]) -> None:
        """Start an instance that is asked about before its start has had its turn."""
        self._flush(batch)
        first, place = self._started + 1, self.speculative.place
        if first >= await self._log.end(STARTS, self.partition):
            return
        for record in await self._log.read_key(STARTS, self.partition, instance_id, offset=first):
            with suppress(ValueError):  # it will be put aside in its turn
                start = decode_command(record.value)
                if isinstance(start, StartWorkflow) and record.offset not in place.ahead:
                    await self._decide(start, batch, asked=record.headers, ahead=record.offset)
                    return

    async def _decide(
        self,
        command: Command | InternalCommand,
        batch: list[NewRecord],
        *,
        asked: Mapping[str, str] = NO_HEADERS,
        ahead: int = -1,
    ) -> None:
        instance = self.speculative.instances.get(command.instance_id)
        if instance is None and isinstance(command, _STEERS) and command.instance_id not in self.speculative.finished:
            await self._start_ahead(command.instance_id, batch)
            instance = self.speculative.instances.get(command.instance_id)
        if self._decider.needs_more(self.speculative, instance, command):
            # Definitions or a finished instance's history must be read first. What the history holds must be
            # proved by then, so flush what was decided before.
            self._flush(batch)
            while self._unproved:
                self._room.clear()
                await self._room.wait()
            self._reader.jump(self.epoch, self._proved_index)
            await self._decider.learn(instance, command)
        decided = self._decider.decide(self.speculative, instance, command, self._now())
        if decided is not None:
            self._enter(command, instance, decided, batch, told=answering(asked, command), ahead=ahead)

    def _enter(
        self,
        command: Command | InternalCommand,
        instance: InstanceState | None,
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
        self.speculative = enter(
            self.speculative, command.instance_id, decided.after, stamp=stamp, at=decided.transition.at
        )
        more = change(instance, decided.transition, decided.after)
        if more:
            self._runs += more
            self._admission.changed(more)
        headers = stamp_headers(TRANSITION, stamp)
        headers.update(told)
        batch.append(NewRecord(command.instance_id, decided.value, headers))
        self._unproved.append(_Unproved(self.index, decided, self.speculative, len(decided.value)))
        self._look_ahead(decided)

    def _stamp(self, ahead: int = -1) -> Stamp:
        place = self.speculative.place
        source, started = self._source, max(self._started, place.start - 1)
        if ahead >= 0:  # the command that it is started for has yet to be followed
            source, started = place.command - 1, place.start - 1
        return Stamp(self.epoch, self.index, source, self._snapshots.at, self._deliveries.released, started, ahead)

    def _look_ahead(self, decided: Decided) -> None:
        """Note the timers that a transition has set, and whether there is more to start."""
        after = decided.after
        if after is None or not after.live:
            return
        for event in decided.transition.events:
            if isinstance(event, _RESUMES):
                self._arm(after)
            elif isinstance(event, _SETS_TIMER) and event.due is not None:
                timer = getattr(event, "step_id", "")
                heapq.heappush(self._timers, (event.due, after.id, timer))
        if self._can_continue(after):
            self._continuing.append(after.id)

    def _arm(self, instance: InstanceState) -> None:
        for timer, due in instance.timers.items():
            heapq.heappush(self._timers, (due, instance.id, timer))

    def _now(self) -> int:
        return max(self._clock(), self.speculative.at)

    def _until_next_timer(self) -> float | None:
        return max(0, self._timers[0][0] - self._clock()) / 1000 if self._timers else None

    # --- what the log proves --------------------------------------------------------------------------------

    def _flush(self, batch: list[NewRecord]) -> None:
        """Append the transitions decided last; must come before anything is waited for."""
        if batch:
            self._append(list(batch))
            batch.clear()

    def _append(self, batch: list[NewRecord]) -> None:
        future = self._log.append(EVENTS, self.partition, batch)
        future.add_done_callback(partial(self._acknowledged, self.index - len(batch) + 1))

    def _acknowledged(self, first: int, future: asyncio.Future[Sequence[int]]) -> None:
        if self._trouble.done():
            if not future.cancelled():
                future.exception()  # asked for, so that asyncio does not complain: one of several has been told
            return
        try:
            self._confirm(first, future.result())
        except (asyncio.CancelledError, LogClosedError):
            return
        except Exception as error:  # whatever it was, nothing is known about the records
            self._stumble(error)

    def _confirm(self, first: int, offsets: Sequence[int]) -> None:
        found: list[Effect] = []
        for index, offset in enumerate(offsets, first):
            # The proof is for all up to this one: an acknowledgement that comes out of turn proves nothing.
            if index != self._proved_index + 1 or not proves(self.epoch, index, offset):
                raise SurpriseError(f"partition {self.partition}: transition {index} landed at {offset}")
            head = self._unproved.popleft()
            before, self.confirmed = self.confirmed, head.state
            self._proved_index = head.index
            self._snapshots.grew(head.size, head.state.at)
            if head.decided is None:
                self._snapshots.accepted(offset)
                continue
            transition, after = head.decided.transition, head.decided.after
            found += effects(before.instances.get(transition.instance_id), transition, after)
        self._deliveries.send(found, self._proved_index, self.confirmed)
        self._tell_reached()
        self._send_again()
        self._room.set()

    def _tell_reached(self) -> None:
        """Say how far we have come: what is proved, or where nothing is on its way, what was looked at."""
        if self._reached is not None:
            place = self.confirmed.place
            command, start = (
                (self._source + 1, self._started + 1) if not self._unproved else (place.command, place.start)
            )
            self._reached(COMMANDS, self.partition, command)
            self._reached(STARTS, self.partition, start)

    def _send_again(self) -> None:
        """Send what the owner before us may not have delivered, as far as it is still unsettled."""
        if self._again is None or self._asked_index is None or self._proved_index < self._asked_index:
            return
        found, self._again = [effect for effect in self._again if is_unsettled(self.confirmed, effect)], None
        self._deliveries.send_again(found)

    # --- snapshots ------------------------------------------------------------------------------------------

    def _maybe_snapshot(self) -> None:
        delivered = self._deliveries
        if delivered.state is not None and self._snapshots.due(delivered.state.at):
            covers = Covered(delivered.state, self.epoch, delivered.index)
            self._snapshots.start(covers, self._append_snapshot, self._stumble)

    def _append_snapshot(self, snapshot: PartitionSnapshotted) -> None:
        # Between two batches, so the next index is free: the work loop never waits with a batch half made.
        self.index += 1
        value = encode(snapshot)
        self._unproved.append(_Unproved(self.index, None, self.speculative, len(value)))
        self._append([NewRecord("", value, stamp_headers(SNAPSHOT, self._stamp()))])

    # --- trouble --------------------------------------------------------------------------------------------

    def _watch(self, future: asyncio.Future[Sequence[int]]) -> None:
        future.add_done_callback(self._failed)

    def _failed(self, future: asyncio.Future[Any]) -> bool:
        if future.cancelled():
            return True
        error = future.exception()
        if error is not None and not isinstance(error, LogClosedError):
            self._stumble(error)
        return error is not None

    def _stumble(self, error: BaseException) -> None:
        if not self._trouble.done():
            self._trouble.set_exception(error)
