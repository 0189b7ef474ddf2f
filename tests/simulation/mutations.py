"""Deliberate bugs. Each must be found by the simulation, or the simulation is not worth its time.

A mutation replaces one function of the code by a version with a bug that somebody might really write. ``seeds`` says
within how many seeds it has to be found; most are found by the first few. Where a bug shows only in a rare situation
``bias`` makes that situation likelier, as every developer who suspects something would.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from stepwell.consumers.engine import care, deciding, delivering, due, ledger, owner, takeover
from stepwell.consumers.engine.care import Care
from stepwell.consumers.engine.clock import PartitionClock
from stepwell.consumers.engine.delivering import Deliveries
from stepwell.consumers.engine.due import DueTimers
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.engine.ledger import Ledger
from stepwell.consumers.engine.misrouted import MisroutedCommands
from stepwell.consumers.engine.snapshotting import Covered
from stepwell.consumers.engine.tenure import Tenure
from stepwell.consumers.reading import snapshots
from stepwell.consumers.reading.events import EventReader
from stepwell.consumers.reading.subscriber import Subscriber
from stepwell.consumers.worker import outbox, worker
from stepwell.consumers.worker.outbox import Outbox
from stepwell.consumers.worker.repeats import Repeats, _Partition
from stepwell.core.decide import decide as deciding_core
from stepwell.core.decide import effects as effects_module
from stepwell.core.decide import ending, outcomes, pausing, people
from stepwell.core.decide.decision import Decision
from stepwell.core.decide.effects import effects
from stepwell.core.fold import evolve as evolving
from stepwell.core.fold import evolve_steps, evolve_waits
from stepwell.core.fold.acceptance import CLAIM, EPOCH, INDEX, KIND, Acceptance
from stepwell.core.fold.state import InstanceState
from stepwell.log.port import COMMANDS, Outgoing
from stepwell.log.simulated.log import STORMY
from stepwell.schemas.records.commands import FireTimer, HoldWorkflow, ReleaseWorkflow
from stepwell.schemas.records.events import TimersMoved
from stepwell.schemas.records.statuses import UNDER_WAY, WorkflowStatus
from tests.simulation.world import Bias, simulate

Patch = tuple[Any, str, Any]


class Mutation(NamedTuple):
    """A deliberate bug.

    Attributes:
        patches: What is replaced: an object, the name of its attribute, and the replacement.
        seeds: Within how many seeds it is found.
        first: The seed that the search begins with; the last is followed by 0. One that is known to find the bug spares
            the run those before it. Where a change of the code gave that seed another world, the search goes on.
    """

    patches: list[Patch]
    seeds: int = 200
    bias: Bias = Bias()
    first: int = 0

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Have the bug for a while."""
        before = [(place, name, _current(place, name)) for place, name, _ in self.patches]
        for place, name, bug in self.patches:
            _put(place, name, bug)
        try:
            yield
        finally:
            for place, name, was in before:
                _put(place, name, was)


def _current(place: Any, name: Any) -> Any:
    return place[name] if isinstance(place, dict) else vars(place)[name]


def _put(place: Any, name: Any, value: Any) -> None:
    if isinstance(place, dict):
        place[name] = value
    else:
        setattr(place, name, value)


# --- the acceptance rule and the proof --------------------------------------------------------------------------


def _reads(counts: Callable[[Acceptance, int, int], bool]) -> Callable[..., Any]:
    def read(self: Acceptance, offset: int, headers: Any) -> tuple[Acceptance, bool]:
        if headers.get(KIND) == CLAIM:
            return Acceptance(offset, 0), False
        epoch, index = int(headers[EPOCH]), int(headers[INDEX])
        return (Acceptance(self.epoch, index), True) if counts(self, epoch, index) else (self, False)

    return read


def _too_early(self: Ledger, batch: Any) -> None:
    """Effects leave as soon as they are decided."""
    for head in self._unproved:
        if head.at.offset > self.__dict__.get("leaked_up_to", 0) and head.decided is not None:
            self.__dict__["leaked_up_to"] = head.at.offset
            found = effects(None, head.decided.transition, head.decided.after)
            sending = delivering._Sending(head.at, self.confirmed)
            self.deliveries._send(found, sending, again=False)
    _append(self, batch)


_append = Ledger._append


def _releases_too_much(self: Deliveries) -> None:
    _settle_deliveries(self)
    if self._sendings:
        self.released = self._sendings[-1].at.offset


_settle_deliveries = Deliveries._settle


