"""What holds of an instance after every single event, whatever happens to it."""

from __future__ import annotations

from typing import Any

from stepwell.core.fold.state import WORKFLOW_TIMER, InstanceState, StepState
from stepwell.core.plan.compile import Plan
from stepwell.schemas.records.events import (
    Event,
    RollbackStarted,
    StepCompensated,
    StepFailed,
    StepReady,
    StepSkipped,
    StepSucceeded,
    StepWaiting,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowResumed,
)
from stepwell.schemas.records.statuses import UNDER_WAY, StepStatus, WorkflowStatus
from stepwell.schemas.records.step_waits import ApprovalDecided, ApprovalRequired, ChildRequested

_WAITS = ("time", "approval", "child")
_BEGIN = (StepReady, StepWaiting, ApprovalRequired, ChildRequested)


def busy_steps(state: InstanceState) -> list[str]:
    """The steps that take a place: those under way, but for what waits for a time, for people or for a child."""
    under_way = ((step_id, step) for step_id, step in state.steps.items() if step.status in UNDER_WAY)
    return [step_id for step_id, step in under_way if step.waits_for not in _WAITS or not _is_waited_for(step)]


def _is_waited_for(step: StepState) -> bool:
    """Not so a child that is only started: its step has succeeded in a moment."""
    return step.child is None or step.child.wait


def is_at_rest(plan: Plan, state: InstanceState) -> bool:
    """Whether nothing that was deferred could begin: no place is free, or nothing may start."""
    limit = plan.definition.max_parallel_steps
    if state.status is not WorkflowStatus.RUNNING or state.rollback is not None:
        return True
    if limit is not None and len(busy_steps(state)) >= limit:
        return True
    return not state.deferred and (not state.deferred_sequential or state.active_sequential > 0)


