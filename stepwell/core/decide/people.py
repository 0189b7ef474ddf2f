"""Deciding what ends a wait: what people say of an approval, the end of a child workflow, and time that is over."""

from __future__ import annotations

from msgspec.structs import replace

from stepwell.core.decide.answers import ALREADY_FINISHED, note, reject
from stepwell.core.decide.decision import Decision
from stepwell.core.decide.gates import due_in
from stepwell.core.decide.retry import CHILD_NOT_STARTED, STEP_TIMEOUT
from stepwell.core.decide.settling import fail_step, succeed
from stepwell.core.decide.starting import settle_up
from stepwell.core.fold.state import InstanceState, StepState
from stepwell.core.plan.compile import Plan
from stepwell.schemas.records.commands import ApproveStep, ChildEnded, RejectStep
from stepwell.schemas.records.events import ErrorInfo
from stepwell.schemas.records.statuses import StepStatus
from stepwell.schemas.records.step_waits import ApprovalDecided, ApprovalRequired
from stepwell.suggest import suggest

REJECTED = "ApprovalRejected"
NOBODY_DECIDED = "ApprovalTimeout"
CHILD_FAILED = "ChildWorkflowFailed"

LONGEST_NAME = 200  # characters, of who decides, as of approvers
LONGEST_COMMENT = 10_000  # and of why: it is kept in the history and in the step's output

_ENDED = {"cancelled": "was cancelled", "rejected": "could not be started"}


def approve(decision: Decision, command: ApproveStep) -> None:
    """Somebody approves."""
    _vote(decision, command, approved=True)


def refuse(decision: Decision, command: RejectStep) -> None:
    """Somebody rejects."""
    _vote(decision, command, approved=False)


def _vote(decision: Decision, command: ApproveStep | RejectStep, *, approved: bool) -> None:
    found = _asked(decision, command)
    if found is None:
        return
    step_id, step, gate = found
    for what, text, most in (("name", command.by, LONGEST_NAME), ("comment", command.comment, LONGEST_COMMENT)):
        if len(text) > most:
            reject(decision, command, "too_long", f"a {what} of {len(text):,} characters; at most {most:,} are kept")
            return
    if gate.approvers and command.by not in gate.approvers:
        who = f'"{command.by}"' if command.by else "nobody named"
        listed = ", ".join(gate.approvers)
        reject(decision, command, "not_an_approver", f'{who} may not decide "{step_id}"; these may: {listed}')
        return
    if approved and any(vote.by == command.by for vote in step.votes):
        note(decision, command, f'"{command.by}" has approved already; {_missing(step, gate)} more must')
        return
    vote = ApprovalDecided(
        step_id, step.run, approved, command.by, command.comment, gate.level, command_id=command.command_id
    )
    decision.emit(vote)
    if not approved or len(step.votes) + 1 >= gate.required:
        _settle(decision, step_id, vote)


def _missing(step: StepState, gate: ApprovalRequired) -> int:
    return gate.required - len(step.votes)


def _asked(decision: Decision, command: ApproveStep | RejectStep) -> tuple[str, StepState, ApprovalRequired] | None:
    """The gate that somebody speaks of; else answer why there is none."""
    state, step_id = decision.state, command.step_id
    if state is None:
        known = decision.circumstances.finished or decision.circumstances.archived
        if known is None:
            reject(decision, command, "unknown_instance", f'there is no instance "{command.instance_id}"')
        else:
            reject(decision, command, ALREADY_FINISHED, f"it has finished: {known.status}")
        return None
    gates = {key: step for key, step in sorted(state.steps.items()) if step.gate is not None}
    if not step_id and len(gates) > 1:
        reject(decision, command, "ambiguous_step", f"several steps wait for approval; name one: {', '.join(gates)}")
        return None
    step_id = step_id or next(iter(gates), "")
    step = gates.get(step_id)
    if step is None or step.gate is None:
        if step_id in state.steps:
            message = f'step "{step_id}" waits for no approval: it is {state.steps[step_id].status}'
        elif step_id:
            hint = suggest(step_id, gates) or (f"; these do: {', '.join(gates)}" if gates else "")
            message = f'no step "{step_id}" waits for approval{hint}'
        else:
            message = "no step of it waits for approval"
        reject(decision, command, "no_approval", message)
        return None
    return step_id, step, step.gate