# --- snapshots and taking over ----------------------------------------------------------------------------------


def _takes_the_steering_command_with_it(self: Ledger, ahead: int = -1) -> Any:
    """A start ahead of its turn is stamped with the place of the command that it makes way for."""
    stamp = _stamp(self, ahead)
    return replace(stamp, source=self.source) if ahead >= 0 else stamp


_stamp = Ledger._stamp


async def _forgets_who_asked(self: Tenure, *args: Any, asked: Any = None, ahead: int = -1, **more: Any) -> None:
    await _decide(self, *args, asked={} if ahead >= 0 or asked is None else asked, ahead=ahead, **more)


_decide = Tenure._decide


def _snapshot_of(state: str) -> Callable[[Ledger], None]:
    def maybe(self: Ledger) -> None:
        if self.snapshots.due(getattr(self, state).at):
            at = Acceptance(self.epoch, self.index) if state == "speculative" else self.proved
            covers = Covered(getattr(self, state), at)
            self.snapshots.start(covers, self._append_snapshot, self.stumble)

    return maybe


def _covers_too_much(self: Ledger, snapshot: Any) -> None:
    _append_snapshot(self, replace(snapshot, covers=snapshot.covers + 1, index=snapshot.index + 1))


_append_snapshot = Ledger._append_snapshot


def _one_too_far(self: Tenure, *args: Any, **more: Any) -> None:
    _begin(self, *args, **more)
    self._inbox._commands.position += 1


def _one_start_too_far(self: Tenure, *args: Any, **more: Any) -> None:
    _begin(self, *args, **more)
    self._inbox._starts.position += 1


def _arms_no_old_timers(self: DueTimers, instance: InstanceState, *, old: bool = False) -> None:
    if not old:
        _arm(self, instance)


_arm = DueTimers.arm


def _forgets_what_was_deferred(self: Tenure, *args: Any, **more: Any) -> None:
    _begin(self, *args, **more)
    self._continuing.clear()


_begin = Tenure.__init__


async def _resends_nothing(*args: Any) -> Any:
    return (await _take_over(*args))._replace(resend=[])


async def _goes_on_with_the_last(*args: Any) -> Any:
    """The order of the log is forgotten: the newest command is taken for the next one's."""
    possession = await _take_over(*args)
    return possession._replace(state=replace(possession.state, at=0))


_take_over = takeover.take_over


async def _never_claimed(*_: Any) -> bool:
    return False


async def _history_with_refused(self: EventReader, instance_id: str) -> Any:
    refused, self.refused = self.refused, set()
    try:
        return await _history(self, instance_id)
    finally:
        self.refused = refused


_history = EventReader.history


# --- what is not decided where it lies -----------------------------------------------------------------------------


def _does_not_wait_for(chosen: Callable[[Any], bool]) -> Callable[[MisroutedCommands, Any], Any]:
    """The place of what is copied is covered whether the copy is safe or not."""

    async def bring(self: MisroutedCommands, asked: Any) -> None:
        hasty = asyncio.ensure_future(_bring(self, [one for one in asked if chosen(one)]))
        hasty.add_done_callback(lambda done: done.cancelled() or done.exception())
        await _bring(self, [one for one in asked if not chosen(one)])

    return bring


_bring = MisroutedCommands.bring_to_safety


# --- what processes die over ---------------------------------------------------------------------------------


async def _names_nothing(self: Ledger, *_: Any) -> None:
    """What is decided next is not said before."""


def _takes_the_living_for_dead(claims: Any, _alive: Any) -> list[Any]:
    return [claim for claim in reversed(claims) if claim.deciding is not None]


def _only_batches(self: Care, together: Any, careful: bool, _suspected: bool) -> Any:
    """Nothing is ever decided alone, so nobody knows what it was."""
    return together if careful else None


def _behind_the_clock(self: PartitionClock) -> int:
    """Time stands still until the wall clock has caught up."""
    self._at = max(self._at, self._clock.wall())
    return self._at


# --- deciding and folding ---------------------------------------------------------------------------------------


def _finds_settled_ones(decision: Decision, command: Any) -> Any:
    state = decision.state
    step = None if state is None or state.rollback else state.steps.get(command.step_id)
    if step is not None and step.run == command.run and step.status not in UNDER_WAY:
        return step
    return _find(decision, command)


_find = outcomes._find


def _decides_again(state: Any, command: Any, circumstances: Any) -> Decision:
    decision = Decision(state, command.instance_id, circumstances)
    deciding_core._DECIDE[type(command)](decision, command)
    return decision


