"""One claim of a partition, from the moment when it is taken over until it is lost: commands are decided in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from stepwell.consumers.engine.admission import Admission
from stepwell.consumers.engine.care import Care, InboxEnds, place_of
from stepwell.consumers.engine.clock import LONGEST_WAIT, PartitionClock
from stepwell.consumers.engine.deciding import Decider
from stepwell.consumers.engine.due import DueTimers
from stepwell.consumers.engine.inbox import BATCH, Inbox
from stepwell.consumers.engine.ledger import Decided, Ledger
from stepwell.consumers.engine.misrouted import InboxRecord, MisroutedCommands, read_commands
from stepwell.consumers.engine.start_order import MOST_AHEAD
from stepwell.consumers.engine.takeover import Possession
from stepwell.consumers.registry.definitions import Definitions
from stepwell.core.decide.load import change, runs_of
from stepwell.core.decide.starting import can_continue, may_continue
from stepwell.core.fold.state import InstanceState
from stepwell.log.port import COMMANDS, NO_HEADERS, STARTS, Log, NewRecord
from stepwell.schemas.records.codec import decode_command
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
from stepwell.schemas.records.events import CommandRejected
from stepwell.schemas.records.partition_records import PartitionOwned
from stepwell.schemas.records.sender import answering

# Transitions on their way to the disk at once; bounds memory when the disk is slower than deciding.
MAX_UNPROVED: Final = 4_000

# What people ask of an instance: where its start waits, they mean it, and it is started for them.
_STEERS: Final = (
    CancelWorkflow, PauseWorkflow, ResumeWorkflow, RescheduleTimers, RollbackWorkflow, ApproveStep, RejectStep,
)  # fmt: skip


class Tenure:
    """One claim of a partition.

    Args:
        ledger: Its transitions.
        possession: The partition as it was taken over.
        until: The ends of the topics that it is asked in, at that moment.
        deaths: The claims that tell what the owners before have died over, the newest first.
        most_deaths: How many processes may die over a command before its instance is quarantined.
        admission: Says when starts are taken; shared by the tenures of one engine.
        clock: The partition's.

    Attributes:
        ledger: Its transitions.
    """

    def __init__(
        self,
        log: Log,
        ledger: Ledger,
        possession: Possession,
        definitions: Definitions,
        *,
        until: InboxEnds,
        deaths: Sequence[PartitionOwned],
        most_deaths: int,
        admission: Admission,
        clock: PartitionClock,
    ) -> None:
        self._log = log
        self.partition: int = ledger.partition
        self.ledger = ledger
        self._definitions = definitions
        self._admission = admission
        self._time = clock
        self._misrouted = MisroutedCommands(log, self.partition)
        self._inbox = Inbox(log, self.partition, possession.state.progress, admission)
        self._decider = Decider(log, ledger, definitions, possession.reader, clock)
        self._timers = DueTimers()
        self._continuing: deque[str] = deque()  # instances with more to start than fitted one record
        instances = possession.state.instances.values()
        for instance in instances:
            self._timers.arm(instance, old=True)
        going_on = (instance.id for instance in instances if may_continue(instance))
        self._continuing.extend(sorted(going_on))  # a map's own order hangs on the hash seed
        self._care = Care(until, deaths, continuing=len(self._continuing), most=most_deaths)
        # Timers do not run ahead of commands that came before they were due and are not read yet.
        self._asked = until.commands
        self._behind = self._inbox.position < self._asked
        self._came = 0  # when the last command came, in milliseconds since 1970
        self._runs = sum(len(runs_of(instance)) for instance in instances)
        admission.changed(self._runs)

    @property
    def is_at_rest(self) -> bool:
        """Whether everything that it was asked so far is decided, proved and delivered."""
        return self.ledger.is_at_rest and not self._continuing

    def stop(self) -> None:
        """Ask for nothing more; what is on its way is not waited for."""
        self._inbox.stop()
        self.ledger.snapshots.stop()
        self._admission.changed(-self._runs)

    async def work(self) -> None:
        """Decide what it is asked, and what is due, until cancelled."""
        while True:
            self.ledger.look_at_the_end(self._inbox.position)
            wait = 0.0 if self._continuing else LONGEST_WAIT if self._behind else self._until_next_timer()
            arrived = await self._inbox.next(wait, MOST_AHEAD - len(self.ledger.speculative.progress.ahead))
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
            self.ledger.flush(batch)
            self.ledger.tell_reached()
            self.ledger.maybe_snapshot()
            await self.ledger.until_proved(but=MAX_UNPROVED)

    async def _in_time(
        self, asked: list[InboxRecord], batch: list[NewRecord]
    ) -> tuple[list[InboxRecord], list[InboxRecord]]:
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
                self.ledger.flush(batch)
                await self._fire_timers(batch, came - 1)
            self._came = came
        return asked, []

    async def _follow_all(
        self, asked: Sequence[InboxRecord], batch: list[NewRecord], out_of_turn: Collection[int]
    ) -> None:
        ledger = self.ledger
        await ledger.claim(self._care.of_commands(asked, ledger.source, ledger.started), batch)
        for one in asked:
            offset, ahead = one.record.offset, -1
            if one.topic == COMMANDS:
                ledger.source = offset
            else:
                if offset in out_of_turn:
                    ahead = offset
                else:
                    ledger.started = max(ledger.started, offset)
                if ledger.speculative.progress.has_had(offset):
                    continue
            await self._follow(one, batch, ahead=ahead)

    async def _follow(self, one: InboxRecord, batch: list[NewRecord], *, ahead: int) -> None:
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
        """Look up the ids of starts whose instances may have been forgotten, all at once."""
        await self._decider.recall((one for one in commands if isinstance(one, StartWorkflow)), anew=anew)

    async def _fire_timers(self, batch: list[NewRecord], upto: int) -> None:
        """Fire what was due up to then, as much as fits a batch."""
        due = self._timers.take(upto, BATCH - len(batch), self.ledger.speculative.instances)
        await self.ledger.claim(self._care.of_timers(due, self.ledger.source, self.ledger.started), batch)
        for one in due:
            if one.holds(self.ledger.speculative.instances.get(one.instance_id)):
                await self._decide(FireTimer(one.instance_id, one.timer), batch, place=one.timer, due=one.due)

    async def _continue(self, batch: list[NewRecord]) -> None:
        await self.ledger.claim(self._care.of_continuing(self.ledger.source, self.ledger.started), batch)
        while self._continuing and len(batch) < BATCH:
            instance_id = self._continuing.popleft()
            self._care.continuing -= 1
            instance = self.ledger.speculative.instances.get(instance_id)
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
        self.ledger.flush(batch)
        progress = self.ledger.speculative.progress
        first = max(self.ledger.started + 1, progress.start)
        if first >= await self._log.end(STARTS, self.partition):
            return
        for record in await self._log.read_key(STARTS, self.partition, instance_id, offset=first):
            with suppress(ValueError):  # it will be put aside in its turn
                start = decode_command(record.value)
                if isinstance(start, StartWorkflow) and record.offset not in progress.ahead:
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
        ledger, instance_id = self.ledger, command.instance_id
        instance = ledger.speculative.instances.get(instance_id)
        if instance is None and isinstance(command, _STEERS) and instance_id not in ledger.speculative.finished:
            await self._start_ahead(instance_id, batch)
            instance = ledger.speculative.instances.get(instance_id)
        condemned = partial(self._condemned, command, place, due, batch) if self._care.alone else None
        decided = await self._decider.decide(instance, command, batch, condemned=condemned)
        if decided is not None:
            self._enter(command, instance, decided, batch, told=answering(asked, command), ahead=ahead)

    async def _condemned(
        self, command: Command | InternalCommand, place: str, due: int, batch: list[NewRecord]
    ) -> PartitionOwned | None:
        """Name what is decided next, unless too many processes have died over it: then the claim of the last one."""
        ledger = self.ledger
        named = self._care.name(command, place, ledger.source, ledger.started, due)
        suspect = self._care.condemns(named)
        await ledger.claim(named if suspect is None else None, batch)
        return suspect

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
        """Take a decision in; arguments as of ``Ledger.add``."""
        self.ledger.add(command.instance_id, decided, batch, told=told, ahead=ahead)
        more = change(instance, decided.transition, decided.after)
        if more:
            self._runs += more
            self._admission.changed(more)
        after = decided.after
        if after is None or not after.live:
            return
        self._timers.note(decided.transition, after)
        if self._can_continue(after):
            self._continuing.append(after.id)

    def _until_next_timer(self) -> float | None:
        due = self._timers.next()
        return None if due is None else min(max(0, due - self._time.now()) / 1000, LONGEST_WAIT)
