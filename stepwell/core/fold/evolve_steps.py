"""Folding the events of steps. Each function gives the fields of the instance that its event changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from immutables import Map
from msgspec.structs import replace

from stepwell.core.fold.heap import EMPTY, Heap
from stepwell.core.fold.state import ContextValue, InstanceState, Rollback, StepState
from stepwell.schemas.records.events import (
    StepCancelled,
    StepFailed,
    StepHeartbeat,
    StepReady,
    StepRetryScheduled,
    StepReturned,
    StepsDeferred,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepWaiting,
)
from stepwell.schemas.records.statuses import UNDER_WAY, StepStatus

Changes = dict[str, Any]


def begin(state: InstanceState, step_id: str, step: StepState) -> Changes:
    """A run begins: it takes a place unless it only waits, and leaves the queue of the deferred."""
    before = state.steps.get(step_id)
    again = before is not None and before.status in UNDER_WAY  # a further attempt keeps its place
    changes = {
        **_undefer(state, step_id),
        "steps": state.steps.set(step_id, step),
        "timers": without(state.timers, step_id),
        "runs": max(state.runs, step.run),
        "active": state.active + (not again),
        "active_sequential": state.active_sequential + (step.sequential and not again),
    }
    had = before is not None and again and before.idle
    if step.idle is not had:
        changes["idle"] = state.idle + step.idle - had
    return changes


def _undefer(state: InstanceState, step_id: str) -> Changes:
    top = state.deferred.top
    if top is not None and top[1] == step_id:
        return {"deferred": state.deferred.pop()}
    top = state.deferred_sequential.top
    if top is not None and top[1] == step_id:
        return {"deferred_sequential": state.deferred_sequential.pop()}
    return {}


def _end(state: InstanceState, step_id: str, step: StepState, joins: Iterable[str] = ()) -> Changes:
    """A run ends, or a step is settled without one: its place is free, and its joins have one arrival more."""
    before = state.steps.get(step_id)
    changes: Changes = {"steps": state.steps.set(step_id, step)}
    if before is not None and before.status in UNDER_WAY:
        changes["active"] = state.active - 1
        changes["active_sequential"] = state.active_sequential - before.sequential
        if before.idle:
            changes["idle"] = state.idle - 1
        changes["timers"] = without(state.timers, step_id)
    else:
        changes.update(_undefer(state, step_id))
        changes["runs"] = max(state.runs, step.run)
    if joins:
        arrived = state.arrived
        for join in joins:
            arrived = arrived.set(join, arrived.get(join, 0) + 1)
        changes["arrived"] = arrived
    return changes


def ready(state: InstanceState, event: StepReady, at: int) -> Changes:
    """A run is routed to workers."""
    if event.purpose == "compensate":
        rollback = rollback_of(state)
        remaining = rollback.remaining
        if remaining and remaining[0] == event.step_id and rollback.current is None:
            remaining = remaining[1:]
        returned_at = _returned_at(rollback.current)
        step = StepState(StepStatus.READY, event.run, event.attempt, ready=event, returned_at=returned_at, since=at)
        return {
            "rollback": replace(rollback, current=step, remaining=remaining),
            "timers": without(state.timers, event.step_id),
            "runs": max(state.runs, event.run),
        }
    step = StepState(
        StepStatus.READY,
        event.run,
        event.attempt,
        ready=event,
        sequential=event.sequential,
        returned_at=_returned_at(state.steps.get(event.step_id)),
        since=at,
    )
    return begin(state, event.step_id, step)


def _returned_at(before: StepState | None) -> int:
    """A run that is only routed again keeps the moment since when nobody takes it."""
    return before.returned_at if before is not None and before.waits_for == "worker" else 0


def waiting(state: InstanceState, event: StepWaiting, at: int) -> Changes:
    """A step waits for a time."""
    step = StepState(
        StepStatus.WAITING, event.run, waits_for="time", sequential=event.sequential, since=at, idle=event.idle
    )
    changes = begin(state, event.step_id, step)
    return {**changes, "timers": changes["timers"].set(event.step_id, event.due)}


def started(state: InstanceState, event: StepStarted, _at: int) -> Changes:
    """A worker has it in hand."""
    timers = state.timers if event.due is None else state.timers.set(event.step_id, event.due)
    step = run_of(state, event.step_id, event.run)
    deliveries = max(step.deliveries, event.deliveries)
    return {
        **_put(
            state, event.step_id, replace(step, status=StepStatus.RUNNING, worker=event.worker, deliveries=deliveries)
        ),
        "timers": timers,
    }


def heartbeat(state: InstanceState, event: StepHeartbeat, _at: int) -> Changes:
    """It lives."""
    step = run_of(state, event.step_id, event.run)
    return _put(state, event.step_id, replace(step, progress=event.progress))


def retry_scheduled(state: InstanceState, event: StepRetryScheduled, _at: int) -> Changes:
    """An attempt failed, another follows."""
    step = run_of(state, event.step_id, event.run)
    waiting = replace(step, status=StepStatus.WAITING, waits_for="retry", error=event.error)
    return {**_put(state, event.step_id, waiting), "timers": state.timers.set(event.step_id, event.due)}


def returned(state: InstanceState, event: StepReturned, at: int) -> Changes:
    """A worker handed it back."""
    step = run_of(state, event.step_id, event.run)
    waiting = replace(step, status=StepStatus.WAITING, waits_for="worker", returned_at=step.returned_at or at)
    return {**_put(state, event.step_id, waiting), "timers": state.timers.set(event.step_id, event.due)}


def succeeded(state: InstanceState, event: StepSucceeded, at: int) -> Changes:
    """It is settled with an output."""
    sequence = state.sequence + 1
    before = state.steps.get(event.step_id)
    step = StepState(
        StepStatus.SUCCEEDED,
        event.run,
        event.attempt,
        settled=sequence,
        output=event.output,
        since=before.since if before is not None and before.status in UNDER_WAY else at,
        until=at,
    )
    changes = _end(state, event.step_id, step, event.joins)
    if event.settles:
        failed = event.settles  # its error handler has run: the failure is dealt with
        changes["steps"] = changes["steps"].set(failed, replace(state.steps[failed], settled=sequence))
        changes["failures"] = tuple(step_id for step_id in state.failures if step_id != failed)
    if event.context:
        context = state.context
        for key, value in event.context.items():
            context = context.set(key, (*context.get(key, ()), ContextValue(sequence, value)))
        changes["context"] = context
    if event.checkpoint:
        changes["checkpoints"] = state.checkpoints.set(event.checkpoint, sequence)
    return changes


def failed(state: InstanceState, event: StepFailed, at: int) -> Changes:
    """No attempt is left."""
    rollback = state.rollback
    if rollback is not None and rollback.current is not None and rollback.current.run == event.run:
        failed = replace(rollback.current, status=StepStatus.FAILED, error=event.error, until=at)
        return {
            "rollback": replace(rollback, current=failed),
            "timers": without(state.timers, event.step_id),
        }
    before = state.steps.get(event.step_id)
    step = StepState(
        StepStatus.FAILED,
        event.run,
        event.attempt,
        settled=state.sequence + 1 if event.action == "skip" else 0,
        error=event.error,
        since=before.since if before is not None and before.status in UNDER_WAY else at,
        until=at,
    )
    changes = _end(state, event.step_id, step, event.joins)
    if event.action != "skip":
        changes["failures"] = (*state.failures, event.step_id)
    return changes


def skipped(state: InstanceState, event: StepSkipped, at: int) -> Changes:
    """It is settled without an output."""
    rollback = state.rollback
    if rollback is not None:  # a compensation that a person gave up
        return {"rollback": replace(rollback, current=None)}
    before = state.steps.get(event.step_id)
    step = StepState(
        StepStatus.SKIPPED,
        before.run if before is not None else 0,
        settled=state.sequence + 1,
        error=before.error if before is not None else None,
        since=at,
        until=at,
    )
    return _end(state, event.step_id, step, event.joins)


def cancelled(state: InstanceState, event: StepCancelled, at: int) -> Changes:
    """Its run was given up."""
    step = replace(
        run_of(state, event.step_id, event.run),
        status=StepStatus.CANCELLED, ready=None, waits_for="", until=at, idle=False,
    )  # fmt: skip
    return _end(state, event.step_id, step)


def deferred(state: InstanceState, event: StepsDeferred, _at: int) -> Changes:
    """Steps wait for their turn."""
    return {
        "deferred": state.deferred.push(event.steps),
        "deferred_sequential": state.deferred_sequential.push(event.sequential),
    }


# --- small pieces -------------------------------------------------------------------------------------------


def without(timers: Map[str, int], key: str) -> Map[str, int]:
    """The timers without one."""
    return timers.delete(key) if key in timers else timers


def rollback_of(state: InstanceState) -> Rollback:
    """The rollback under way."""
    if state.rollback is None:
        raise LookupError(f"{state.id}: no rollback is under way at event {state.sequence}")
    return state.rollback


def run_of(state: InstanceState, step_id: str, run: int) -> StepState:
    """The run under way of this number: a step's, or a compensation's."""
    rollback = state.rollback
    step = rollback.current if rollback is not None else state.steps.get(step_id)
    if step is None or step.run != run:
        raise LookupError(f"{state.id}: run {run} of {step_id} is not under way at event {state.sequence}")
    return step


def _put(state: InstanceState, step_id: str, step: StepState) -> Changes:
    if state.rollback is not None:
        return {"rollback": replace(state.rollback, current=step)}
    return {"steps": state.steps.set(step_id, step)}


def cancel_compensation(state: InstanceState, at: int) -> Rollback | None:
    """The rollback under way, if any, with its compensation cancelled: a resume runs that anew."""
    rollback = state.rollback
    if rollback is None or rollback.current is None or rollback.current.status not in UNDER_WAY:
        return rollback
    current = replace(rollback.current, status=StepStatus.CANCELLED, waits_for="", until=at)
    return replace(rollback, current=current)


def cancel_runs(state: InstanceState, at: int, *, keeps: Iterable[str] = ()) -> Changes:
    """Every run under way is cancelled, but for those of some steps; nothing else waits for its turn any more."""
    steps, timers, kept = state.steps, state.timers, frozenset(keeps)
    active = sequential = idle = 0
    if state.active:
        for step_id, step in state.steps.items():
            if step.status not in UNDER_WAY:
                continue
            if step_id in kept:
                active += 1
                sequential += step.sequential
                idle += step.idle
                continue
            cancelled = replace(
                step, status=StepStatus.CANCELLED, ready=None, waits_for="", sequential=False, until=at,
                gate=None, votes=(), child=None, idle=False,
            )  # fmt: skip
            steps = steps.set(step_id, cancelled)
            timers = without(timers, step_id)
    return {
        "steps": steps,
        "timers": timers,
        "active": active,
        "active_sequential": sequential,
        "idle": idle,
        "deferred": _of(state.deferred, kept),
        "deferred_sequential": _of(state.deferred_sequential, kept),
    }


def _of(deferred: Heap, kept: frozenset[str]) -> Heap:
    return Heap(item for item in deferred if item[1] in kept) if kept else EMPTY
