"""The one true history, kept beside the system under test, and what must hold of it.

The oracle sees every record at the moment when it lands. It applies the acceptance rule in its own words (not in the
code's, which may be wrong) and folds what counts. Everything that owners, readers and clients believe is compared
with it, and every rule that can be checked on the history alone is checked here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from stepwell.consumers.engine.misrouted import FORWARDED
from stepwell.core.decide.effects import Effect, effects, is_under_way
from stepwell.core.fold.acceptance import Acceptance, Stamp, read_stamp
from stepwell.core.fold.evolve import evolve
from stepwell.core.fold.partition import PartitionState, enter
from stepwell.core.fold.snapshots import decode_partition, encode_partition
from stepwell.core.fold.state import REMEMBERED_COMMANDS, InstanceState, progress
from stepwell.core.plan.compile import Plan
from stepwell.log.partitioner import partition_for
from stepwell.log.port import Delivery, Record
from stepwell.schemas.records.codec import (
    decode_cancel,
    decode_command,
    decode_owned,
    decode_snapshotted,
    decode_transition,
    decode_work,
    encode,
)
from stepwell.schemas.records.commands import (
    CancelWorkflow,
    ChildEnded,
    Command,
    CompleteStep,
    FailStep,
    HoldWorkflow,
    ReleaseWorkflow,
)
from stepwell.schemas.records.events import (
    CommandRejected,
    IncidentRaised,
    RollbackStarted,
    StepCompensated,
    StepFailed,
    StepReady,
    StepRetryScheduled,
    StepSucceeded,
    StepWaiting,
    Transition,
    WorkflowRolledBack,
    WorkflowStarted,
)
from stepwell.schemas.records.partition_records import PartitionOwned
from stepwell.schemas.records.step_waits import ApprovalRequired, ChildRequested
from stepwell.schemas.records.work import CancelRuns, WorkItem
from tests.core.invariants import Watch, is_at_rest

_SETTLES = (StepSucceeded, StepFailed, StepRetryScheduled, StepCompensated)


# How the ids of commands end that instances send each other, and those that nothing else sends.
_TELLS = (":start", ":end")
_ONLY_INSTANCES: Final = (ChildEnded, HoldWorkflow, ReleaseWorkflow)


class ViolationError(AssertionError):
    """A law was broken."""


def bytes_of(state: PartitionState) -> bytes:
    """A partition's whole state, byte for byte."""
    return b"".join(encode_partition(state))


class _Partition:
    """What the oracle knows of one events partition."""

    def __init__(self) -> None:
        self.epoch = -1
        self.index = 0
        self.state = PartitionState()
        self.offsets: list[int] = []  # of what counts, snapshots too
        self.states: list[PartitionState] = []  # after each of them
        self.stamps: list[tuple[int, int]] = []  # epoch and index, likewise
        self.transitions: list[int] = []  # offsets of the transitions that count
        self.refused: list[int] = []
        self.last = Stamp(-1, 0)  # of the transition that counts
        self.ahead: set[int] = set()  # starts taken out of turn
        self.owed: list[tuple[int, Effect]] = []  # effects in order, not yet known to be delivered

    def at(self, offset: int) -> PartitionState:
        """The state after everything up to an offset."""
        number = bisect_right(self.offsets, offset)
        return self.states[number - 1] if number else PartitionState()


class _Instance:
    """What the oracle knows of one instance."""

    def __init__(self) -> None:
        self.state: InstanceState | None = None
        self.history: list[Transition] = []
        self.events: list[tuple[int, Any]] = []  # time and event; event s stands at s - 1
        self.watch: Watch | None = None
        self.runs: set[int] = set()  # that were given a number
        self.settled: set[int] = set()
        self.commands: deque[str] = deque(maxlen=REMEMBERED_COMMANDS)
        self.started = 0

    @property
    def is_shut(self) -> bool:
        """Whether a gate has failed and holds it up: only its people could open that, if they can be asked."""
        failures = self.state.failures if self.state is not None else ()
        return self.watch is not None and any(step_id in self.watch.gates for step_id in failures)