def _counts_joins_twice(state: Any, step_id: str, step: Any, joins: Any = ()) -> Any:
    return _end(state, step_id, step, (*joins, *joins))


def _frees_no_idle_run(state: Any, step_id: str, step: Any, joins: Any = ()) -> Any:
    """What only waited is counted as waiting after its end, so that one run more than the limit may begin."""
    changes = _end(state, step_id, step, joins)
    return {key: value for key, value in changes.items() if key != "idle"}


_end = evolve_steps._end


def _same_run(self: Decision, step: Any, attempt: int) -> None:
    self.emit(replace(step.ready, run=step.run, attempt=attempt))


def _keeps_the_context(state: Any, event: Any, at: int) -> Any:
    changes = _rolled_back(state, event, at)
    return {key: value for key, value in changes.items() if key != "context"}


_rolled_back = evolving._rolled_back


def _fires_while_paused(decision: Decision, command: Any) -> None:
    """A gate of a paused instance decides itself."""
    state = decision.state
    step = None if state is None else state.steps.get(command.timer)
    if step is not None and step.gate is not None:
        people.time_is_over(decision, command.timer, step)
    else:
        _fire(decision, command)


_fire = outcomes.fire


def _keeps_the_votes(state: Any, event: Any, at: int) -> Any:
    """Who has approved at one level has approved at the next."""
    changes = _approval_required(state, event, at)
    before = state.steps.get(event.step_id)
    kept = () if before is None else before.votes
    step = replace(changes["steps"][event.step_id], votes=kept)
    return {**changes, "steps": changes["steps"].set(event.step_id, step)}


_approval_required = evolve_waits.approval_required


# --- the worker -------------------------------------------------------------------------------------------------


class _Careless:
    """A queue whose worker's settlements do not go through as they are.

    Args:
        settle: What becomes of them instead.
    """

    def __init__(self, settle: Callable[[Any, Any], Any]) -> None:
        self.settle = settle


def _flush_through(box: Outbox, settle: Callable[[Any, Any], Any]) -> None:
    queue, box._queue = box._queue, _Careless(settle)  # type: ignore[assignment]
    try:
        _flush(box)
    finally:
        box._queue = queue


def _settles_first(self: Outbox) -> None:
    """Deliveries are forgotten, then their outcomes are appended."""
    queue = self._queue

    def settle(deliveries: Any, outcomes: Any) -> Any:
        done = queue.settle(deliveries, ())
        for out in outcomes:
            self._log.append(out.topic, out.partition, out.records).add_done_callback(self._reported)
        return done

    _flush_through(self, settle)


def _loses_some_outcomes(self: Outbox) -> None:
    """Of two outcomes for one partition in one turn of the loop, only one is reported."""
    queue = self._queue

    def settle(deliveries: Any, outcomes: Any) -> Any:
        return queue.settle(deliveries, [Outgoing(COMMANDS, out.partition, out.records[:1]) for out in outcomes])

    _flush_through(self, settle)


_flush = Outbox.flush


async def _always_wanted(self: Repeats, item: Any) -> bool:
    return True


def _lets_runs_be_lost_for_ever(self: worker.Worker, *args: Any, **more: Any) -> None:
    _make_worker(self, *args, **more)
    self._max_deliveries = 1_000_000


_make_worker = worker.Worker.__init__


async def _looks_at_events_alone(self: _Partition, end: int) -> None:
    """An outcome that no engine has followed yet is overlooked."""


# --- the others -------------------------------------------------------------------------------------------------


async def _owns_once(self: Engine, partition: int) -> None:
    """After a surprise nobody claims again."""
    made = owner.PartitionOwner(
        self._log, partition, self._definitions, self._admission, name=self._name, clock=self._clock
    )
    with contextlib.suppress(Exception):
        await made.run()


async def _follows_from_the_end(self: Subscriber, partition: int) -> Any:
    task = self._tasks.get(partition)
    if task is not None and task.done():
        self._readers.pop(partition, None)
    return await _follow(self, partition)


_follow = Subscriber.follow


def _holds_alone(*args: Any) -> list[Any]:
    return [effect for effect in _standing(*args) if isinstance(effect, HoldWorkflow)]


_standing = effects_module._standing


def _does_not_keep_its_order(self: Deliveries, *args: Any) -> None:
    self._kept = None
    _send_new(self, *args)


_send_new = Deliveries.send