class Watch:
    """Checks each event of one instance; give it to ``Engine(watch=…)``."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.gates = {key for key, one in plan.steps.items() if one.step.type == "approval_gate"}
        self.asked: dict[str, tuple[ApprovalRequired, list[ApprovalDecided]]] = {}
        self.highest_run = 0
        self.settled_runs: set[int] = set()

    def __call__(self, before: InstanceState | None, event: Event, after: InstanceState) -> None:
        """Check one event."""
        assert after.sequence == (before.sequence + 1 if before else after.sequence)
        self._counts(after)
        self._timers(after)
        self._arrivals(after)
        self._end(before, event)
        self._held(before, event, after)
        if isinstance(event, (*_BEGIN, StepSucceeded, StepFailed, StepCompensated)):
            self._run(before, event)
        if isinstance(event, StepSkipped) and event.step_id in self.gates and before is not None:
            assert before.rollback or event.step_id not in before.steps, "nobody skips a gate that was not opened"
        if isinstance(event, (ApprovalRequired, ApprovalDecided)) or (
            isinstance(event, (StepSucceeded, StepFailed)) and event.step_id in self.gates
        ):
            self._gate(before, event)
        if isinstance(event, WorkflowCompleted):
            self._complete(after)

    def _end(self, before: InstanceState | None, event: Event) -> None:
        """Error handlers that were started end before the workflow does; who cancels twice does not wait for them."""
        ends = isinstance(event, (WorkflowFailed, WorkflowCancelled))
        if before is None or not (ends or (isinstance(event, RollbackStarted) and event.then == "fail")):
            return
        handling = [
            key for key, one in before.steps.items() if self.plan.steps[key].handles and one.status in UNDER_WAY
        ]
        again = (
            isinstance(event, WorkflowCancelled) and before.ending is not None and before.ending.how == "cancelled"
        )
        assert not handling or (again and event.command_id), handling

    def _held(self, before: InstanceState | None, event: Event, after: InstanceState) -> None:
        """A parent holds its child alone, and lets go of nothing that anybody else has paused."""
        if after.held:
            assert after.parent is not None
            assert after.status is WorkflowStatus.PAUSED
            assert not after.incident
        if isinstance(event, WorkflowResumed) and ":release:" in event.command_id:
            assert before is not None
            assert before.held

    def _counts(self, state: InstanceState) -> None:
        under_way = [step_id for step_id, step in state.steps.items() if step.status in UNDER_WAY]
        sequential = [step_id for step_id in under_way if self.plan.steps[step_id].sequential]
        assert state.active == len(under_way)
        assert state.active_sequential == len(sequential) <= 1
        busy = busy_steps(state)
        assert state.active - state.idle == len(busy)
        assert len(busy) <= (self.plan.definition.max_parallel_steps or len(busy))
        waiting = [step_id for _, step_id in (*state.deferred, *state.deferred_sequential)]
        assert len(waiting) == len({*waiting})
        assert all(not self.plan.steps[step_id].sequential for _, step_id in state.deferred)
        assert all(self.plan.steps[step_id].sequential for _, step_id in state.deferred_sequential)
        if not state.live or state.rollback:
            assert not under_way
            assert not waiting
        if not state.live:
            assert state.finished_at
            assert not state.incident
            current = state.rollback.current if state.rollback else None
            assert current is None or current.status not in UNDER_WAY

    def _timers(self, state: InstanceState) -> None:
        """Whatever waits has a timer; besides, only what a worker has reported to be at may have one."""
        runs: dict[str, StepState] = dict(state.steps)
        current = state.rollback.current if state.rollback else None
        if current is not None:
            assert current.ready is not None
            runs = {current.ready.step_id: current}
        waiting = {step_id for step_id, step in runs.items() if step.status is StepStatus.WAITING}
        running = {step_id for step_id, step in runs.items() if step.status is StepStatus.RUNNING}
        timers = {timer for timer in state.timers if timer != WORKFLOW_TIMER}
        patient = {step_id for step_id in waiting if runs[step_id].waits_for in ("approval", "child")}
        assert waiting - patient <= timers <= waiting | running, (waiting, timers, running)
        assert all(runs[step_id].waits_for for step_id in waiting)
        if not state.live:
            assert not state.timers

    def _arrivals(self, state: InstanceState) -> None:
        """A join that still waits has counted exactly those of its inputs that are settled."""
        settled = {step_id for step_id, step in state.steps.items() if step.settled}
        for step_id, plan_step in self.plan.steps.items():
            wanted = plan_step.step.depends_on
            arrived = len(settled.intersection(wanted))
            if not plan_step.handles and arrived < len(wanted):
                assert state.arrived.get(step_id, 0) == arrived, step_id
                assert step_id not in state.steps, step_id

    def _run(self, before: InstanceState | None, event: Any) -> None:
        """Runs have ever higher numbers, and each is settled once."""
        assert before is not None
        assert before.status in (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED)
        fresh = event.run > self.highest_run
        self.highest_run = max(self.highest_run, event.run)
        if isinstance(event, ApprovalRequired) and event.level > 1:
            assert not fresh
            return
        if isinstance(event, _BEGIN):
            assert fresh
            assert before.status is WorkflowStatus.RUNNING
            if not (isinstance(event, StepReady) and event.purpose == "compensate"):
                self._beginning(before, event.step_id)
            return
        if before.status is WorkflowStatus.PAUSED and isinstance(event, StepFailed):
            waited = before.steps.get(event.step_id)
            if waited is not None and waited.child is not None:  # it stands still, too
                assert event.error.type != "StepTimeout"
        assert event.run not in self.settled_runs
        self.settled_runs.add(event.run)
        if fresh:  # decided at once
            self._beginning(before, event.step_id)

    def _beginning(self, before: InstanceState, step_id: str) -> None:
        """A step begins when its dependencies are settled, once, and in written order among those that may."""
        plan_step, was = self.plan.steps[step_id], before.steps.get(step_id)
        if was is not None and was.status is StepStatus.WAITING:  # the same run, routed again or retried
            return
        failed = plan_step.handles
        if failed:
            assert before.steps[failed].status is StepStatus.FAILED
            assert not before.steps[failed].settled
            assert failed in before.failures
        else:
            assert was is None, step_id
        for other in self.plan.steps.values():
            if other.index >= plan_step.index or other.handles or other.step.id in before.steps:
                continue
            free = all(dep in before.steps and before.steps[dep].settled for dep in other.step.depends_on)
            held = (other.sequential and before.active_sequential) or before.ending is not None
            assert not free or held, f"{step_id} begins before {other.step.id}"
        for dep in () if failed else plan_step.step.depends_on:
            assert before.steps[dep].settled, dep
        assert not (plan_step.sequential and before.active_sequential)
        assert failed or before.ending is None, "nothing else starts"
        if not failed and plan_step.skips_along:
            for dep in plan_step.step.depends_on:
                status, handlers = before.steps[dep].status, self.plan.definition.error_handlers
                dealt_with = status is StepStatus.FAILED and dep in handlers
                assert status is StepStatus.SUCCEEDED or dealt_with, f"{dep} was skipped"

    def _gate(self, before: InstanceState | None, event: Any) -> None:
        """As many as a level asks for have approved at that level, or nobody has and time was over."""
        assert before is not None
        if before.status is WorkflowStatus.PAUSED:  # time stands still: only people decide
            assert not isinstance(event, ApprovalRequired)
            assert not (isinstance(event, ApprovalDecided) and not event.by and event.comment.startswith("nobody"))
            assert not (isinstance(event, StepFailed) and event.error.type == "ApprovalTimeout")
        if isinstance(event, ApprovalRequired):
            self.asked[event.step_id] = (event, [])
            return
        if isinstance(event, StepFailed):
            return
        asked, votes = self.asked[event.step_id]
        if isinstance(event, ApprovalDecided):
            assert event.level == asked.level
            assert not event.by or not asked.approvers or event.by in asked.approvers
            votes.append(event)
            return
        assert votes, "a gate opens by nobody's word"
        if votes[-1].by and votes[-1].approved:
            assert len({vote.by for vote in votes if vote.approved}) >= asked.required

    def _complete(self, state: InstanceState) -> None:
        ordinary = [step_id for step_id, plan_step in self.plan.steps.items() if not plan_step.handles]
        assert all(state.steps[step_id].settled for step_id in ordinary)
        assert not state.failures
