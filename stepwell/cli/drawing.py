"""Workflows drawn as text: the plan's batches, and a tree of steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from stepwell.errors import visible
from stepwell.schemas.records.statuses import NOT_RUN, StepStatus, WorkflowStatus

if TYPE_CHECKING:
    from stepwell.consumers.reading.views import InstanceView, StepView
    from stepwell.core.plan.compile import Plan

SIGNS: Final = {
    StepStatus.PENDING.value: ("·", "dim"),
    StepStatus.READY.value: ("◌", "cyan"),
    StepStatus.RUNNING.value: ("▶", "cyan"),
    StepStatus.WAITING.value: ("◷", "yellow"),
    StepStatus.SUCCEEDED.value: ("✔", "green"),
    StepStatus.FAILED.value: ("✘", "red"),
    StepStatus.SKIPPED.value: ("↷", "dim"),
    StepStatus.CANCELLED.value: ("■", "yellow"),
    WorkflowStatus.PAUSED.value: ("‖", "yellow"),
    WorkflowStatus.COMPLETED.value: ("✔", "green"),
}


def levels(plan: Plan) -> list[tuple[str, int]]:
    """The steps in an order in which they could run, each with how deep it is indented.

    A step stands below the one that it waits for, further in if that one fans out; a join comes back out.
    Dependencies that follow from others do not count: they are drawn already.
    """
    needs = _direct_needs(plan)
    fans_out = Counter(needed[0] for needed in needs.values() if len(needed) == 1)
    depth: dict[str, int] = {}
    waiting = {step_id: len(step.step.depends_on) for step_id, step in plan.steps.items()}
    order: list[tuple[str, int]] = []
    stack = list(reversed(plan.roots))
    while stack:
        step_id = stack.pop()
        needed = needs[step_id]
        if len(needed) == 1:
            depth[step_id] = depth[needed[0]] + (fans_out[needed[0]] > 1)
        else:
            depth[step_id] = max(0, min((depth[other] for other in needed), default=0) - bool(needed))
        order.append((step_id, depth[step_id]))
        for dependent in reversed(plan.steps[step_id].dependents):
            waiting[dependent] -= 1
            if not waiting[dependent]:
                stack.append(dependent)
    order += [(step_id, 0) for step_id, step in plan.steps.items() if step.handles]
    return order


def _direct_needs(plan: Plan) -> dict[str, list[str]]:
    """What each step waits for, without what the others among them have waited for already."""
    ancestors: dict[str, int] = {}  # as bits, by place in the definition
    needs: dict[str, list[str]] = {}
    for batch in plan.batches:
        for step_id in batch:
            depends_on = plan.steps[step_id].step.depends_on
            behind = 0
            for other in depends_on:
                behind |= ancestors[other]
            needs[step_id] = [other for other in depends_on if not behind >> plan.steps[other].index & 1]
            for other in depends_on:
                behind |= 1 << plan.steps[other].index
            ancestors[step_id] = behind
    return needs


def seconds(value: float) -> str:
    """A duration for people."""
    if value < 0.0995:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(int(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def step_words(step: StepView, now: int) -> str:
    """What there is to say of a step besides its sign and name."""
    words = []
    if step.started_at and step.status != StepStatus.SKIPPED:
        words.append(seconds(max(0, (step.finished_at or now) - step.started_at) / 1000))
    if step.attempts > 1:
        words.append(f"attempt {step.attempts}")
    if step.status == StepStatus.READY:
        words.append("waits for a worker")
    if step.note:
        left = f" for {seconds((step.due - now) / 1000)}" if step.due is not None and step.due > now else ""
        words.append(step.note + left)
    if step.remaining_ms is not None:
        words.append(f"time stands still for it, {seconds(step.remaining_ms / 1000)} left once it goes on")
    if step.status == StepStatus.RUNNING and step.progress is not None:
        words.append(short(step.progress))
    if step.status in NOT_RUN:
        words.append(step.status)
    if step.error is not None:
        words.append(f"{step.error.type}: {short(step.error.message, 100)}")
    return visible(", ".join(words))


def count(number: int, noun: str, plural: str = "") -> str:
    """A number of things: ``1 step``, ``2 steps``."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def short(value: Any, length: int = 60) -> str:
    """A value in one line, and nothing in it that a terminal would obey."""
    text = ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, Mapping) else str(value)
    text = visible(" ".join(text.split()))
    return text if len(text) <= length else text[: length - 1] + "…"


