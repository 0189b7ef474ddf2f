"""Deciding what clients ask for: start, cancel, roll back."""

from __future__ import annotations

import math
from typing import Any, Final

from stepwell.core.decide.answers import is_too_long, note, reject, reject_not_live
from stepwell.core.decide.decision import START_OF_HISTORY, Decision
from stepwell.core.decide.ending import end_by_parent, end_cancelled
from stepwell.core.decide.gates import end_id_of
from stepwell.core.decide.pausing import go_on, reopened
from stepwell.core.decide.rollback import roll_back
from stepwell.core.decide.starting import settle_up
from stepwell.core.fold.state import InstanceState
from stepwell.core.plan.compile import Plan
from stepwell.errors import NOT_PLAIN, is_plain, visible
from stepwell.schemas.definitions.model import LONGEST_SECONDS
from stepwell.schemas.records.commands import CancelWorkflow, RollbackWorkflow, StartWorkflow
from stepwell.schemas.records.events import WorkflowStarted
from stepwell.schemas.records.statuses import StepStatus, WorkflowStatus
from stepwell.suggest import suggest

INACTIVE_VERSION: Final = "inactive_version"
"""The code of a rejection: the version exists, but new starts may not take it."""
_MOST_POINTS: Final = 20  # of a history that a message names


def start(decision: Decision, command: StartWorkflow) -> None:
    """Begin an instance, or point to the one that exists."""
    circumstances = decision.circumstances
    finished, archived = circumstances.finished, circumstances.archived
    if decision.state is not None or finished is not None or archived is not None:
        if finished is not None and command.command_id and finished.command_id == command.command_id:
            decision.note = "this command was followed before"
            return
        said = f'instance "{command.instance_id}" exists already'
        if command.parent is None or (decision.state is not None and decision.state.parent == command.parent):
            note(decision, command, said)
        else:
            reject(decision, command, "instance_exists", f"{said}, and is no child of this step")
        return
    if command.parent is None and not is_plain(command.instance_id):  # a child's is made from its parent's
        reject(decision, command, "invalid_command", f'the id "{visible(command.instance_id)}" {NOT_PLAIN}')
        return
    plan = _plan_to_start(decision, command)
    if plan is None:
        return
    if "" in circumstances.oversized:
        message = f"the input makes a record of {circumstances.oversized['']:,} bytes, more than the log takes"
        reject(decision, command, "payload_too_large", message)
        return
    definition = plan.definition
    problem = plan.input_problem(command.input)
    if problem:
        reject(decision, command, "invalid_input", problem)
        return
    timeout = command.timeout_seconds
    if timeout is None:
        timeout = definition.default_timeout_seconds
    if timeout is not None and timeout > LONGEST_SECONDS:
        reject(decision, command, "invalid_timeout", "timeout_seconds: is more than ten years; leave it out for none")
        return
    decision.emit(
        WorkflowStarted(
            workflow=definition.name,
            version=definition.version,
            definition=plan.hash,
            input=command.input,
            priority=command.priority,
            due=None if timeout is None else decision.now + math.ceil(timeout * 1000),
            command_id=command.command_id,
            parent=command.parent,
            life=decision.now if circumstances.forgets else 0,
        )
    )
    decision.free(plan.roots)
    settle_up(decision)


def _plan_to_start(decision: Decision, command: StartWorkflow) -> Plan | None:
    """The definition that a start takes; where it may take none, the command is rejected."""
    plans, workflow, version = decision.circumstances.plans, command.workflow, command.version
    plan = plans.resolve(workflow, version)
    if plan is not None and plans.is_active(workflow, version):
        return plan
    if plan is not None:
        message = f'version {version} of workflow "{workflow}" is inactive; activate it, or name another one'
        reject(decision, command, INACTIVE_VERSION, message)
    elif version is None and workflow in plans.names() and not plans.is_active(workflow, None):
        message = f'no version of workflow "{workflow}" is active; activate one first'
        reject(decision, command, INACTIVE_VERSION, message)
    else:
        named = f'"{workflow}"' + (f" version {version}" if version else "")
        hint = suggest(workflow, plans.names()) or "; register it first"
        reject(decision, command, "unknown_workflow", f"no workflow {named} is registered{hint}")
    return None


