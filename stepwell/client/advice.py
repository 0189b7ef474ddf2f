"""What an instance waits for that does not go on by itself, and the command that brings it on.

The terminal, diagnoses and programs ask here, so that all of them name the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from stepwell.command_line import about
from stepwell.consumers.reading.views import InstanceView
from stepwell.schemas.records.statuses import WorkflowStatus

Held = Literal["parent", "pause", "approval"]


class Advice(Struct, frozen=True):
    """What somebody has to do before an instance goes on.

    Attributes:
        waits_for: ``parent``: it is paused with its parent, and goes on with it. ``pause``: it is paused, by a person
            or an incident. ``approval``: people are asked.
        words: What it waits for.
        command: What helps, for the terminal.
        alone: What brings on this instance alone, where ``command`` is about its parent; else empty.
    """

    waits_for: Held
    words: str
    command: str
    alone: str = ""


def advice_of(view: InstanceView, at: str = "") -> Advice | None:
    """What an instance waits for; None where it has ended, or goes on by itself.

    Args:
        at: What the commands need besides, to look at the same log: `` --log URL``, or nothing.
    """
    name = view.instance_id
    if view.held_by:
        words = f"it stands still because {view.held_by}, which waits for it, does, and goes on with it"
        return Advice("parent", words, about("debug", view.held_by, at=at), about("resume", name, at=at))
    if view.status == WorkflowStatus.PAUSED:
        return Advice("pause", "it waits for a person", about("resume", name, at=at))
    asked = asked_in(view)
    if asked:
        gate = view.steps[asked[0]].approval
        answer = answer_to(asked[0], gate.approvers if gate is not None else (), several=len(asked) > 1)
        return Advice("approval", "it waits for a person", about("approve", name, *answer, at=at))
    return None


def asked_in(view: InstanceView) -> list[str]:
    """The steps that wait for approval."""
    return [step_id for step_id, step in view.steps.items() if step.approval is not None]


def answer_to(step_id: str, approvers: Sequence[str], *, several: bool) -> tuple[str, ...]:
    """The options of ``approve`` and ``reject`` that answer a step.

    Args:
        approvers: Who may answer, and has not; the first is named. Empty for anybody.
        several: Whether more steps of the instance wait for an answer, so that the step must be named.
    """
    return (*(("--step", step_id) if several else ()), *(("--by", approvers[0]) if approvers else ()))


def stopped_in(view: InstanceView) -> dict[str, list[str]]:
    """The steps for which a pause has stopped the time, by what they wait for: ``approval``, or ``children``."""
    found: dict[str, list[str]] = {"approval": [], "children": []}
    for step_id, step in view.steps.items():
        if step.remaining_ms is not None:
            found["children" if step.child else "approval"].append(step_id)
    return {what: steps for what, steps in found.items() if steps}
