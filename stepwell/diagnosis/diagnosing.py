"""Looks at an instance, and at who could bring it on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from stepwell.command_line import command
from stepwell.consumers.reading.events import Accepted
from stepwell.consumers.reading.histories import accepted_of
from stepwell.consumers.reading.live_members import LiveMembers
from stepwell.core.fold.evolve import fold
from stepwell.core.fold.state import InstanceState
from stepwell.core.plan.compile import Plan
from stepwell.diagnosis.case import Case, Finding, Remedy, Request
from stepwell.diagnosis.causes import causes
from stepwell.errors import CommandRejectedError, UnknownInstanceError
from stepwell.log.partitioner import partition_for
from stepwell.projections.folding import attempts_in
from stepwell.projections.rows import AttemptRow
from stepwell.schemas.records.commands import StartWorkflow
from stepwell.schemas.records.events import ErrorInfo, IncidentRaised, StepReady, WorkflowCancelled, WorkflowPaused
from stepwell.schemas.records.sender import BY, VIA
from stepwell.schemas.records.statuses import PENDING, StepStatus, WorkflowStatus
from stepwell.schemas.records.step_waits import ApprovalRequired, ChildRequested

if TYPE_CHECKING:
    from stepwell.client.client import Client

_DEEPEST: Final = 5  # children of children that are looked at as well


class Blocked(Struct, frozen=True):
    """A step that waits for others.

    Attributes:
        waits_for: The steps that must be settled first and are not, with their statuses.
    """

    step_id: str
    waits_for: dict[str, str]


class Diagnosis(Struct, frozen=True, kw_only=True):
    """Why an instance is where it is.

    Attributes:
        status: As ever; ``rejected`` where the engine would not start it.
        words: The decisive finding, in one sentence.
        findings: What holds it up, or what ended it; the decisive one first.
        blocked: What waits for what, in written order; nothing once it has ended.
        attempts: Every attempt at the steps that the findings are about.
        children: Of the instances that findings name, why those are where they are, by id.
        due: When the whole instance times out, in milliseconds since 1970; None for never, and while
            time stands still for it.
    """

    instance_id: str
    workflow: str
    version: str
    status: str
    words: str
    findings: list[Finding]
    blocked: list[Blocked] = []
    attempts: list[AttemptRow] = []
    children: dict[str, Diagnosis] = {}
    due: int | None = None


async def diagnose(client: Client, instance_id: str, *, at: str = "") -> Diagnosis:
    """Say why an instance is stuck, or why it failed; what waits for what; and what helps.

    It reads the log, not the read models: what it says is so.

    Args:
        at: What the commands in it need besides, to look at the same log: `` --log URL``.

    Raises:
        UnknownInstanceError: The log holds none of this id.
        LogError: The log cannot be read.
    """
    await client.registry.catch_up()
    return await _diagnose(client, instance_id, await client.live_members(), at, _DEEPEST)


async def _diagnose(client: Client, instance_id: str, members: LiveMembers, at: str, depth: int) -> Diagnosis:
    found = await accepted_of(client.log, instance_id)
    state = fold(accepted.transition for accepted in found)
    if state is None:
        return await _not_begun(client, instance_id, members, at, depth)
    plan = client.registry.by_hash(state.definition)
    case = Case(
        state,
        plan,
        inputs=_inputs(found),
        children=_children(found),
        request=_request(found, state),
        members=members,
        partition=partition_for(instance_id, client.log.partitions),
        now=client.clock(),
        at=at,
    )
    findings = causes(case)
    steps = {finding.step_id for finding in findings if finding.step_id}
    attempts = [row for row in attempts_in(accepted.transition for accepted in found) if row.step_id in steps]
    named = [finding.child for finding in findings if finding.child] if depth else []
    children = {child: await _child(client, child, members, at, depth - 1) for child in named}
    findings = [_with_child(finding, children) for finding in findings]
    findings = [replace(one, since=one.since or None, due=one.due or None) for one in findings]
    stands_still = state.incident_at > 0 and state.rollback is None
    return Diagnosis(
        instance_id=instance_id,
        workflow=state.workflow,
        version=state.version,
        status=str(state.status),
        words=findings[0].words,
        findings=findings,
        blocked=_blocked(state, plan) if state.live else [],
        attempts=attempts,
        children=children,
        due=None if stands_still else state.timers.get(""),
    )


async def _child(client: Client, child: str, members: LiveMembers, at: str, depth: int) -> Diagnosis:
    """A child, which its parent's engine may not have started yet."""
    try:
        return await _diagnose(client, child, members, at, depth)
    except UnknownInstanceError:
        words = "it is about to be started: its parent's engine asks for it"
        return Diagnosis(
            instance_id=child,
            workflow="",
            version="",
            status=PENDING,
            words=words,
            findings=[Finding(code="pending", words=words)],
        )