def cancel(decision: Decision, command: CancelWorkflow) -> None:
    """End an instance. A parent that waits no longer does not cut short what ends by itself once it is undone."""
    if is_too_long(decision, command):
        return
    if decision.state is None:
        reject_not_live(decision, command, WorkflowStatus.CANCELLED)
        return
    if command.parent is not None and command.parent != decision.state.parent:
        decision.note = "it is no child of this step"
        return
    if command.command_id == end_id_of(command.instance_id):
        ends_by_itself = end_by_parent(decision, command)
        if decision.instance().held:  # nothing that is yet to be done would ever be: no parent releases it any more
            go_on(decision, "retry", command.command_id if ends_by_itself else "")
        elif ends_by_itself:
            note(decision, command, ends_by_itself)
    else:
        end_cancelled(decision, command.reason, command.command_id)
    settle_up(decision)


def rollback(decision: Decision, command: RollbackWorkflow) -> None:
    """Return to an earlier point."""
    known = decision.state or decision.circumstances.archived
    if known is not None:
        if known.rollback is not None:
            remedy = "wait, or cancel it" if known.live else "that was cut short: resume it first"
            reject(decision, command, "rollback_under_way", f"it is being rolled back; {remedy}")
            return
        to, problem = _target(known, decision.circumstances.plans.by_hash(known.definition), command.to)
        if problem:
            reject(decision, command, "unknown_checkpoint", problem)
            return
        if known.status is WorkflowStatus.COMPLETED and not command.pause and _nothing_after(known, to):
            message = (
                f"it has completed, and no step was settled after event {to}: there is nothing to undo, and nothing "
                f"to run again. Name an earlier point: {_points(known, to)}"
            )
            reject(decision, command, "nothing_to_undo", message)
            return
    if not reopened(decision, command):
        return
    then: Any = "pause" if command.pause else "run"
    roll_back(decision, to, then=then, command_id=command.command_id)
    settle_up(decision)


def _nothing_after(state: InstanceState, to: int) -> bool:
    """Whether an instance has achieved nothing since an event."""
    return not any(step.settled > to for step in state.steps.values())


def _points(state: InstanceState, to: int) -> str:
    """The points before an event that a rollback can be told."""
    earlier = {name: at for name, at in state.checkpoints.items() if at < to}
    earlier |= {step_id: step.settled for step_id, step in state.steps.items() if 0 < step.settled < to}
    names = sorted(earlier, key=lambda name: (-earlier[name], name))[:_MOST_POINTS]
    return ", ".join([*names, "start"])


def _target(state: InstanceState, plan: Plan | None, to: int | str | None) -> tuple[int, str]:
    """The sequence that a rollback means, or what is wrong with it.

    A text is a name before it is a word or a number: also where the step or checkpoint of that name was not reached
    yet, for whoever writes it means that one. What is a checkpoint and another step's id is refused where these are
    two points: either might undo more than was meant. A number is always an event.
    """
    if isinstance(to, str):
        found = _target_of_name(state, plan, to)
        if found is not None:
            return found
        if to == "start":
            return START_OF_HISTORY, ""
        to = None if to == "latest" else int(to)
    if to is None:
        done = [s.settled for s in state.steps.values() if s.status is StepStatus.SUCCEEDED and s.settled]
        return max(done, default=START_OF_HISTORY), ""
    if not START_OF_HISTORY <= to <= state.sequence:
        return 0, f"there is no event {to}; its events are 1 to {state.sequence}"
    for first, last in state.abandoned:
        if first <= to <= last:
            return (
                0,
                f"event {to} was itself undone: a rollback at event {last} returned to event {first - 1}",
            )
    return to, ""


def _target_of_name(state: InstanceState, plan: Plan | None, to: str) -> tuple[int, str] | None:
    """The same for a name; None where the text is none, but a word or a number."""
    settled = {step_id: step.settled for step_id, step in state.steps.items() if step.settled}
    if to in state.checkpoints:
        at, step_at = state.checkpoints[to], settled.get(to, 0)
        if step_at and step_at != at:
            return 0, f'"{to}" is a checkpoint (event {at}) and a step (event {step_at}); name the event'
        return at, ""
    if to in settled:
        return settled[to], ""
    named = plan is not None and to in plan.names
    if not named and (to in ("start", "latest") or (to.isdecimal() and len(to) < 19)):  # no sequence is longer
        return None
    names = sorted({*state.checkpoints, *settled})
    there_are = f"; there are {', '.join(dict.fromkeys([*names[:_MOST_POINTS], 'latest', 'start']))}"
    if named:
        return 0, f'"{to}" has not been reached{there_are}'
    return 0, f'no checkpoint or settled step is called "{to}"{suggest(to, names) or there_are}'