def headline(view: InstanceView, now: int) -> str:
    """An instance in one line."""
    took = seconds(max(0, (view.finished_at or now) - view.started_at) / 1000) if view.started_at else ""
    return visible(" · ".join(filter(None, (f"{view.workflow} {view.version}", view.instance_id, view.status, took))))


def failure(view: InstanceView) -> str:
    """The error that ended an instance, and at which step, in one line; empty without one."""
    if view.error is None:
        return ""
    where = f'step "{view.failed_step}": ' if view.failed_step else ""
    return f"{where}{view.error.type}: {short(view.error.message, 300)}"


def is_undone(view: InstanceView) -> bool:
    """Whether a failure led to a rollback before it ended the instance: its step is as if it had never run."""
    step = view.steps.get(view.failed_step)
    return view.status == WorkflowStatus.FAILED and step is not None and step.status == StepStatus.PENDING


_SKIPS_SHOWN: Final = 10  # steps that may be skipped


def plan_lines(plan: Plan) -> list[str]:
    """The batches of a plan, and its tree."""
    definition = plan.definition
    ordinary = [step_id for step_id, step in plan.steps.items() if not step.handles]
    size = f"{count(len(ordinary), 'step')} in {count(len(plan.batches), 'batch', 'batches')}"
    lines = [f"{definition.name} {definition.version}: {size}", ""]
    width = len(str(len(plan.batches)))
    for number, batch in enumerate(plan.batches, 1):
        shown = " ‖ ".join(batch[:12]) + (f" ‖ … {len(batch) - 12} more" if len(batch) > 12 else "")
        lines.append(f"{number:>{width + 1}}  {shown}")
    lines.append("")
    order = levels(plan)
    needs = _direct_needs(plan)
    for (step_id, _), left in zip(order, branches(order), strict=True):
        step = plan.steps[step_id].step
        words = [step.handler or step.type]
        joined = needs.get(step_id, [])
        if len(joined) > 1:
            words.append(f"after {', '.join(joined[:6])}{' …' if len(joined) > 6 else ''}")
        words += _traits(plan, step_id)
        lines.append(f"{left}{step_id}  ({'; '.join(words)})")
    skips = skip_lines(plan)
    return [*lines, "", *skips] if skips else lines


def skip_lines(plan: Plan) -> list[str]:
    """Which steps run although one that they depend on was skipped: what may surprise."""
    from stepwell.core.decide.skips import runs_after_skips  # noqa: PLC0415 - start-up time

    found = runs_after_skips(plan)
    lines = [
        f"where {step_id} is skipped, {', '.join(run[:6])}{' …' if len(run) > 6 else ''} "
        f"{'runs' if len(run) == 1 else 'run'} all the same"
        for step_id, run in [*found.items()][:_SKIPS_SHOWN]
    ]
    if len(found) > _SKIPS_SHOWN:
        lines.append(f"… and {len(found) - _SKIPS_SHOWN} more")
    return [*lines, "(when_skipped: skip would skip them, too)"] if lines else []


def _traits(plan: Plan, step_id: str) -> list[str]:
    plan_step = plan.steps[step_id]
    step = plan_step.step
    traits = []
    if plan_step.handles:
        traits.append(f"only when {plan_step.handles} fails")
    if step.condition is not None:
        traits.append(f"if {step.condition}")
    if plan_step.sequential:
        traits.append("sequential")
    if step.retry.max_attempts > 1:
        traits.append(f"up to {step.retry.max_attempts} attempts")
    if step.timeout_seconds is not None:
        traits.append(f"timeout {seconds(step.timeout_seconds)}")
    if plan_step.skips_along and step.depends_on:
        traits.append("skipped with what it depends on")
    if step.on_failure != "fail":
        traits.append(f"on failure {step.on_failure}")
    if step.compensate:
        traits.append(f"undone by {step.compensate.handler}")
    return traits


def branches(order: list[tuple[str, int]]) -> list[str]:
    """The lines of the tree to the left of each entry."""
    texts = []
    goes_on: list[bool] = []  # by level: whether an entry of this level follows before a shallower one
    for _, depth in reversed(order):
        del goes_on[depth + 1 :]
        goes_on += [False] * (depth + 1 - len(goes_on))
        left = "".join("│   " if more else "    " for more in goes_on[:depth])
        texts.append(left + ("├── " if goes_on[depth] else "└── "))
        goes_on[depth] = True
    return texts[::-1]
