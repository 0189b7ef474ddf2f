"""Steps that begin to wait: for people's approval, and for workflows that they start."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stepwell.core.decide.decision import Decision
from stepwell.core.decide.settling import succeed
from stepwell.core.expressions.templates import in_text
from stepwell.core.plan.compile import PlanStep
from stepwell.core.plan.gate_config import levels_of, names_of, read_child, read_gate
from stepwell.errors import ExpressionError
from stepwell.schemas.records.step_waits import LONGEST_ID, MOST_DEPTH, ApprovalRequired, ChildRequested


def open_gate(decision: Decision, plan_step: PlanStep, run: int, data: Any, config: Mapping[str, Any]) -> None:
    """Ask people to approve.

    Raises:
        ExpressionError: The settings, now that templates are filled in, are wrong.
    """
    shown = {key: in_text(config[key]) for key in ("title", "message") if key in config}  # a lone number is fine
    gate = read_gate({**config, **shown})
    levels = levels_of(gate.escalate_to)
    if plan_step.step.config.get("approvers") and not gate.approvers:  # not what leaving them out means
        raise ExpressionError("config.approvers: the template yields nobody, so anybody could decide")
    decision.emit(
        ApprovalRequired(
            step_id=plan_step.step.id,
            run=run,
            approvers=names_of(gate.approvers),
            required=gate.required,
            title=gate.title,
            message=gate.message,
            input=data,
            due=due_in(decision, gate.timeout_seconds),
            timeout_seconds=gate.timeout_seconds,
            on_timeout=gate.on_timeout or ("escalate" if levels else "fail"),
            escalate_to=levels,
            on_reject=gate.on_reject,
            sequential=plan_step.sequential,
            idle=True,
        )
    )


def request_child(decision: Decision, plan_step: PlanStep, run: int, data: Any, config: Mapping[str, Any]) -> None:
    """Start another workflow.

    Raises:
        ExpressionError: The settings, now that templates are filled in, are wrong.
    """
    child, step = read_child(config), plan_step.step
    child_id = child_id_of(decision.instance_id, step.id, run)
    parent = decision.instance().parent
    depth = 1 if parent is None else parent.depth + 1
    if child.wait and depth > MOST_DEPTH:
        raise ExpressionError(f"config.workflow: {MOST_DEPTH} instances wait for each other; does it start itself?")
    decision.emit(
        ChildRequested(
            step_id=step.id,
            run=run,
            child_id=child_id,
            child_workflow=child.workflow,
            child_version=child.version,
            input=data if child.input is msgspec.UNSET else child.input,
            priority=decision.instance().priority if child.priority is None else child.priority,
            wait=child.wait,
            on_failure=child.on_failure,
            due=due_in(decision, step.timeout_seconds) if child.wait else None,
            timeout_seconds=step.timeout_seconds,
            sequential=plan_step.sequential,
            depth=depth if child.wait else 1,
            idle=child.wait,
        )
    )
    if not child.wait:
        succeed(decision, plan_step, run, 1, {"instance_id": child_id})


def due_in(decision: Decision, seconds: float | None) -> int | None:
    """When so many seconds are over, in milliseconds since 1970."""
    return None if seconds is None else decision.now + math.ceil(seconds * 1000)


_DIGITS: Final = 16  # of a hash in place of what is too long; no sequence has as many


def child_id_of(instance_id: str, step_id: str, run: int) -> str:
    """A child's id: the same whenever it is asked for, and no other's."""
    named = f"{instance_id}.{step_id}.{run}"
    if len(named) <= LONGEST_ID:
        return named
    digest = hashlib.sha256(named.encode()).hexdigest()[:_DIGITS]
    return f"{instance_id[: LONGEST_ID - _DIGITS - 1]}.{digest}"


def end_id_of(child_id: str) -> str:
    """The id of the command by which a parent says that it waits for a child no longer."""
    return f"{child_id}:end"


def word_id_of(child_id: str, at: int, *, hold: bool) -> str:
    """The id of the command by which a parent holds or releases a child.

    Args:
        at: Sequence of the parent's transition: later words have higher ones.
    """
    return f"{child_id}:{'hold' if hold else 'release'}:{at}"


def word_at(child_id: str, command_id: str) -> int:
    """The sequence in an id that ``word_id_of`` has made; -1 for any other command's."""
    for word in ("hold", "release"):
        rest = command_id.removeprefix(f"{child_id}:{word}:")
        if rest != command_id and rest.isdecimal() and len(rest) < _DIGITS:
            return int(rest)
    return -1