class Oracle:
    """Follows a storage.

    Args:
        partitions: How many there are.
        plans: The definitions that may be registered, by hash.
    """

    def __init__(self, partitions: int, plans: dict[str, Plan]) -> None:
        self.plans = plans
        self.roomy = False  # whether all that a command leads to fits one record
        self.partitions = [_Partition() for _ in range(partitions)]
        self.instances: dict[str, _Instance] = defaultdict(_Instance)
        self.answers: dict[str, list[Any]] = defaultdict(list)  # by command id
        self.asked: dict[str, tuple[str, int]] = {}  # command ids in the log, and where
        self.queued: set[str] = set()  # effect ids
        self.cancels: set[CancelRuns] = set()
        self.messages: set[bytes] = set()  # from instance to instance, that something which counts has led to
        self.told: set[bytes] = set()  # those of them that are in the log
        self.named: dict[str, str] = {}  # who asked, by command id
        self.ready: dict[str, StepReady] = {}  # by effect id
        self.outcomes: set[tuple[str, int]] = set()  # runs whose outcome is among the commands
        self.in_time: dict[tuple[str, str, int], bool] = {}  # by worker and run: handed out before there was one
        self.fewest: dict[tuple[str, str, int], int] = {}  # likewise: its number of deliveries
        self.said: dict[tuple[str, str, int], list[Any]] = defaultdict(list)  # outcomes of handlers
        self.places: dict[str, tuple[str, int, int]] = {}  # of commands, by what forwarded copies call them
        self.undecided: list[tuple[str, int, int]] = []  # commands in the wrong partition, and what is none
        self.safe: set[tuple[str, int, int]] = set()  # those of which there is a copy
        self.named_by: list[PartitionOwned] = []  # claims that name what is decided next
        self.dead: set[str] = set()  # processes that were killed
        self.quarantined: set[str] = set()
        self.refused: set[str] = set()  # children that a parent was told could not be started,
        self.let_go: set[str] = set()  # and those that a parent has ended
        self.taken_over = self.snapshots = self.rollbacks = self.count = 0

    # --- what lands -----------------------------------------------------------------------------------------

    def landed(self, topic: str, partition: int, records: Sequence[Record], chunks: Sequence[Record]) -> None:
        """Records are in the log. ``chunks`` is all of the partition's snapshots topic."""
        if topic == "events":
            for record in records:
                self._event(partition, record, chunks)
        elif topic in {"commands", "starts"}:
            self.told.update(record.value for record in records if record.value in self.messages)
            named = (record for record in records if "by" in record.headers)
            self.named.update((decode_command(record.value).command_id, record.headers["by"]) for record in named)
            for record in records:
                command = self._read(topic, partition, record)
                if command is None:
                    continue
                if isinstance(command, (CompleteStep, FailStep)):
                    self.outcomes.add((command.instance_id, command.run))
                command_id = getattr(command, "command_id", "")
                if isinstance(command, CancelWorkflow) and command_id == f"{command.instance_id}:end":
                    self.let_go.add(command.instance_id)
                if command_id and not isinstance(command, _ONLY_INSTANCES):  # these are not answered
                    self.asked.setdefault(command_id, (record.key, record.offset))
        elif topic == "control":
            self.cancels.update(decode_cancel(record.value) for record in records)
        elif topic == "dead-letters":
            for record in records:
                found = record.headers["topic"], partition, int(record.headers["offset"])
                require(found in self.undecided, f"a dead letter of what can be read: {record}")
                self.safe.add(found)

    def _read(self, topic: str, partition: int, record: Record) -> Command | None:
        """What a record holds; None where it cannot be read. Notes what nobody will decide here."""
        place = topic, partition, record.offset
        self.safe.update(self.places[name] for name in (record.headers.get(FORWARDED),) if name in self.places)
        self.places[f"{topic}[{partition}]@{record.offset}"] = place
        try:
            command = decode_command(record.value)
        except ValueError:
            self.undecided.append(place)
            return None
        if partition_for(command.instance_id, len(self.partitions)) != partition:
            self.undecided.append(place)
        return command

    def _check_safe(self, number: int, stamp: Stamp, place: str) -> None:
        """What is not decided here is safe elsewhere before a transition covers its place."""
        for lost in [one for one in self.undecided if one[1] == number and one not in self.safe]:
            topic, _, offset = lost
            covered = stamp.source if topic == "commands" else stamp.started
            require(offset > covered, f"{place}: {lost} is covered, and there is no copy of it")

    def _event(self, number: int, record: Record, chunks: Sequence[Record]) -> None:
        partition, headers = self.partitions[number], record.headers
        kind = headers["kind"]
        if kind == "claim":
            partition.epoch, partition.index = record.offset, 0
            self.named_by += [claim for claim in (decode_owned(record.value),) if claim.deciding is not None]
            return
        if (int(headers["epoch"]), int(headers["index"])) != (partition.epoch, partition.index + 1):
            partition.refused.append(record.offset)
            return
        partition.index += 1
        place = f"events[{number}]@{record.offset}"
        self._check_released(partition, int(headers["released"]), place)
        if kind == "snapshot-taken":
            self._snapshot(partition, record, chunks, place)
        else:
            self._transition(number, record, read_stamp(headers), place)
        partition.offsets.append(record.offset)
        partition.states.append(partition.state)
        partition.stamps.append((partition.epoch, partition.index))

    def _transition(self, number: int, record: Record, stamp: Stamp, place: str) -> None:
        partition = self.partitions[number]
        self.count += 1
        transition = decode_transition(record.value, place)
        last = partition.last
        require(stamp.source >= last.source, f"{place}: its command {stamp.source} comes before {last.source}")
        require(stamp.started >= last.started, f"{place}: its start {stamp.started} comes before {last.started}")
        require(stamp.ahead < 0 or stamp.ahead > stamp.started, f"{place}: start {stamp.ahead} had its turn")
        require(stamp.ahead not in partition.ahead, f"{place}: start {stamp.ahead} was taken before")
        require(transition.at >= partition.state.at, f"{place}: time goes back")
        require(record.key == transition.instance_id, f"{place}: another key")
        self._check_sender(record, transition, place)
        self._check_safe(number, stamp, place)
        partition.last = stamp
        if stamp.ahead >= 0:
            partition.ahead.add(stamp.ahead)
        partition.transitions.append(record.offset)
        instance = self.instances[transition.instance_id]
        before = partition.state.instances.get(transition.instance_id)
        after = before
        if transition.sequence:
            known = len(instance.events)
            require(transition.sequence == known + 1, f"{place}: sequence {transition.sequence} after {known}")
            for event in transition.events:
                after = self._instance_event(instance, after, event, transition, place)
            instance.history.append(transition)
            instance.state = after
            plan = self.plans.get(after.definition) if after is not None else None
            if plan is not None and after is not None and self.roomy:
                require(is_at_rest(plan, after), f"{place}: a place is free, and nothing that was deferred begins")
        else:
            for event in transition.events:
                self.answers[event.command_id].append(event)
                if isinstance(event, CommandRejected) and event.code == "quarantined":
                    self._quarantine(transition.instance_id, event.message, place)
        partition.state = enter(partition.state, transition.instance_id, after, stamp=stamp, at=transition.at)
        found = effects(before, transition, after)
        self.messages.update(encode(effect) for effect in found if not isinstance(effect, (WorkItem, CancelRuns)))
        partition.owed += [(record.offset, effect) for effect in found]

    def _check_sender(self, record: Record, transition: Transition, place: str) -> None:
        """Whatever answers a command names who asked for it, and nothing else names anybody."""
        answers = {getattr(event, "command_id", "") for event in transition.events} & self.named.keys()
        expected = [(self.named[command_id], command_id) for command_id in answers]
        told = [(by, record.headers.get("command_id"))] if (by := record.headers.get("by")) else []
        require(told == expected, f"{place}: asked for by {expected}, and it says {told}")

    def _instance_event(
        self, instance: _Instance, before: InstanceState | None, event: Any, transition: Transition, place: str
    ) -> InstanceState:
        instance.events.append((transition.at, event))
        after = evolve(before, event, transition.at, transition.instance_id)
        command_id = getattr(event, "command_id", "")
        if command_id:
            require(command_id not in instance.commands, f"{place}: command {command_id} was followed twice")
            instance.commands.append(command_id)
            self.answers[command_id].append(event)
        self._note_refusal(before, event)
        if isinstance(event, WorkflowStarted):
            instance.started += 1
            require(instance.started == 1, f"{place}: it was started twice")
            plan = self.plans.get(event.definition)
            instance.watch = Watch(plan) if plan else None
        elif isinstance(event, ApprovalRequired) and event.level > 1:
            require(event.run in instance.runs, f"{place}: nobody was asked before level {event.level}")
        elif isinstance(event, (StepReady, StepWaiting, ApprovalRequired, ChildRequested)):
            require(event.run not in instance.runs, f"{place}: run {event.run} was there before")
            instance.runs.add(event.run)
            if isinstance(event, StepReady):
                self.ready[f"{transition.instance_id}:{len(instance.events)}"] = event
        elif isinstance(event, _SETTLES):
            require(event.run not in instance.settled, f"{place}: run {event.run} was settled twice")
            instance.settled.add(event.run)
            self._check_output(transition.instance_id, event, place)
        elif isinstance(event, IncidentRaised):
            if event.code == "quarantined":
                self._quarantine(transition.instance_id, event.message, place)
        elif isinstance(event, RollbackStarted):
            self.rollbacks += 1
        if instance.watch is not None:
            try:
                instance.watch(before, event, after)
            except AssertionError as error:
                raise ViolationError(f"{place}: {event}: an invariant does not hold: {error!r}") from error
        if isinstance(event, WorkflowRolledBack):
            self._check_rollback(instance, transition.instance_id, event.to, after, place)
        return after

    def _note_refusal(self, before: InstanceState | None, event: Any) -> None:
        """A parent hears that its child could not be started."""
        if before is None or not isinstance(event, (StepSucceeded, StepFailed)):
            return
        step = before.steps.get(event.step_id)
        if step is None or step.child is None or step.run != event.run:
            return
        failed = isinstance(event, StepFailed) and "ChildNotStarted" in event.error.kinds
        output = event.output if isinstance(event, StepSucceeded) else None
        if failed or (isinstance(output, dict) and output.get("status") == "rejected"):
            self.refused.add(step.child.child_id)

    def started_for_nobody(self) -> set[str]:
        """Children that run though their parent was told that they do not, and that nobody has ended."""
        return {child for child in self.refused - self.let_go if self.instances[child].started}

    def _quarantine(self, instance_id: str, message: str, place: str) -> None:
        # The first of them may have named its whole batch; and one may have lived on unseen, thrown out of the group.
        alone = {
            claim.process for claim in self.named_by if claim.deciding and claim.deciding.instance_id == instance_id
        }
        batch = {claim.process for claim in self.named_by if claim.deciding and claim.deciding.count > 1}
        require(bool(alone & self.dead), f"{place}: quarantined, and nobody who named it alone has died: {message}")
        dead = (alone | batch) & self.dead
        require(len(dead) >= 2, f"{place}: quarantined, and only {dead} have died over it: {message}")
        self.quarantined.add(instance_id)

    def _check_output(self, instance_id: str, event: Any, place: str) -> None:
        """Whatever a step has given was given by a run of its handler: this very one."""
        ready = None if isinstance(event, StepFailed) else self.said.get((instance_id, event.step_id, event.run))
        if isinstance(event, (StepSucceeded, StepCompensated)) and ready is not None:
            require(event.output in ready, f"{place}: an output that no handler gave: {event.output}")

    def _check_rollback(
        self, instance: _Instance, instance_id: str, to: int, after: InstanceState, place: str
    ) -> None:
        """Law 6: progress is what it was."""
        state: InstanceState | None = None
        for at, event in instance.events[:to]:
            state = evolve(state, event, at, instance_id)
        require(state is not None, f"{place}: a rollback to nothing")
        assert instance.watch is not None
        handlers = {step_id for step_id, step in instance.watch.plan.steps.items() if step.handles}

        def achieved(found: InstanceState) -> dict[str, Any]:
            done = progress(found)
            # A later failure of its step runs an error handler anew, in its old place.
            return {**done, "steps": {key: step for key, step in done["steps"].items() if key not in handlers}}

        assert state is not None
        require(achieved(after) == achieved(state), f"{place}: a rollback to {to} that is none")

    def _snapshot(self, partition: _Partition, record: Record, chunks: Sequence[Record], place: str) -> None:
        self.snapshots += 1
        taken = decode_snapshotted(record.value, place)
        number = bisect_right(partition.offsets, taken.covers)
        epoch, index = (taken.epoch, taken.index)
        if number and partition.offsets[number - 1] > epoch:
            require(partition.stamps[number - 1] == (epoch, index), f"{place}: it stands at the wrong place")
        else:
            require(index == 0, f"{place}: it covers what is not there")
        require(taken.covers == epoch + index, f"{place}: it covers too much")
        refused = tuple(offset for offset in partition.refused if offset <= taken.covers)
        require(taken.refused == refused, f"{place}: refused are {refused}, not {taken.refused}")
        parts = chunks[taken.first : taken.first + taken.chunks]
        state = decode_partition(chunk.value for chunk in parts)
        require(bytes_of(state) == bytes_of(partition.at(taken.covers)), f"{place}: a snapshot of another state")
        self._check_released(partition, taken.covers, place)

    def _check_released(self, partition: _Partition, released: int, place: str) -> None:
        """What is said to be delivered is: or nobody waits for it any more."""
        while partition.owed and partition.owed[0][0] <= released:
            offset, effect = partition.owed.pop(0)
            if isinstance(effect, CancelRuns):
                require(effect in self.cancels, f"{place}: says that {effect} of {offset} was delivered")
                continue
            if not isinstance(effect, WorkItem):
                require(encode(effect) in self.told, f"{place}: says that {effect} of {offset} was told")
                continue
            instance = partition.state.instances.get(effect.instance_id)
            waits = instance is not None and is_under_way(instance, effect.step)
            delivered = effect.effect_id in self.queued
            require(delivered or not waits, f"{place}: says that {effect.effect_id} of {offset} was delivered")

    # --- what leaves ----------------------------------------------------------------------------------------

    def enqueues(self, values: Iterable[bytes]) -> None:
        """A process is about to put work into a queue: it must be the effect of something that counts."""
        for value in values:
            item = decode_work(value)
            known = self.ready.get(item.effect_id)
            require(known == item.step, f"work of a transition that does not count: {item.effect_id}")

    def cancelling(self, values: Iterable[bytes]) -> None:
        """A process is about to have runs stopped: nobody must wait for them."""
        for value in values:
            cancel = decode_cancel(value)
            state = self.instances[cancel.instance_id].state
            require(state is not None, f"{cancel} of an instance that is not there")
            assert state is not None
            require(cancel.last <= state.runs, f"{cancel}: there were only {state.runs} runs")
            steps = [*state.steps.values()]
            if state.rollback and state.rollback.current:
                steps.append(state.rollback.current)
            for step in steps:
                if step.ready is not None and cancel.first <= step.run <= cancel.last and state.live:
                    require(not is_under_way(state, step.ready), f"{cancel}: run {step.run} is under way")

    def telling(self, values: Iterable[bytes]) -> None:
        """A process is about to send commands. What one instance tells another must come of what counts."""
        for value in values:
            try:
                command = decode_command(value)
            except ValueError:  # a stranger's
                continue
            from_instance = isinstance(command, _ONLY_INSTANCES) or getattr(command, "command_id", "").endswith(
                _TELLS
            )
            require(value in self.messages or not from_instance, f"told what does not count: {command}")

    def arrived(self, values: Iterable[bytes]) -> None:
        """Work is in its queue."""
        self.queued.update(decode_work(value).effect_id for value in values)

    def handed(self, worker: str, deliveries: Iterable[Delivery]) -> None:
        """Work is in the hands of a worker: the first time, or again."""
        for delivery in deliveries:
            item = decode_work(delivery.value)
            run = (item.instance_id, item.step.run)
            first = "again" not in delivery.headers and delivery.deliveries == 1
            key = (worker, *run)
            self.fewest[key] = min(delivery.deliveries, self.fewest.get(key, delivery.deliveries))
            self.in_time[key] = self.in_time.get(key, False) or first or run not in self.outcomes

    def runs(self, worker: str, instance_id: str, run: int, most: int) -> None:
        """A handler begins. What was handed out again is not run if its outcome stood in the log by then.

        Args:
            most: How often a run may be handed out.
        """
        deliveries = self.fewest.get((worker, instance_id, run), 1)
        require(deliveries <= most, f"{worker} runs {instance_id}'s run {run} for the {deliveries}th time")
        late = not self.in_time.get((worker, instance_id, run), True)
        require(not late, f"{worker} runs {instance_id}'s run {run} again, whose outcome was stored before")

    # --- what others believe --------------------------------------------------------------------------------

    def took_over(self, number: int, epoch: int, state: PartitionState) -> None:
        """An owner has taken a partition over and folded this."""
        self.taken_over += 1
        truth = self.partitions[number].at(epoch)
        require(bytes_of(state) == bytes_of(truth), f"events[{number}]@{epoch}: taken over with another state")

    def confirmed(self, number: int, proved: Acceptance, state: PartitionState) -> None:
        """An owner believes that this much counts, and that it adds up to this."""
        partition, offset = self.partitions[number], proved.offset
        epoch, index = proved.epoch, proved.index
        place = f"events[{number}]@{offset}"
        if index:
            at = bisect_right(partition.offsets, offset)
            require(bool(at) and partition.offsets[at - 1] == offset, f"{place}: believed to count, and does not")
            require(partition.stamps[at - 1] == (epoch, index), f"{place}: another transition")
        require(bytes_of(state) == bytes_of(partition.at(offset)), f"{place}: confirmed another state")

    def read(self, number: int, first: int, last: int, offsets: Sequence[int]) -> None:
        """A reader has found these to count, of those from ``first`` up to (not with) ``last``."""
        truth = [offset for offset in self.partitions[number].transitions if first <= offset < last]
        require(list(offsets) == truth, f"events[{number}]: a reader from {first} to {last} has another history")

    def history(self, instance_id: str, transitions: Sequence[Transition], *, least: int = 0) -> None:
        """A client has read the history of an instance, which had so many transitions at least."""
        truth = self.instances[instance_id].history
        transitions = [transition for transition in transitions if transition.sequence]  # not mere answers
        known = truth[: len(transitions)]
        require(transitions == known and len(known) >= least, f"{instance_id}: a client has read another history")

    def answered(self, command_id: str, event: Any) -> None:
        """A client was told this."""
        require(event in self.answers.get(command_id, []), f"{command_id}: an answer that is none: {event}")

    def outcome(self, instance_id: str, step_id: str, run: int, output: Any) -> None:
        """A handler gives this."""
        self.said[instance_id, step_id, run].append(output)

    # --- the end --------------------------------------------------------------------------------------------

    def live(self) -> dict[str, InstanceState]:
        """What has not finished."""
        found: dict[str, InstanceState] = {}
        for partition in self.partitions:
            found.update(sorted(partition.state.instances.items()))
        return found

    def unanswered(self) -> list[str]:
        """Commands in the log that nothing has come of yet."""
        return [
            f"{command_id} to {instance_id}, command {offset}"
            for command_id, (instance_id, offset) in self.asked.items()
            if command_id not in self.answers
        ]


def require(holds: object, what: str) -> None:
    """Complain unless it holds."""
    if not holds:
        raise ViolationError(what)
