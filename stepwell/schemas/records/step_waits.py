"""Events of steps that wait for a person, or for another workflow. They occupy no worker, for however long."""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec import Struct

OnTimeout = Literal["approve", "reject", "fail", "escalate"]
OnReject = Literal["fail", "continue"]
OnChildFailure = Literal["fail", "continue"]


class _Event(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type"):
    pass


class ApprovalRequired(_Event, frozen=True, omit_defaults=True, tag="approval.required", kw_only=True):
    """A step waits for people to approve it; once more for each level that it is escalated to.

    Attributes:
        approvers: Who may decide; nobody named means anybody.
        required: How many of them must approve.
        input: The step's input: what is to be decided on.
        level: 1, and one more with each escalation.
        due: When waiting ends, in milliseconds since 1970; None never.
        on_timeout: What happens then.
        escalate_to: Who decides at the levels that are left.
        on_reject: Whether a rejection fails the step, or is its output.
        idle: Whether it takes no place under ``max_parallel_steps``, as ``step.waiting`` says it.
    """

    step_id: str
    run: int
    approvers: tuple[str, ...] = ()
    required: int = 1
    title: str = ""
    message: str = ""
    input: Any = None
    level: int = 1
    due: int | None = None
    timeout_seconds: float | None = None
    on_timeout: OnTimeout = "fail"
    escalate_to: tuple[tuple[str, ...], ...] = ()
    on_reject: OnReject = "fail"
    sequential: bool = False
    idle: bool = False


class ApprovalDecided(_Event, frozen=True, omit_defaults=True, tag="approval.decided"):
    """Somebody has approved or rejected.

    Attributes:
        by: Who; empty where the time to decide was over.
        level: At which level.
    """

    step_id: str
    run: int
    approved: bool
    by: str = ""
    comment: str = ""
    level: int = 1
    command_id: str = ""


class ChildRequested(_Event, frozen=True, omit_defaults=True, tag="child.requested", kw_only=True):
    """A step starts another workflow, in a partition of its own.

    Attributes:
        child_id: The new instance's id, made of this one's, the step's and the run: asked for twice, it starts once.
        child_version: None for the version that is the newest when the child starts.
        wait: Whether the step waits for the child's end.
        on_failure: Whether a child that fails fails the step, or is its output.
        due: When waiting ends, in milliseconds since 1970; None never.
        depth: How many instances wait for each other down to the child.
        idle: Whether it takes no place under ``max_parallel_steps``, as ``step.waiting`` says it.
    """

    step_id: str
    run: int
    child_id: str
    child_workflow: str
    child_version: str | None = None
    input: Any = None
    priority: int = 0
    wait: bool = True
    on_failure: OnChildFailure = "fail"
    due: int | None = None
    timeout_seconds: float | None = None
    sequential: bool = False
    depth: int = 1
    idle: bool = False


class Parent(Struct, frozen=True, gc=False, omit_defaults=True):
    """Whom a child tells of its end: a run of a step that waits for it.

    Attributes:
        depth: How many instances wait for each other down to the child.
    """

    instance_id: str
    step_id: str
    run: int
    depth: int = 1


MOST_DEPTH: Final = 100
"""Instances that may wait for each other: a workflow that starts itself and waits for it would never end."""
LONGEST_ID: Final = 200  # characters of an instance's id