def _with_child(finding: Finding, children: dict[str, Diagnosis]) -> Finding:
    child = children.get(finding.child)
    if child is None or finding.code != "child":
        return finding
    return replace(finding, words=f"{finding.words}, which is {child.status}: {child.words}")


# --- what the history tells ---------------------------------------------------------------------------------


def _inputs(found: Sequence[Accepted]) -> dict[str, Any]:
    """What each step was given last."""
    return {
        event.step_id: event.input
        for accepted in found
        for event in accepted.transition.events
        if isinstance(event, (StepReady, ApprovalRequired, ChildRequested))
    }


def _children(found: Sequence[Accepted]) -> dict[str, str]:
    """The newest child of each step."""
    return {
        event.step_id: event.child_id
        for accepted in found
        for event in accepted.transition.events
        if isinstance(event, ChildRequested)
    }


def _request(found: Sequence[Accepted], state: InstanceState) -> Request | None:
    """Who has brought it where it is, if somebody did."""
    wanted: tuple[type, ...] = ()
    if state.status is WorkflowStatus.PAUSED:
        wanted = (WorkflowPaused, IncidentRaised)
    elif state.status is WorkflowStatus.CANCELLED:
        wanted = (WorkflowCancelled,)
    for record, transition in reversed(found):
        event = next((one for one in transition.events if isinstance(one, wanted)), None)
        if isinstance(event, IncidentRaised):
            return Request(transition.at)
        if event is not None:
            return Request(transition.at, record.headers.get(BY, ""), record.headers.get(VIA, ""))
    return None


def _blocked(state: InstanceState, plan: Plan | None) -> list[Blocked]:
    """Which steps wait for which."""
    found = []
    for step_id, plan_step in plan.steps.items() if plan is not None else ():
        if step_id in state.steps or plan_step.handles:
            continue
        waits_for = {
            other: str(state.steps[other].status if other in state.steps else StepStatus.PENDING)
            for other in plan_step.step.depends_on
            if other not in state.steps or not state.steps[other].settled
        }
        if waits_for:
            found.append(Blocked(step_id, waits_for))
    return found


# --- what has not begun -------------------------------------------------------------------------------------


async def _not_begun(client: Client, instance_id: str, members: LiveMembers, at: str, depth: int) -> Diagnosis:
    try:
        start = await client.pending.find(instance_id)
        if not isinstance(start, StartWorkflow):  # decided since we looked
            return await _diagnose(client, instance_id, members, at, depth)
        view = await client.pending.view(start)
    except CommandRejectedError as error:
        finding = Finding(
            code="rejected",
            words=error.message,
            error=ErrorInfo(type=error.code, message=error.message),
            remedies=[Remedy("Start it again, with what it says put right", f"stepwell start WORKFLOW{at}")],
        )
        return Diagnosis(
            instance_id=instance_id, workflow="", version="", status="rejected", words=finding.words,
            findings=[finding],
        )  # fmt: skip
    partition = partition_for(instance_id, client.log.partitions)
    if not members.engines:
        words = "its start is in the log, and no engine is there to decide it"
        remedies = [
            Remedy("Run it here to its end", command("run", "FILE", "--id", instance_id) + at),
            Remedy("Or start an engine that stays", f"stepwell engine{at}"),
        ]
    elif partition in members.unowned:
        words = f"its start is in the log, and no live engine has taken over its partition, {partition}, yet"
        remedies = [Remedy("See who has which partitions", f"stepwell workers{at}")]
    else:
        most = sum(engine.max_runs for engine in members.engines)
        words = (
            f"its start waits for its turn: an engine takes starts as long as fewer than {most:,} steps are in the "
            "hands of workers or on their way there, those of higher priority first"
        )
        remedies = [
            Remedy("See what waits for workers", f"stepwell work --status ready{at}"),
            Remedy("Another worker would help", f"stepwell worker --handlers MODULE{at}"),
        ]
        if not members.workers:
            words += "; and no worker is live"
    finding = Finding(
        code="no_engine" if not members.engines else "pending", words=words, input=view.input, remedies=remedies
    )
    return Diagnosis(
        instance_id=instance_id,
        workflow=view.workflow,
        version=view.version,
        status=view.status,
        words=words,
        findings=[finding],
    )