def _settle(decision: Decision, step_id: str, last: ApprovalDecided, *, why: str = "") -> None:
    """The gate is decided: by the last vote, or because time is over."""
    step = decision.instance().steps[step_id]
    plan_step, gate = decision.plan().steps[step_id], step.gate
    if gate is None:
        raise LookupError(f"{decision.instance_id}: {step_id} waits for no approval")
    if step_id in decision.circumstances.oversized:
        too_large = decision.too_large(step_id, "what the approvers have said")
        fail_step(decision, plan_step, step.run, step.attempt, too_large)
        settle_up(decision)
        return
    output = {
        "approved": last.approved,
        "decision": "approved" if last.approved else "rejected",
        "by": last.by,
        "comment": last.comment,
        "at": decision.now,
        "level": gate.level,
        "approvals": [{"by": vote.by, "comment": vote.comment} for vote in step.votes if vote.approved],
    }
    if last.approved or gate.on_reject == "continue":
        succeed(decision, plan_step, step.run, step.attempt, output)
    else:
        who = last.by or ("somebody" if not why else "nobody")
        said = f": {last.comment}" if last.comment else ""
        error = ErrorInfo(type=REJECTED, message=why or f"rejected by {who}{said}", retryable=False)
        fail_step(decision, plan_step, step.run, step.attempt, error)
    settle_up(decision)


def time_is_over(decision: Decision, step_id: str, step: StepState) -> None:
    """A step has waited as long as it may: for people, or for a child."""
    plan_step = decision.plan().steps[step_id]
    gate = step.gate
    if gate is None:
        seconds = step.child.timeout_seconds if step.child is not None else 0
        error = ErrorInfo(
            type=STEP_TIMEOUT, message=f"the child has not ended within {seconds:g} s", kinds=("TimeoutError",)
        )
        fail_step(decision, plan_step, step.run, step.attempt, error)
        settle_up(decision)
        return
    message = f"nobody has decided within {gate.timeout_seconds:g} s"
    if gate.on_timeout == "escalate" and gate.escalate_to:
        level, *left = gate.escalate_to
        due = due_in(decision, gate.timeout_seconds)
        decision.emit(replace(gate, approvers=level, level=gate.level + 1, due=due, escalate_to=tuple(left)))
    elif gate.on_timeout in ("approve", "reject"):
        vote = ApprovalDecided(step_id, step.run, gate.on_timeout == "approve", comment=message, level=gate.level)
        decision.emit(vote)
        _settle(decision, step_id, vote, why=message)
    else:
        error = ErrorInfo(type=NOBODY_DECIDED, message=message, kinds=("TimeoutError",), retryable=False)
        fail_step(decision, plan_step, step.run, step.attempt, error)
        settle_up(decision)


def was_not_let_through(state: InstanceState, plan: Plan, step_id: str) -> bool:
    """Whether a failure means that people have not agreed: then nobody may go on without the step.

    That is a gate of this instance, of a child however deep, or of the failed step's own error handler. To run it
    anew is to ask anew.
    """
    step, plan_step = state.steps.get(step_id), plan.steps[step_id]
    if step is None or step.status is not StepStatus.FAILED:
        return False
    if plan_step.way == "gate":
        return True
    if (
        step.error is not None
        and step.error.type == CHILD_FAILED
        and not {REJECTED, NOBODY_DECIDED}.isdisjoint(step.error.kinds)
    ):
        return True
    handler = plan.definition.error_handlers.get(step_id)
    return handler is not None and was_not_let_through(state, plan, handler.step)


def child_ended(decision: Decision, command: ChildEnded) -> None:
    """A workflow that a step waits for has ended, or could not be started."""
    state = decision.state
    step = state.steps.get(command.step_id) if state is not None else None
    if step is None or step.child is None or step.run != command.run or step.child.child_id != command.child_id:
        decision.note = "nobody waits for this child any more"
        return
    plan_step, error = decision.plan().steps[command.step_id], command.error
    if command.step_id in decision.circumstances.oversized:
        too_large = decision.too_large(command.step_id, "the child's output")
        fail_step(decision, plan_step, step.run, step.attempt, too_large)
    elif command.status == "completed" or step.child.on_failure == "continue":
        output = {"instance_id": command.child_id, "status": command.status, "output": command.output}
        if error is not None:
            output["error"] = {"type": error.type, "message": error.message}
        succeed(decision, plan_step, step.run, step.attempt, output)
    else:
        message = f"{command.child_id} {_ENDED.get(command.status, command.status)}"
        kinds: tuple[str, ...] = (CHILD_NOT_STARTED,) if command.status == "rejected" else ()
        if error is not None:
            its_own = (kind for kind in error.kinds if kind != CHILD_NOT_STARTED)  # not what a child of it met
            kinds = tuple(dict.fromkeys((*kinds, error.type, *its_own)))
            # Of a child whose own child has failed, what is told is which one it was.
            message = error.message if error.type == CHILD_FAILED else f"{message}: {error.type}: {error.message}"
        failure = ErrorInfo(type=CHILD_FAILED, message=message, kinds=kinds, retryable=False)
        fail_step(decision, plan_step, step.run, step.attempt, failure)
    settle_up(decision)
