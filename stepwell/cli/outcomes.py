"""How an instance ended, or why it waits, as ``run`` and ``start --wait`` tell it."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.cli.drawing import failure, headline, is_undone, seconds, short
from stepwell.cli.output import print, print_json
from stepwell.cli.session import at
from stepwell.client.advice import advice_of, answer_to, asked_in
from stepwell.client.waiting import Over
from stepwell.command_line import about
from stepwell.errors import visible
from stepwell.process import now_ms
from stepwell.schemas.records.statuses import WorkflowStatus

if TYPE_CHECKING:
    from stepwell.consumers.reading.views import InstanceView


COMPLETED = 0
FAILED = 1
WAITING = 3


def report(over: Over, *, as_json: bool, again: str, log: str | None, already: bool = False) -> int:
    """Print how an instance ended, or why it waits; return the exit status."""
    view = over.view
    if as_json:
        print_json(result_object(view))
    else:
        _print_result(over, again, log, already=already)
    if view.status == WorkflowStatus.COMPLETED:
        return COMPLETED
    return FAILED if view.finished else WAITING


def result_object(view: InstanceView) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "instance_id": view.instance_id,
        "workflow": view.workflow,
        "version": view.version,
        "status": view.status,
        "output": view.output,
        "error": _error(view.error),
        "steps": {
            step_id: {
                "status": step.status,
                "attempts": step.attempts,
                "output": step.output,
                "error": _error(step.error),
            }
            for step_id, step in view.steps.items()
        },
    }


def _error(error: Any) -> dict[str, Any] | None:
    return None if error is None else {"type": error.type, "message": error.message}


def _print_result(over: Over, again: str, log: str | None, *, already: bool) -> None:
    view = over.view
    took = seconds(max(0, (view.finished_at or 0) - (view.started_at or 0)) / 1000)
    if already:
        ended = datetime.fromtimestamp((view.finished_at or 0) / 1000).astimezone()
        print(f"finished already, {ended:%Y-%m-%d %H:%M:%S}: {headline(view, now_ms())}", file=sys.stderr)
    elif view.status == WorkflowStatus.COMPLETED:
        print(f"completed in {took}: {view.instance_id}", file=sys.stderr)
    elif view.finished:
        print(headline(view, now_ms()), file=sys.stderr)
    if view.status == WorkflowStatus.COMPLETED:
        print(msgspec.json.format(msgspec.json.encode(view.output), indent=2).decode())
    elif not view.finished:
        for held in over.held:
            _print_held(held, again, log)
    elif view.status == WorkflowStatus.FAILED:
        undone = "\n  rolled back: what has a compensation was undone" if is_undone(view) else ""
        print(
            f"  {failure(view)}{undone}\n"
            f"  Look:  {about('history', view.instance_id, at=at(log))}\n"
            f"  Retry: {_resume(view, again, log)}",
            file=sys.stderr,
        )
    elif view.reason:
        print(f"  {short(view.reason, 300)}", file=sys.stderr)


def _resume(view: InstanceView, again: str, log: str | None) -> str:
    return f"{about('resume', view.instance_id, at=at(log))}, then {again}"


def _print_held(view: InstanceView, again: str, log: str | None) -> None:
    """Why an instance does not go on by itself, and what people can do."""
    advice = advice_of(view, at(log))
    if view.status == WorkflowStatus.RUNNING:
        _print_approvals(view, again, log)
    elif advice is not None and advice.waits_for == "parent":
        print(
            f"paused: {view.instance_id}: {visible(advice.words)}\n"
            f"  Look:  {visible(advice.command)}\n"
            f"  Go on with this one alone: {_resume(view, again, log)}",
            file=sys.stderr,
        )
    else:
        reason = short(view.reason or "on request", 300)
        print(f"paused: {view.instance_id}: {reason}\n  Go on: {_resume(view, again, log)}", file=sys.stderr)


def _print_approvals(view: InstanceView, again: str, log: str | None) -> None:
    """What people are asked, and how they answer."""
    asked = {step_id: view.steps[step_id] for step_id in asked_in(view)}
    print(f"waiting for approval: {view.instance_id}", file=sys.stderr)
    for step_id, step in asked.items():
        gate = step.approval
        words = [word for word in (gate.title, gate.message) if word] if gate is not None else []
        said = f": {short(' - '.join(words), 300)}" if words else ""
        until = (
            f", until {datetime.fromtimestamp(step.due / 1000).astimezone():%Y-%m-%d %H:%M:%S}" if step.due else ""
        )
        print(f"  {step_id} {visible(step.note)}{until}{said}", file=sys.stderr)
    step_id, step = next(iter(asked.items()))
    approvers = step.approval.approvers if step.approval is not None else ()
    answer = answer_to(step_id, approvers, several=len(asked) > 1)
    approve = about("approve", view.instance_id, *answer, at=at(log))
    reject = about("reject", view.instance_id, *answer, "--comment", "WHY", at=at(log))
    print(
        f"  Approve: {visible(approve)}\n  Reject:  {visible(reject)}\n  Go on:   {again}",
        file=sys.stderr,
    )
