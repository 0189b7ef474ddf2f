"""What holds up a step that is under way: people, a child, time, or workers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from stepwell.client.advice import answer_to
from stepwell.command_line import about
from stepwell.consumers.reading.live_members import LiveWorker
from stepwell.consumers.worker.handlers import is_agent_task
from stepwell.consumers.worker.importing import may_be_imported
from stepwell.core.decide.outcomes import NO_HANDLER
from stepwell.core.fold.state import StepState
from stepwell.diagnosis.case import Case, Finding, Remedy, named, said, span, until, when
from stepwell.schemas.records.events import StepReady
from stepwell.schemas.records.statuses import StepStatus, WorkflowStatus

TAKEN_LATE_MS: Final = 10_000  # milliseconds after which a step that a worker could take is worth a second look


def step_finding(case: Case, step_id: str, step: StepState) -> Finding:
    """Why a step that is under way is not done."""
    if step.waits_for == "approval":
        return _approval(case, step_id, step)
    if step.waits_for == "child":
        return _child(case, step_id, step)
    due = case.state.timers.get(step_id, 0)
    if step.waits_for == "retry":
        return _retrying(case, step_id, step, due)
    if step.waits_for == "time":
        return Finding(
            code="sleeping",
            words=f'step "{step_id}" sleeps {until(due, case.now)}',
            step_id=step_id,
            since=step.since,
            due=due,
            input=case.inputs.get(step_id),
        )
    return _in_hands(case, step_id, step, due)


def _retrying(case: Case, step_id: str, step: StepState, due: int) -> Finding:
    most = step.ready.max_attempts if step.ready is not None else 1
    paused = case.state.status is WorkflowStatus.PAUSED
    following = "none begins while it is paused" if paused else f"the next begins {when(due, case.now)}"
    error = step.error
    remedies = [] if paused else [Remedy("Nothing needs to be done if that passes by itself")]
    if case.members.engines and not able_workers(case.members.workers, step.ready):
        following += ", and no live worker could run it"
        remedies = [Remedy("Start a worker that has it", worker_command(case, step.ready))]
    cause = f": {said(error)}" if error is not None else ""
    return Finding(
        code="retrying",
        words=f'attempt {step.attempt} of {most} at step "{step_id}" failed{cause}; {following}',
        step_id=step_id,
        since=step.since,
        due=due,
        input=case.inputs.get(step_id),
        error=error,
        remedies=remedies,
    )


def _approval(case: Case, step_id: str, step: StepState) -> Finding:
    gate = step.gate
    several = sum(other.gate is not None for other in case.state.steps.values()) > 1
    approvers = gate.approvers if gate is not None else ()
    voted = [vote.by or "somebody" for vote in step.votes]
    words = f'step "{step_id}" waits for approval by {" or ".join(approvers) or "anybody"}'
    due = 0
    if gate is not None:
        if gate.required > 1:
            words += f"; {len(voted)} of {gate.required} have approved" + (f" ({named(voted)})" if voted else "")
        asked = " - ".join(text for text in (gate.title, gate.message) if text)
        words += f": {asked}" if asked else ""
        due = gate.due or 0
        if due and case.state.status is WorkflowStatus.PAUSED:
            words += _stands_still(case, due)
            due = 0
        elif due:
            words += f"; {until(due, case.now)}, then {_AFTERWARDS[gate.on_timeout]}"
    answer = answer_to(step_id, [name for name in approvers if name not in voted], several=several)
    return Finding(
        code="approval",
        words=words,
        step_id=step_id,
        since=step.since,
        due=due,
        input=case.inputs.get(step_id),
        remedies=[
            Remedy("Approve", case.command("approve", *answer)),
            Remedy("Reject", case.command("reject", *answer, "--comment", "WHY")),
        ],
    )


_AFTERWARDS: Final = {
    "approve": "it counts as approved",
    "reject": "it counts as rejected",
    "fail": "the step fails",
    "escalate": "others are asked, or the step fails",
}


def _stands_still(case: Case, due: int) -> str:
    """What is left of the time of a wait that a pause has stopped."""
    rest = span(due - (case.state.paused_at or case.now))
    return f"; time stands still while it is paused, {rest} are left"


def _child(case: Case, step_id: str, step: StepState) -> Finding:
    child = step.child.child_id if step.child is not None else ""
    due = case.state.timers.get(step_id, 0)
    if due and case.state.status is WorkflowStatus.PAUSED:
        limit, due = _stands_still(case, due), 0
    else:
        limit = f", {until(due, case.now)}" if due else ""
    return Finding(
        code="child",
        words=f'step "{step_id}" waits for {child}{limit}',
        step_id=step_id,
        since=step.since,
        due=due,
        input=case.inputs.get(step_id),
        child=child,
        remedies=[Remedy("See what holds the child up", about("debug", child, at=case.at))],
    )


def _in_hands(case: Case, step_id: str, step: StepState, due: int) -> Finding:
    """A step that a worker has, or that waits for one."""
    members, ready = case.members, step.ready
    queue = ready.queue if ready is not None else "default"
    serving = [worker for worker in members.workers if queue in worker.queues]
    able = able_workers(members.workers, ready)
    undoing = "undoing " if ready is not None and ready.purpose == "compensate" else ""
    what = f'{undoing}step "{step_id}"'
    common: dict[str, Any] = {"step_id": step_id, "since": step.since, "input": case.inputs.get(step_id)}
    wanted = [Remedy("Start a worker that has it", worker_command(case, ready))]
    if step.status is StepStatus.RUNNING:
        return _running(case, what, step, due, common, able=bool(able))
    if not serving:
        others = sorted({name for worker in members.workers for name in worker.queues})
        there = f"; the live workers take from {named(others)}" if others else ": no worker is live"
        words = f'{what} waits in the queue "{queue}", and no live worker takes from it{there}'
        return Finding(code="no_worker", words=words, remedies=wanted, **common)
    handler = ready.handler or ready.step_type if ready is not None else ""
    if not able:
        words = f'{what} needs the handler "{handler}", and no live worker has it: {named(_names(serving))} may not'
        words += " import it" if "." in handler else " run it"
        if step.waits_for == "worker":
            words += "; it was handed back" + (f", and is offered again {_again(case, due)}" if due else "")
        return Finding(code=NO_HANDLER, words=words, due=due, remedies=wanted, **common)
    words = f"{what} waits for a worker: {named(_names(able))} can take it"
    if step.waits_for == "worker":
        words += f"; it was handed back, and is offered again {_again(case, due)}"
    elif case.now - step.since > TAKEN_LATE_MS:
        words += (
            f"; it has waited for {span(case.now - step.since)}: their slots are full, or they are a `stepwell run` "
            "of another instance, which takes no other's steps"
        )
    remedies = [
        Remedy("See what the workers are at", case.other("work", "--status", "running")),
        Remedy("Another worker would help", worker_command(case, ready)),
    ]
    # Where it is paused, or was handed back, another worker would change nothing.
    held = case.state.status is WorkflowStatus.PAUSED or step.waits_for == "worker"
    late = case.now - step.since > TAKEN_LATE_MS and not held
    return Finding(code="ready", words=words, due=due, remedies=remedies if late else [], **common)


def _again(case: Case, due: int) -> str:
    """When a step that was handed back is offered to workers again."""
    return "once it is resumed" if case.state.status is WorkflowStatus.PAUSED else when(due, case.now)


def _running(case: Case, what: str, step: StepState, due: int, common: dict[str, Any], *, able: bool) -> Finding:
    worker = step.worker or "a worker"
    words = f"{what} is in the hands of {worker} for {span(case.now - step.since)}"
    if step.deliveries > 1:
        words += f", handed out {step.deliveries:,} times: the workers before have ended without an outcome"
    limit = f"; it may take {until(due, case.now)}" if due else "; it has no timeout"
    gone = bool(step.worker) and step.worker not in {
        name for one in case.members.workers for name in (one.id, one.name)
    }
    if gone:
        then = "another takes it over" if able else "no live worker could take it over"
        words += f", which is not live any more: {then}"
        remedies = [] if able else [Remedy("Start a worker that has it", worker_command(case, step.ready))]
        return Finding(code="worker_gone", words=words + limit, due=due, remedies=remedies, **common)
    if step.progress is not None:
        words += f", and tells: {step.progress}"
    remedies = [Remedy("Should it hang, end the instance", case.command("cancel"))]
    return Finding(code="running", words=words + limit, due=due, remedies=remedies, **common)


def able_workers(workers: Iterable[LiveWorker], ready: StepReady | None) -> list[LiveWorker]:
    """The live workers that take from a run's queue and have its handler."""
    if ready is None:
        return []
    return [worker for worker in workers if ready.queue in worker.queues and _has(worker, ready)]


def _has(worker: LiveWorker, ready: StepReady) -> bool:
    if ready.step_type == "agent_task" or is_agent_task(ready.handler):
        return ready.handler in worker.handlers or "agent_task" in worker.handlers
    if ready.step_type != "python" and ready.purpose != "compensate":
        return ready.step_type in worker.handlers
    return ready.handler in worker.handlers or may_be_imported(ready.handler, worker.prefixes)


def worker_command(case: Case, ready: StepReady | None) -> str:
    """The command that starts a worker for a run."""
    words = ["worker"]
    if ready is not None and ready.handler:
        words += ["--handlers", "MODULE" if is_agent_task(ready.handler) else module_of(ready.handler)]
    if ready is not None and ready.queue != "default":
        words += ["--queue", ready.queue]
    return case.other(*words)


def module_of(handler: str) -> str:
    """The module of a handler, as ``--handlers`` takes it; a registered name does not tell."""
    return handler.rpartition(".")[0] or "MODULE"


def _names(workers: Iterable[LiveWorker]) -> list[str]:
    return [worker.name for worker in workers]
