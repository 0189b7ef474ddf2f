"""Why an instance is where it is: one finding for each thing that holds it up, or that ended it. Pure.

Each finding names its cause by a stable word, says in words what is so, and gives the exact commands that help.
``docs/queries.md`` lists the words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from stepwell.command_line import about
from stepwell.core.decide.outcomes import NO_HANDLER
from stepwell.core.decide.people import CHILD_FAILED
from stepwell.core.decide.retry import WORKFLOW_TIMEOUT
from stepwell.core.fold.state import QUARANTINED
from stepwell.diagnosis.case import Case, Finding, Remedy, asked_by, named, said
from stepwell.diagnosis.steps import able_workers, module_of, step_finding, worker_command
from stepwell.schemas.records.events import ErrorInfo, WorkflowEnding
from stepwell.schemas.records.statuses import UNDER_WAY, WorkflowStatus


def causes(case: Case) -> list[Finding]:
    """What holds an instance up, the decisive first; or what ended it."""
    state = case.state
    if not state.live:
        return [_ended(case)]
    found = [*_engines(case)]
    if state.status is WorkflowStatus.PAUSED:
        found.append(_paused(case))
    if state.rollback is not None:
        found.append(_rolling_back(case))
    if state.ending is not None:
        found.append(_ending(case, state.ending))
    places = {step_id: place for place, step_id in enumerate(case.plan.steps)} if case.plan is not None else {}
    under_way = [(step_id, step) for step_id, step in state.steps.items() if step.status in UNDER_WAY]
    under_way.sort(key=lambda item: (places.get(item[0], 0), item[0]))
    found += [step_finding(case, step_id, step) for step_id, step in under_way]
    current = state.rollback.current if state.rollback is not None else None
    if current is not None and current.ready is not None and current.status in UNDER_WAY:
        found.append(step_finding(case, current.ready.step_id, current))
    found += _deferred(case, [step_id for step_id, _ in under_way])
    if not found:
        found.append(Finding(code="running", words="it goes on by itself: an engine decides its next steps"))
    order = _ORDER if case.members.engines else _PEOPLE_FIRST
    return sorted(found, key=lambda finding: order.index(finding.code))


_ORDER: Final = (
    "no_engine", "no_owner", QUARANTINED, "incident", "paused", "no_worker", NO_HANDLER, "approval", "child",
    "retrying", "sleeping", "worker_gone", "rolling_back", "ending", "ready", "running", "deferred",
)  # fmt: skip
# What waits for a person does not go on by an engine alone: then that is told first.
_PEOPLE: Final = (QUARANTINED, "incident", "paused", "approval")
_PEOPLE_FIRST: Final = (*_PEOPLE, *(code for code in _ORDER if code not in _PEOPLE))


# --- how it ended -------------------------------------------------------------------------------------------


def _ended(case: Case) -> Finding:
    state = case.state
    if state.status is WorkflowStatus.COMPLETED:
        return Finding(
            code="completed",
            words="it has completed; nothing is wrong",
            since=state.finished_at,
            remedies=[Remedy("Run a part of it anew", case.command("rollback", "--event", "1"))],
        )
    if state.status is WorkflowStatus.CANCELLED:
        why = f": {state.pause_reason}" if state.pause_reason else ""
        return Finding(
            code="cancelled",
            words=f"it was cancelled{asked_by(case.request)}{why}{_booked(case)}",
            since=state.finished_at,
            remedies=[Remedy("Go on after all", case.command("resume"))],
        )
    return _failed(case)


def _failed(case: Case) -> Finding:
    state, step_id = case.state, case.state.failed_step
    error = state.error or ErrorInfo(type="Error")
    child = case.children.get(step_id, "") if error.type == CHILD_FAILED else ""
    where = f'step "{step_id}" failed' if step_id else "the workflow itself failed"
    words = f"{where}: {said(error)}"
    step = state.steps.get(step_id)
    if step_id and step is None:
        words += "; what was done before was rolled back" if state.rollback is None else ""
    elif step is not None and step.attempt > 1:
        words += f", after {step.attempt} attempts"
    words += _booked(case)
    remedies = []
    if child:
        remedies.append(Remedy("See why the child failed", about("debug", child, at=case.at)))
    remedies += case.resumes(step_id, skip=bool(step_id))
    if error.type == WORKFLOW_TIMEOUT:
        remedies[-1:] = [Remedy("Go on, without a limit of time", case.command("resume"))]
    if state.checkpoints:
        name = max(state.checkpoints, key=lambda key: state.checkpoints[key])
        remedies.append(Remedy("Return to a checkpoint", case.command("rollback", "--checkpoint", name)))
    remedies += _workers_wanted(case)
    return Finding(
        code="failed",
        words=words,
        step_id=step_id,
        since=state.finished_at,
        input=case.inputs.get(step_id),
        error=error,
        child=child,
        remedies=remedies,
    )


def _workers_wanted(case: Case) -> list[Remedy]:
    """Whoever resumes a workflow wants engine and worker to be there."""
    if case.members.engines and case.members.workers:
        return []
    return [Remedy("As no engine or no worker is live, then", _run(case))]


# --- who should decide it -----------------------------------------------------------------------------------


def _engines(case: Case) -> Iterator[Finding]:
    if not case.members.engines:
        yield Finding(
            code="no_engine",
            words="no engine works on this log, so nothing is decided",
            remedies=[
                Remedy("After that, start an engine that goes on with it", case.other("engine")),
                Remedy("Or run it here to its end", _run(case)),
            ]
            if case.advice is not None
            else [
                Remedy("Run it here to its end", _run(case)),
                Remedy("Or start an engine that stays", case.other("engine")),
            ],
        )
    elif case.partition in case.members.unowned:
        yield Finding(
            code="no_owner",
            words=f"no live engine has taken over its partition, {case.partition}: that is a matter of seconds",
            remedies=[Remedy("See who has which partitions", case.other("workers"))],
        )


def _run(case: Case) -> str:
    modules = dict.fromkeys(map(module_of, _handlers(case)))
    return case.other("run", "FILE", "--id", case.state.id, *(w for name in modules for w in ("--handlers", name)))


def _handlers(case: Case) -> list[str]:
    steps = case.plan.steps.values() if case.plan is not None else ()
    return [plan_step.step.handler for plan_step in steps if plan_step.step.handler]


# --- paused, rolling back, put off --------------------------------------------------------------------------


def _paused(case: Case) -> Finding:
    state = case.state
    since = case.request.at if case.request is not None else 0
    reason = state.pause_reason
    advice = case.advice
    if advice is not None and advice.waits_for == "parent":
        return Finding(
            code="paused",
            words=advice.words,
            since=state.paused_at,
            remedies=[
                Remedy("See why its parent stands still", advice.command),
                Remedy("Or go on with this one alone", advice.alone),
            ],
        )
    if not state.incident:
        why = f": {reason}" if reason else ""
        return Finding(
            code="paused",
            words=f"it was paused{asked_by(case.request)}{why}; no further step starts",
            since=since,
            remedies=[Remedy("Go on", case.command("resume"))],
        )
    culprit = _culprit(case)
    step = state.steps.get(culprit) or (state.rollback.current if state.rollback is not None else None)
    error = step.error if step is not None else None
    remedies = case.resumes(culprit, skip=state.incident != NO_HANDLER)
    if state.incident == QUARANTINED:
        return Finding(
            code=QUARANTINED,
            words=f"it was set aside: {reason}",
            incident=state.incident,
            since=since,
            remedies=[
                Remedy("Try again what could not be decided", case.command("resume")),
                Remedy("Or give it up", case.command("cancel")),
                Remedy("Report it with its history", case.command("history", "--json")),
            ],
        )
    words = f"it waits for a person: {reason}{_booked(case)}"
    if state.incident == NO_HANDLER:
        ready = step.ready if step is not None else None
        able = able_workers(case.members.workers, ready)
        remedies = [Remedy("Go on: the step is offered again", case.command("resume"))]
        if able:
            words += f"; {named([worker.name for worker in able])} has the handler now"
        else:
            remedies.insert(0, Remedy("Start a worker that has it", worker_command(case, ready)))
    return Finding(
        code="incident",
        words=words,
        step_id=culprit,
        incident=state.incident,
        since=since,
        input=case.inputs.get(culprit),
        error=error,
        remedies=remedies,
    )


def _culprit(case: Case) -> str:
    """The step that an incident is about."""
    state = case.state
    if state.rollback is not None and state.rollback.current is not None and state.rollback.current.ready is not None:
        return state.rollback.current.ready.step_id
    if state.incident == NO_HANDLER:
        held = (step_id for step_id, step in sorted(state.steps.items()) if step.waits_for == "worker")
        return next(held, "")
    return state.failures[-1] if state.failures else ""


def _ending(case: Case, ending: WorkflowEnding) -> Finding:
    """It ends once its error handlers have, or, where it is to be undone and is paused, once it is resumed."""
    state = case.state
    left = [key for key in ending.keeps if (step := state.steps.get(key)) is None or step.status in UNDER_WAY]
    why = f": {said(ending.error)}" if ending.error is not None else f": {ending.reason}" if ending.reason else ""
    what = {"failed": "it fails", "rollback": "it is rolled back and fails", "cancelled": "it is cancelled"}[
        ending.how
    ]
    if not left:  # what undoes starts steps, which a paused instance does not
        return Finding(
            code="ending",
            words=f"{what} once it is resumed{why}",
            remedies=[Remedy("End it without undoing anything", case.command("cancel"))],
        )
    return Finding(
        code="ending",
        words=f"{what} once its error handlers have ended ({named(left)}){why}",
        remedies=[Remedy("Do not wait for them", case.command("cancel"))],
    )


def _booked(case: Case) -> str:
    """Of a rollback that is not over: what it has yet to undo, and what it was for."""
    rollback = case.state.rollback
    if rollback is None:
        return ""
    current = rollback.current.ready.step_id if rollback.current is not None and rollback.current.ready else ""
    left = [step_id for step_id in (current, *rollback.remaining) if step_id]
    words = f"; not undone yet: {named(left)}" if left else ""
    if rollback.error is not None:
        why = f'step "{rollback.step_id}" failed' if rollback.step_id else "the workflow failed"
        words += f"; it is undone because {why}: {said(rollback.error)}"
    return words


def _rolling_back(case: Case) -> Finding:
    rollback = case.state.rollback
    left = 0 if rollback is None else len(rollback.remaining) + (rollback.current is not None)
    to = 0 if rollback is None else rollback.to
    return Finding(
        code="rolling_back",
        words=f"it is being rolled back to event {to}; compensations left: {left}. Nothing else runs until then"
        f"{_booked(case)}",
        remedies=[Remedy("See how far it is", case.command("status"))],
    )


def _deferred(case: Case, under_way: Sequence[str]) -> Iterator[Finding]:
    """Steps that could run, as far as their dependencies go, and may not yet."""
    state = case.state
    before = [step_id for step_id in under_way if state.steps[step_id].sequential]
    one_by_one = f"sequential steps run one at a time, and {named(before)} is under way" if before else ""
    for items, lane in ((state.deferred, ""), (state.deferred_sequential, one_by_one)):
        steps = [step_id for _, step_id in items]
        if steps:
            why = _why_deferred(case, under_way, lane)
            yield Finding(code="deferred", words=f"{named(steps)} could begin, but {why}", step_id=steps[0])


def _why_deferred(case: Case, under_way: Sequence[str], lane: str) -> str:
    state = case.state
    if state.rollback is not None:
        return "the rollback comes first"
    if state.status is WorkflowStatus.PAUSED:
        return "no step begins while it is paused"
    limit = case.plan.definition.max_parallel_steps if case.plan is not None else None
    if limit is not None and state.places >= limit:
        busy = [step_id for step_id in under_way if not state.steps[step_id].idle]
        return f"max_parallel_steps is {limit}, and under way is {named(busy)}"
    return lane or "an engine decides that in a moment"
