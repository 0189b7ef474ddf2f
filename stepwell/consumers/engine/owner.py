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
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from msgspec import Struct

from stepwell.consumers.engine.admission import Admission
from stepwell.consumers.engine.care import Care, Ends, place_of
from stepwell.consumers.engine.clock import LONGEST_WAIT, Clock, PartitionClock
from stepwell.consumers.engine.deciding import Decided, Decider
from stepwell.consumers.engine.delivering import Deliveries
from stepwell.consumers.engine.due import DueTimers
from stepwell.consumers.engine.inbox import BATCH, Inbox
from stepwell.consumers.engine.misrouted import Asked, MisroutedCommands, read_commands
from stepwell.consumers.engine.snapshotting import Covered, Snapshots, Tail
from stepwell.consumers.engine.start_order import MOST_AHEAD
from stepwell.consumers.engine.takeover import Possession, claim_of, is_unsettled, take_over
from stepwell.consumers.engine.trouble import tell_trouble
from stepwell.consumers.reading.snapshots import SurpriseError
from stepwell.consumers.registry.definitions import Definitions
from stepwell.core.decide.deaths import MOST_DEATHS, died_over
from stepwell.core.decide.effects import Effect, effects
from stepwell.core.decide.load import change, runs_of
from stepwell.core.decide.starting import can_continue, may_continue
from stepwell.core.fold.acceptance import SNAPSHOT, TRANSITION, Acceptance, Stamp, proves, stamp_headers
from stepwell.core.fold.partition import PartitionState, enter
from stepwell.core.fold.state import InstanceState
from stepwell.errors import LogClosedError
from stepwell.log.port import COMMANDS, EVENTS, NO_HEADERS, STARTS, Log, NewRecord
from stepwell.logs import Logger
from stepwell.schemas.records.codec import decode_command, encode
from stepwell.schemas.records.commands import (
    ApproveStep,
    CancelWorkflow,
    Command,
    ContinueWorkflow,
    FireTimer,
    InternalCommand,
    PauseWorkflow,
    RejectStep,
    RescheduleTimers,
    ResumeWorkflow,
    RollbackWorkflow,
    StartWorkflow,
)
from stepwell.schemas.records.events import (
    EVENTS_VERSION,
    CommandRejected,
    Deciding,
    PartitionOwned,
    PartitionSnapshotted,
)
from stepwell.schemas.records.sender import answering

_logger = Logger("stepwell.owner")

# Transitions on their way to the disk at once; bounds memory when the disk is slower than deciding.
MAX_UNPROVED: Final = 4_000