def _releases_anything(decision: Decision, command: ReleaseWorkflow) -> None:
    if decision.state is not None and decision.state.status is WorkflowStatus.PAUSED:
        pausing._go_on(decision, "retry", command.command_id)
    else:
        decision.note = "it is not paused"


_REFUSED = Bias(rates=STORMY._replace(refused=0.05, doubt=0.05))
_FAMILIES = Bias(instances=10, families=1.0)
_DEADLY = Bias(deadly=0.1)
_REPEATS = Bias(chaos=("kill", "mistake"), every=0.5, rates=STORMY._replace(forgetful=0.2))
_SNAPSHOTS = Bias(tail=500)
_DEATHS = Bias(chaos=("kill", "freeze", "stop"), every=1.5)
_ZOMBIES = Bias(chaos=("lag", "lie", "freeze"), every=1.5)

MUTATIONS: dict[str, Mutation] = {
    "acceptance without the index": Mutation(
        [
            (Acceptance, "read", _reads(lambda known, epoch, _: epoch == known.epoch)),
        ]
    ),
    "acceptance of any higher index": Mutation(
        [
            (Acceptance, "read", _reads(lambda known, epoch, index: epoch == known.epoch and index > known.index)),
        ]
    ),
    "acceptance without the epoch": Mutation(
        [
            (Acceptance, "read", _reads(lambda known, _, index: index == known.index + 1)),
        ]
    ),
    "no proof by offsets": Mutation([(ledger, "proves", lambda *_: True)]),
    "effects before they are confirmed": Mutation([(Ledger, "_append", _too_early)]),
    "released before it has arrived": Mutation([(Deliveries, "_settle", _releases_too_much)]),
    "a snapshot of the speculative state": Mutation(
        [(Ledger, "maybe_snapshot", _snapshot_of("speculative"))], bias=_SNAPSHOTS
    ),
    "a snapshot of what is not delivered": Mutation(
        [(Ledger, "maybe_snapshot", _snapshot_of("confirmed"))],
        200,
        _SNAPSHOTS._replace(rates=STORMY._replace(straggler=0.3, doubt=0.03)),
    ),
    "a snapshot that covers one too far": Mutation([(Ledger, "_append_snapshot", _covers_too_much)], bias=_SNAPSHOTS),
    "position one too far after take-over": Mutation([(Tenure, "__init__", _one_too_far)]),
    "one start too far after take-over": Mutation([(Tenure, "__init__", _one_start_too_far)]),
    "a start ahead takes the next command with it": Mutation(
        [(Ledger, "_stamp", _takes_the_steering_command_with_it)],
        400,
        Bias(instances=20, rates=STORMY._replace(crash=0.03, refused=0.03)),
    ),
    "a start ahead forgets who asked for it": Mutation([(Tenure, "_decide", _forgets_who_asked)]),
    "timers not armed after take-over": Mutation([(DueTimers, "arm", _arms_no_old_timers)], 200, _DEATHS),
    "deferred steps forgotten after take-over": Mutation(
        [(Tenure, "__init__", _forgets_what_was_deferred)],
        250,
        Bias(instances=20, chaos=("kill",), every=0.15),
        first=149,
    ),
    "nothing sent again after take-over": Mutation([(owner, "take_over", _resends_nothing)]),
    "time goes back after take-over": Mutation([(owner, "take_over", _goes_on_with_the_last)], bias=_ZOMBIES),
    "a replaced owner's snapshot is corruption": Mutation(
        [(snapshots, "_is_claimed_after", _never_claimed)],
        300,
        Bias(
            storm=30.0,
            tail=200,
            chaos=("lag", "lie", "freeze", "slow"),
            every=0.7,
            rates=STORMY._replace(keeps=0.0),
        ),
    ),
    "history with what does not count": Mutation([(EventReader, "history", _history_with_refused)], bias=_ZOMBIES),
    "outcomes settle again": Mutation([(outcomes, "_find", _finds_settled_ones)], bias=_DEATHS),
    "commands are followed again": Mutation([(deciding, "decide", _decides_again)]),
    "joins counted twice": Mutation([(evolve_steps, "_end", _counts_joins_twice)]),
    "what waits keeps its place": Mutation([(InstanceState, "places", property(lambda state: state.active))]),
    "what has waited is never counted again": Mutation([(evolve_steps, "_end", _frees_no_idle_run)]),
    "a retry has its old run's number": Mutation([(Decision, "again", _same_run)], first=68),
    "a rollback keeps the context": Mutation([(evolving._EVOLVE, evolving.WorkflowRolledBack, _keeps_the_context)]),
    "votes of one level count at the next": Mutation(
        [(evolving._EVOLVE, evolving.ApprovalRequired, _keeps_the_votes)], 400, Bias(instances=20)
    ),
    "an end does not wait for error handlers": Mutation([(ending, "_handlers_left", lambda _: ())], 400, first=274),
    "gates decide themselves while paused": Mutation(
        [(deciding_core._DECIDE, FireTimer, _fires_while_paused)], 400, first=182
    ),
    "children are held and never released": Mutation([(effects_module, "_standing", _holds_alone)], bias=_FAMILIES),
    "a parent resumes what a person has paused": Mutation(
        [(deciding_core._DECIDE, ReleaseWorkflow, _releases_anything)], 400, _FAMILIES
    ),
    "what is told overtakes what is told again": Mutation(
        [(Deliveries, "send", _does_not_keep_its_order)], 400, _FAMILIES, first=174
    ),
    "a child that was refused may be started for nobody": Mutation(
        [(effects_module, "_never_started", lambda _: False)], 400, _FAMILIES._replace(deadly=0.1)
    ),
    "timers that were moved are not armed": Mutation(
        [(due, "_MAY_MOVE_ALL", due._MAY_MOVE_ALL - {TimersMoved})], 400, Bias(chaos=("jump",), every=1.0), first=122
    ),
    "deliveries settled before their outcomes": Mutation(
        [(Outbox, "flush", _settles_first)], 400, _DEATHS._replace(rates=STORMY._replace(crash=0.03, refused=0.03))
    ),
    "outcomes of one turn lost": Mutation([(Outbox, "flush", _loses_some_outcomes)], first=53),
    "a delivery that came twice settled at once": Mutation(
        [(module, "place", lambda _: (object(), 0)) for module in (outbox, worker)],
        200,
        Bias(chaos=("mistake", "kill", "stop"), every=0.5),
        first=58,
    ),
    "what kills its workers is run for ever": Mutation(
        [(worker.Worker, "__init__", _lets_runs_be_lost_for_ever)],
        bias=Bias(chaos=("kill", "mistake"), every=0.5),
        first=68,
    ),
    "work that comes again is run without a look": Mutation([(Repeats, "is_wanted", _always_wanted)], 200, _REPEATS),
    "outcomes that nobody has followed yet are overlooked": Mutation(
        [(_Partition, "_read_commands", _looks_at_events_alone)], 400, _REPEATS
    ),
    "nobody claims after a surprise": Mutation([(Engine, "_own", _owns_once)]),
    "timers fire only when a command comes": Mutation([(Tenure, "_until_next_timer", lambda _: None)]),
    "the clock goes back": Mutation([(PartitionClock, "now", lambda self: self._clock.wall())], bias=_ZOMBIES),
    "a stray is noted before its copy is safe": Mutation(
        [(MisroutedCommands, "bring_to_safety", _does_not_wait_for(lambda one: one.command is not None))],
        bias=_REFUSED,
    ),
    "a dead letter is not waited for": Mutation(
        [(MisroutedCommands, "bring_to_safety", _does_not_wait_for(lambda one: one.command is None))], bias=_REFUSED
    ),
    "what is decided is not named before": Mutation([(Ledger, "claim", _names_nothing)], bias=_DEADLY),
    "nothing is ever decided alone": Mutation([(Care, "_begin", _only_batches)], bias=_DEADLY),
    "the living are taken for dead": Mutation(
        [(owner, "died_over", _takes_the_living_for_dead)], 400, _ZOMBIES._replace(rates=STORMY._replace(doubt=0.05))
    ),
    "one death is enough": Mutation([(care, "deaths_over", lambda claims, _: 9 * len(claims))], bias=_DEADLY),
    "time stands still behind the clock": Mutation(
        [(PartitionClock, "now", _behind_the_clock)], bias=Bias(chaos=("jump",), every=1.0)
    ),
    "a subscriber goes on from the end": Mutation(
        [(Subscriber, "follow", _follows_from_the_end)],
        200,
        Bias(chaos=(), rates=STORMY._replace(read_error=0.05), watching=0.6),
    ),
}


def find(name: str) -> tuple[int, str]:
    """The first seed that finds a mutation, and what it says; -1 if none of its number does."""
    mutation = MUTATIONS[name]
    with mutation.applied():
        for seed in (*range(mutation.first, mutation.seeds), *range(mutation.first)):
            result = simulate(seed, mutation.bias)
            if result.problem is not None:
                return seed, repr(result.problem)
    return -1, ""
