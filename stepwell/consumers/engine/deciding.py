"""Around ``decide``: what it must be given, and what becomes of its decision if that is too large, or fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from stepwell.consumers.engine.clock import PartitionClock
from stepwell.consumers.engine.ledger import Decided, Ledger
from stepwell.consumers.reading.events import EventReader
from stepwell.consumers.registry.definitions import Definitions
from stepwell.consumers.worker.failures import describe
from stepwell.core.decide.decide import decide
from stepwell.core.decide.decision import BUDGET, Circumstances, Decision, DefinitionMissingError
from stepwell.core.decide.effects import Effect, effects
from stepwell.core.expressions.meter import MAX_MADE
from stepwell.core.fold.evolve import fold
from stepwell.core.fold.partition import PartitionState
from stepwell.core.fold.state import InstanceState
from stepwell.log.port import EVENTS, Log, NewRecord
from stepwell.logs import Logger
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import (
    Command,
    InternalCommand,
    QuarantineInstance,
    ResumeWorkflow,
    RollbackWorkflow,
    StartWorkflow,
)
from stepwell.schemas.records.events import EVENTS_VERSION, ErrorInfo, Event, Transition
from stepwell.schemas.records.partition_records import Deciding, PartitionOwned

_logger = Logger("stepwell.engine")

_WRAPPING: Final = 4_096  # bytes; far more than an effect has around a step's input
_FEW: Final = 4  # events that are encoded at once: together they take no more than so many records
_RECORDS: Final = 2  # so many may be made for one step, where a log takes larger ones than is usual
_MOST_OVERSIZED: Final = 64  # steps of one transition that may turn out too large before it is given up
_LONGEST_ANSWERED: Final = 10_000  # characters of a sender's own id for a command


class Decider:
    """Decides the commands of one claim of a partition.

    Args:
        ledger: Whose state is decided on.
        reader: Of the partition's events.
        clock: The partition's.
    """

    def __init__(
        self, log: Log, ledger: Ledger, definitions: Definitions, reader: EventReader, clock: PartitionClock
    ) -> None:
        self._log = log
        self._ledger = ledger
        self._definitions = definitions
        self._reader = reader
        self._clock = clock
        self._recalled: dict[str, InstanceState | None] = {}
        self._room = max(MAX_MADE, _RECORDS * log.max_record_bytes)

    async def recall(self, starts: Iterable[StartWorkflow], *, anew: bool) -> None:
        """Look up many ids that are about to be started at once, rather than each as it is decided.

        Args:
            anew: Whether those that were looked up before are no longer needed.
        """
        if anew:
            self._recalled = {}
        state = self._ledger.speculative
        if not self._must_recall(state):
            return
        self._jump()
        ids = {one.instance_id for one in starts}
        unknown = {one for one in ids if one not in state.instances and one not in state.finished}
        self._recalled.update(dict.fromkeys(ids))
        partition = self._ledger.partition
        for instance_id in sorted(await self._log.known_keys(EVENTS, partition, unknown)) if unknown else ():
            found = fold(accepted.transition for accepted in await self._reader.history(instance_id))
            if found is not None and not found.live:
                self._recalled[instance_id] = found

    async def decide(
        self,
        instance: InstanceState | None,
        command: Command | InternalCommand,
        batch: list[NewRecord],
        *,
        condemned: Callable[[], Awaitable[PartitionOwned | None]] | None = None,
    ) -> Decided | None:
        """Decide a command; None where it changes nothing.

        What has to be read for it is read first. What is too large for a record is released in smaller parts; a
        single event that is too large fails its step. A bug in deciding sets the one instance aside, and the
        partition goes on.

        Args:
            batch: What was decided before and is not on its way yet. It is sent if something must be read.
            condemned: Where processes have died over commands: says in the log what is decided next, and gives the
                newest claim of those who died over this one. Its instance is set aside then.
        """
        archived = None
        if self._needs_more(instance, command):
            # What a history holds must be proved before it is read.
            self._ledger.flush(batch)
            await self._ledger.until_proved()
            self._jump()
            archived = await self._learn(instance, command)
        suspect = None if condemned is None else await condemned()
        now = self._clock.now()  # not earlier: reading may have taken long
        circumstances = self._circumstances(instance, command, now, archived)
        if suspect is not None:
            return self._condemn(instance, command, circumstances, suspect)
        return self._answer(instance, command, circumstances)

    def _jump(self) -> None:
        """Have what is read be what was proved."""
        self._reader.jump(self._ledger.proved.epoch, self._ledger.proved.index)

    def _must_recall(self, state: PartitionState) -> bool:
        """Whether instances may exist that the state does not know, and the log finds them by an index."""
        return state.finished.forgets and self._log.describe().finds_keys

    def _needs_more(self, instance: InstanceState | None, command: Command | InternalCommand) -> bool:
        """Whether something must be read before this command can be decided.

        Compiles nothing: what that costs is part of deciding.
        """
        if instance is not None:
            return not self._definitions.knows(instance.definition)
        if isinstance(command, StartWorkflow):
            state = self._ledger.speculative
            if command.instance_id in state.finished:
                return False
            if command.instance_id not in self._recalled and self._must_recall(state):
                return True
            # Whatever looks inactive here may have been activated since: only what was read to its end is refused.
            return not self._definitions.is_active(command.workflow, command.version)
        return isinstance(command, (ResumeWorkflow, RollbackWorkflow))

    async def _learn(
        self, instance: InstanceState | None, command: Command | InternalCommand
    ) -> InstanceState | None:
        """Read it: the definitions up to their end as of now, and the instance where it is finished."""
        archived = None
        if instance is None and isinstance(command, (ResumeWorkflow, RollbackWorkflow)):
            history = await self._reader.history(command.instance_id)
            archived = fold(accepted.transition for accepted in history)
            if archived is not None and self._definitions.knows(archived.definition):
                return archived
        if instance is None and isinstance(command, StartWorkflow) and command.instance_id not in self._recalled:
            await self.recall([command], anew=False)
            if self._definitions.is_active(command.workflow, command.version):
                return None
        await self._definitions.catch_up()
        return archived

    def _answer(
        self, instance: InstanceState | None, command: Command | InternalCommand, circumstances: Circumstances
    ) -> Decided | None:
        try:
            return self._decide(instance, command, circumstances)
        except Exception as error:
            _logger.exception("undecidable", instance_id=command.instance_id, command=type(command).__name__)
            info = describe(error)
            missing = isinstance(error, DefinitionMissingError)
            reason = info.message if missing else f"a bug in Stepwell: {info.type}: {info.message}"
            return self._decide(instance, _quarantine(instance, command, info, reason), circumstances)

    def _condemn(
        self,
        instance: InstanceState | None,
        command: Command | InternalCommand,
        circumstances: Circumstances,
        suspect: PartitionOwned,
    ) -> Decided | None:
        """Set the instance of a command aside that one process after the other has died over."""
        named = suspect.deciding or Deciding(0)
        died = f"{named.deaths + 1} processes in a row died, or had to be killed, while they decided its "
        where = f" ({named.place})" if named.place else ""
        reason = f"{died}{named.command}{where}; the last one was {suspect.owner}"
        partition = self._ledger.partition
        _logger.warning("quarantined", partition=partition, instance_id=command.instance_id, reason=reason)
        info = ErrorInfo(type="ProcessDied", message=reason, retryable=False)
        return self._decide(instance, _quarantine(instance, command, info, reason), circumstances)

    def _circumstances(
        self,
        instance: InstanceState | None,
        command: Command | InternalCommand,
        now: int,
        archived: InstanceState | None,
    ) -> Circumstances:
        known = self._ledger.speculative.finished
        finished = known.get(command.instance_id) if instance is None else None
        if isinstance(command, StartWorkflow) and instance is None and finished is None:
            archived = self._recalled.get(command.instance_id)
        return Circumstances(now, self._definitions, finished, archived, BUDGET, {}, self._room, known.forgets)

    def _decide(
        self,
        instance: InstanceState | None,
        command: Command | InternalCommand,
        circumstances: Circumstances,
    ) -> Decided | None:
        limit = self._log.max_record_bytes
        budget, oversized = BUDGET, dict[str, int]()
        while True:
            decision = decide(instance, command, circumstances)
            if not decision.events:
                if decision.note:
                    _logger.debug(decision.note, instance_id=command.instance_id, command=type(command).__name__)
                return None
            transition = _transition(decision)
            value = _encoded(transition, limit)
            if value is not None and (
                len(value) <= limit - _WRAPPING or self._fits(value, effects(instance, transition, decision.state))
            ):
                return Decided(transition, value, decision.state)
            if budget > 1:
                budget //= 4
                circumstances = circumstances._replace(budget=budget)
                continue
            sizes = [len(encode(event)) for event in decision.events]  # one after the other, none is kept
            culprit = _culprit(decision.events[sizes.index(max(sizes))])
            if culprit in oversized or len(oversized) > _MOST_OVERSIZED:
                raise ValueError(f"a transition of {sum(sizes):,} bytes cannot be made smaller")
            oversized[culprit] = sum(sizes) if value is None else len(value)
            circumstances = circumstances._replace(oversized=oversized)

    def _fits(self, value: bytes, found: Sequence[Effect]) -> bool:
        """Whether a transition fits a record, and each of its effects: they name the workflow as well."""
        limit = self._log.max_record_bytes
        return len(value) <= limit and all(len(encode(effect)) <= limit for effect in found)


def _quarantine(
    instance: InstanceState | None, command: Command | InternalCommand, error: ErrorInfo, reason: str
) -> QuarantineInstance:
    return QuarantineInstance(
        command.instance_id,
        error,
        command=type(command).__name__,
        command_id=id_to_answer(command),
        reason=reason,
        parent=command.parent if isinstance(command, StartWorkflow) and instance is None else None,
    )


def id_to_answer(command: Command | InternalCommand) -> str:
    """What a command's sender knows it by; empty where that alone would be too large for the answer."""
    command_id: str = getattr(command, "command_id", "")
    return command_id if len(command_id) <= _LONGEST_ANSWERED else ""


def _transition(decision: Decision) -> Transition:
    count = len(decision.events)
    sequence = 0 if decision.state is None else decision.state.sequence - count + 1
    life = 0 if decision.state is None else decision.state.life
    return Transition(EVENTS_VERSION, decision.now, decision.instance_id, sequence, tuple(decision.events), life)


def _encoded(transition: Transition, limit: int) -> bytes | None:
    """The transition as JSON; None as soon as it is larger than ``limit``, so that it never takes much more memory.

    Its events may share what they are made of, which is written as often as they hold it.
    """
    if len(transition.events) <= _FEW:
        return encode(transition)
    parts = []
    for event in transition.events:
        part = encode(event)
        limit -= len(part)
        if limit < 0:
            return None
        parts.append(msgspec.Raw(part))
    return encode(replace(transition, events=tuple(parts)))


def _culprit(event: Event) -> str:
    """The step that an event belongs to; empty for the workflow itself."""
    return str(getattr(event, "step_id", "")) if "step_id" in msgspec.structs.asdict(event) else ""