# What people ask of an instance: where its start waits, they mean it, and it is started for them.
_STEERS: Final = (
    CancelWorkflow, PauseWorkflow, ResumeWorkflow, RescheduleTimers, RollbackWorkflow, ApproveStep, RejectStep,
)  # fmt: skip


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
        self._wanted_snapshot = snapshot
        self._is_second_snapshot = False
        self._reached = reached
        self.partition = partition
        self._definitions = definitions
        self._admission = admission
        self._name = name
        self._clock = clock
        self._process = process
        self._alive = alive
        self._most_deaths = most_deaths
        self._misrouted = MisroutedCommands(log, partition)
        self._timers = DueTimers()
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
        possession = await take_over(self._log, self.partition, self._name, self._clock.wall(), self._process)
        commands, starts = [await self._log.end(topic, self.partition) for topic in (COMMANDS, STARTS)]
        self._time = PartitionClock(self._clock, self.partition, possession.state.at)
        until = Ends(commands, starts)
        self._begin(possession, until, await self._deaths(possession.claims))
        self._taken_at = asyncio.get_running_loop().time()
        work = asyncio.ensure_future(self._work())
        try:
            await asyncio.wait((work, self._trouble), return_when=asyncio.FIRST_COMPLETED)
            if self._trouble.done():
                self._trouble.result()
            work.result()
        finally:
            # All that ends at once comes first: who gives up a partition may be cancelled itself meanwhile.
            if not self._trouble.done() and not work.done():
                self._tell_of_living()
            work.cancel()
            self._inbox.stop()
            self._snapshots.stop()
            self._admission.changed(-self._runs)
            try:
                await asyncio.gather(work, return_exceptions=True)
            finally:
                if not self._trouble.cancel():
                    self._trouble.exception()  # asked for, so that asyncio does not complain where we were cancelled

    async def _deaths(self, claims: Sequence[PartitionOwned]) -> list[PartitionOwned]:
        """The claims that tell what the owners before have died over."""
        if not died_over(claims, (self._process,)):
            return []
        return died_over(claims, (self._process, *(await self._alive() if self._alive is not None else ())))

    def _begin(self, possession: Possession, until: Ends, deaths: Sequence[PartitionOwned]) -> None:
        self.epoch = possession.epoch
        self.index = 0
        self.speculative = self.confirmed = possession.state
        self._proved = Acceptance(self.epoch)
        self._named = -1  # our newest claim that names what is decided
        moved = None if self._wanted_snapshot is None else self._snapshot_at_once
        self._deliveries = Deliveries(
            self._log, self.epoch, possession.state, possession.released, self._failed, moved=moved
        )
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
            self._timers.arm(instance, old=True)
        going_on = (instance.id for instance in possession.state.instances.values() if may_continue(instance))
        self._continuing.extend(sorted(going_on))  # a map's own order hangs on the hash seed
        self._care = Care(until, deaths, continuing=len(self._continuing), most=self._most_deaths)
        # Before anything is sent again comes what was asked for by now: the outcomes of some may be there.
        self._again: Sequence[Effect] | None = possession.resend
        self._asked = until.commands
        # Timers do not run ahead of commands that came before they were due and are not read yet.
        self._behind = self._inbox.position < self._asked
        self._came = 0  # when the last command came, in milliseconds since 1970
        self._asked_at: int | None = None  # offset of the transition that answers the last of it
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
            if self._asked_at is None and self._inbox.position >= self._asked:
                self._asked_at = self.epoch + self.index
                self._send_again()
            wait = 0.0 if self._continuing else LONGEST_WAIT if self._behind else self._until_next_timer()
            arrived = await self._inbox.next(wait, MOST_AHEAD - len(self.speculative.place.ahead))
            if arrived.commands:
                self._behind = len(arrived.commands) == BATCH or self._inbox.position < self._asked
            elif wait != 0.0 and not (arrived.ahead or arrived.starts):  # nothing has come in all that time
                self._behind = False
            ahead = read_commands(STARTS, arrived.ahead)
            asked = [*read_commands(COMMANDS, arrived.commands), *ahead, *read_commands(STARTS, arrived.starts)]
            out_of_turn = {one.record.offset for one in ahead}
            await self._misrouted.bring_to_safety(asked)  # before any transition covers their places
            await self._recall((one.command for one in asked), anew=True)
            batch: list[NewRecord] = []
            while True:
                part, asked = await self._in_time(asked, batch)
                await self._follow_all(part, batch, out_of_turn)
                if not asked:
                    break
            await self._fire_timers(batch, self._came if self._behind else self._time.now())
            await self._continue(batch)
            self._flush(batch)
            self._tell_reached()
            self._maybe_snapshot()
            await self._until_proved(but=MAX_UNPROVED)

    async def _in_time(self, asked: list[Asked], batch: list[NewRecord]) -> tuple[list[Asked], list[Asked]]:
        """Fire what was due before the first of these came; give those before the next is due, and the rest.

        When a record came is what the log says, but never earlier than a record before it, and never later than now.
        """
        now, first = self._time.now(), self._timers.next()
        if first is None or first >= now:  # none was due before any of them came
            times = [one.record.timestamp for one in asked if one.topic == COMMANDS]
            self._came = min(now, max([self._came, *times]))
            return asked, []
        for number, one in enumerate(asked):
            if one.topic != COMMANDS:
                continue
            came = min(now, max(self._came, one.record.timestamp))
            while (due := self._timers.next()) is not None and due < came:
                if number:
                    return asked[:number], asked[number:]
                self._flush(batch)
                await self._fire_timers(batch, came - 1)
            self._came = came
        return asked, []

    async def _follow_all(self, asked: Sequence[Asked], batch: list[NewRecord], out_of_turn: Collection[int]) -> None:
        await self._claim(self._care.of_commands(asked, self._source, self._started), batch)
        for one in asked:
            offset, ahead = one.record.offset, -1
            if one.topic == COMMANDS:
                self._source = offset
            else:
                if offset in out_of_turn:
                    ahead = offset
                else:
                    self._started = max(self._started, offset)
                if self.speculative.place.has_had(offset):
                    continue
            await self._follow(one, batch, ahead=ahead)

    async def _follow(self, one: Asked, batch: list[NewRecord], *, ahead: int) -> None:
        command = one.command
        if command is None:
            return
        if self._misrouted.is_misrouted(command):
            note = self._misrouted.note(one, command, self._time.now())
            # What is sent on is answered where it belongs, and its sender is named there.
            refused = isinstance(note.transition.events[0], CommandRejected)
            told = answering(one.record.headers, command) if refused else NO_HEADERS
            self._enter(command, None, note, batch, told=told)
        else:
            place = place_of(one.topic, one.record.offset)
            await self._decide(command, batch, place=place, asked=one.record.headers, ahead=ahead)

    async def _recall(self, commands: Iterable[Command | None], *, anew: bool = False) -> None:
        """Look up the ids of starts whose instances may have been forgotten; must come before a batch is begun."""
        if self.speculative.finished.forgets:
            self._reader.jump(self._proved.epoch, self._proved.index)  # what was forgotten was proved long ago
            ids = {command.instance_id for command in commands if isinstance(command, StartWorkflow)}
            await self._decider.recall(self.speculative, ids, anew=anew)

    async def _fire_timers(self, batch: list[NewRecord], upto: int) -> None:
        """Fire what was due up to then, as much as fits a batch."""
        due = self._timers.take(upto, BATCH - len(batch), self.speculative.instances)
        await self._claim(self._care.of_timers(due, self._source, self._started), batch)
        for one in due:
            if one.holds(self.speculative.instances.get(one.instance_id)):
                await self._decide(FireTimer(one.instance_id, one.timer), batch, place=one.timer, due=one.due)

    async def _continue(self, batch: list[NewRecord]) -> None:
        await self._claim(self._care.of_continuing(self._source, self._started), batch)
        while self._continuing and len(batch) < BATCH:
            instance_id = self._continuing.popleft()
            self._care.continuing -= 1
            instance = self.speculative.instances.get(instance_id)
            # What compiling its definition costs is part of deciding, where that is done with care.
            if instance is not None and (self._care.alone or self._can_continue(instance)):
                await self._decide(ContinueWorkflow(instance_id), batch)

    def _can_continue(self, instance: InstanceState) -> bool:
        if not may_continue(instance):
            return False
        plan = self._definitions.by_hash(instance.definition)
        return plan is None or can_continue(instance, plan)  # not known yet: deciding waits for it

    async def _start_ahead(self, instance_id: str, batch: list[NewRecord]) -> None:
        """Start an instance that is asked about before its start has had its turn."""
        self._flush(batch)
        place = self.speculative.place
        first = max(self._started + 1, place.start)
        if first >= await self._log.end(STARTS, self.partition):
            return
        for record in await self._log.read_key(STARTS, self.partition, instance_id, offset=first):
            with suppress(ValueError):  # it will be put aside in its turn
                start = decode_command(record.value)
                if isinstance(start, StartWorkflow) and record.offset not in place.ahead:
                    named = place_of(STARTS, record.offset)
                    await self._recall([start])
                    self._care.look_at(record.offset)  # nothing names it yet
                    await self._decide(start, batch, place=named, asked=record.headers, ahead=record.offset)
                    return

    async def _decide(
        self,
        command: Command | InternalCommand,
        batch: list[NewRecord],
        *,
        place: str = "",
        due: int = 0,
        asked: Mapping[str, str] = NO_HEADERS,
        ahead: int = -1,
    ) -> None:
        """Decide a command.

        Args:
            place: Where it stands.
            due: When it is due, where it is a timer.
            asked: The headers of its record.
            ahead: Its offset on ``starts``, where it has not had its turn; else -1.
        """
        instance = self.speculative.instances.get(command.instance_id)
        if instance is None and isinstance(command, _STEERS) and command.instance_id not in self.speculative.finished:
            await self._start_ahead(command.instance_id, batch)
            instance = self.speculative.instances.get(command.instance_id)
        if self._decider.needs_more(self.speculative, instance, command):
            # Definitions or a finished instance's history must be read first. What the history holds must be
            # proved by then, so flush what was decided before.
            self._flush(batch)
            await self._until_proved()
            self._reader.jump(self._proved.epoch, self._proved.index)
            await self._decider.learn(instance, command)
        suspect = None
        if self._care.alone:
            named = self._care.name(command, place, self._source, self._started, due)
            suspect = self._care.condemns(named)
            await self._claim(named if suspect is None else None, batch)
        now = self._time.now()
        if suspect is None:
            decided = self._decider.decide(self.speculative, instance, command, now)
        else:
            decided = self._decider.condemn(self.speculative, instance, command, now, suspect)
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
        at = Acceptance(self.epoch, self.index)
        self._unproved.append(_Unproved(at, decided, self.speculative, len(decided.value)))
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
        self._timers.note(decided.transition, after)
        if self._can_continue(after):
            self._continuing.append(after.id)

    def _until_next_timer(self) -> float | None:
        due = self._timers.next()
        return None if due is None else min(max(0, due - self._time.now()) / 1000, LONGEST_WAIT)

    # --- care -----------------------------------------------------------------------------------------------

    async def _claim(self, named: Deciding | None, batch: list[NewRecord]) -> None:
        """Where something is to be named: claim the partition anew with it, and wait until that is durable."""
        if named is None:
            return
        self._flush(batch)
        # It lands right behind what is on its way, or it is a surprise: as with every other record.
        claim = Acceptance(self.epoch + self.index + 1)
        self.epoch, self.index, self._named = claim.epoch, claim.index, claim.offset
        self._unproved.append(_Unproved(claim, None, self.speculative, 0))
        self._append([claim_of(self._claimed(named))])
        await self._until_proved()

    def _claimed(self, named: Deciding | None) -> PartitionOwned:
        return PartitionOwned(EVENTS_VERSION, self._clock.wall(), self._name, self._process, named)

    def _tell_of_living(self) -> None:
        """Who is told to stop does not die over what was named last: claim once more, and name nothing."""
        if self._named >= 0 and self._proved.offset <= self._named:
            future = self._log.append(EVENTS, self.partition, [claim_of(self._claimed(None))])
            future.add_done_callback(lambda done: done.cancelled() or done.exception())

    # --- what the log proves --------------------------------------------------------------------------------

    def _flush(self, batch: list[NewRecord]) -> None:
        """Append the transitions decided last; must come before anything is waited for."""
        if batch:
            self._append(list(batch))
            batch.clear()

    async def _until_proved(self, *, but: int = 0) -> None:
        """Wait until all that is on its way is proved, but for so many records."""
        while len(self._unproved) > but:
            self._room.clear()
            await self._room.wait()

    def _append(self, batch: list[NewRecord]) -> None:
        future = self._log.append(EVENTS, self.partition, batch)
        first = self.epoch + self.index - len(batch) + 1
        future.add_done_callback(partial(self._acknowledged, first))

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
        for expected, offset in enumerate(offsets, first):
            # The proof is for all up to this one: an acknowledgement that comes out of turn proves nothing.
            in_turn = expected == self._proved.offset + 1
            head = self._unproved[0]
            if not in_turn or not proves(head.at.epoch, head.at.index, offset):
                raise SurpriseError(f"partition {self.partition}: what was to land at {expected} landed at {offset}")
            self._unproved.popleft()
            before, self.confirmed = self.confirmed, head.state
            self._proved = head.at
            if not head.at.index:  # a claim
                continue
            self._snapshots.grew(head.size, head.state.at)
            if head.decided is None:
                self._snapshots.accepted(offset)
                self._tell_snapshot()
                continue
            transition, after = head.decided.transition, head.decided.after
            earlier = before.instances.get(transition.instance_id)
            found += effects(earlier, transition, after)
            tell_trouble(earlier, after)
        self._deliveries.send(found, self._proved, self.confirmed)
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
        if self._again is None or self._asked_at is None or self._proved.offset < self._asked_at:
            return
        found, self._again = [effect for effect in self._again if is_unsettled(self.confirmed, effect)], None
        self._deliveries.send_again(found)

    # --- snapshots ------------------------------------------------------------------------------------------

    def _maybe_snapshot(self) -> None:
        delivered = self._deliveries
        if delivered.state is not None and self._snapshots.due(delivered.state.at):
            covers = Covered(delivered.state, delivered.at)
            self._snapshots.start(covers, self._append_snapshot, self._stumble)

    def _snapshot_at_once(self) -> None:
        delivered, wanted = self._deliveries, self._wanted_snapshot
        if wanted is None or wanted.done():
            return
        if delivered.state is not None and not delivered.under_way and self._snapshots.idle:
            covers = Covered(delivered.state, delivered.at)
            self._snapshots.start(covers, self._append_snapshot, self._stumble)

    def _tell_snapshot(self) -> None:
        wanted = self._wanted_snapshot
        if wanted is not None and not wanted.done():
            if self._is_second_snapshot:
                wanted.set_result(None)
            else:  # where nothing else happens, a second one names the first
                self._is_second_snapshot = True
                self._snapshots.when_idle(self._snapshot_at_once)

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
            self._stumble(error)
        return error is not None

    def _stumble(self, error: BaseException) -> None:
        if not self._trouble.done():
            self._trouble.set_exception(error)
