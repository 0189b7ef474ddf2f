"""Progress while it happens: a tree on a terminal, one line an event elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TextIO

from stepwell.cli.drawing import SIGNS, branches, count, headline, levels, seconds, short, step_words
from stepwell.cli.output import print
from stepwell.consumers.reading.views import view
from stepwell.core.fold.evolve import evolve
from stepwell.core.fold.state import TOLD_BY_STEPS
from stepwell.errors import visible
from stepwell.process import now_ms
from stepwell.schemas.records.events import (
    IncidentRaised,
    RollbackStarted,
    StepCompensated,
    StepFailed,
    StepHeartbeat,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    Transition,
    WorkflowEnding,
    WorkflowRolledBack,
)
from stepwell.schemas.records.statuses import DONE, UNDER_WAY, StepStatus, WorkflowStatus
from stepwell.schemas.records.step_waits import ApprovalDecided, ApprovalRequired, ChildRequested
from stepwell.tasks import cancel_and_wait

if TYPE_CHECKING:
    from stepwell.consumers.reading.subscriber import Watch
    from stepwell.core.fold.state import InstanceState
    from stepwell.core.plan.compile import Plan

_FRAMES_A_SECOND = 10
_ROOM = 6  # lines of the screen left for what stands around the tree


@contextlib.asynccontextmanager
async def progress(
    watch: Watch, plan: Plan, *, quiet: bool, stream: TextIO | None = None, interval: float = 1 / _FRAMES_A_SECOND
) -> AsyncIterator[None]:
    """Show an instance's progress for as long as the block lasts.

    Args:
        stream: Where; on stderr unless this says otherwise.
        interval: Seconds between two drawings of the tree.
    """
    shown = stream or sys.stderr
    if quiet:
        yield
    elif shown.isatty():
        async with _tree(watch, plan, shown, interval):
            yield
    else:
        lines = _Lines(watch, shown)
        watch.listeners.append(lines.take)
        try:
            yield
        finally:
            watch.listeners.remove(lines.take)


class _Lines:
    """The compact form."""

    def __init__(self, watch: Watch, stream: TextIO) -> None:
        self._stream = stream
        self._state = watch.state  # what was under way before somebody watched took its time, too

    def take(self, transition: Transition) -> None:
        for event in transition.events:
            # Event by event: a step's times are those of its run, also where the same transition ends or undoes it.
            state = self._state = evolve(self._state, event, transition.at, transition.instance_id)
            words = _words(event, state, transition.at)
            if words:
                passed = (transition.at - state.started_at) / 1000
                print(f"{passed:8.2f} s  {visible(words)}", file=self._stream, flush=True)


def _words(event: Any, state: InstanceState, at: int) -> str:
    say = _SAID.get(type(event))
    return "" if say is None else say(event, state, at)


def _succeeded(event: StepSucceeded, state: InstanceState, at: int) -> str:
    return f"✔ {event.step_id}  {seconds(max(0, at - state.steps[event.step_id].since) / 1000)}"


def _progressed(event: StepHeartbeat, _state: InstanceState, _at: int) -> str:
    return "" if event.progress is None else f"▶ {event.step_id}  {short(event.progress)}"


def _to_be_retried(event: StepRetryScheduled, _state: InstanceState, at: int) -> str:
    wait = seconds((event.due - at) / 1000)
    return f"◷ {event.step_id}  attempt {event.attempt} failed: {_error(event)}; next in {wait}"


def _asked(event: ApprovalRequired, _state: InstanceState, _at: int) -> str:
    level = f", level {event.level}" if event.level > 1 else ""
    return f"◷ {event.step_id}  waits for approval by {' or '.join(event.approvers) or 'anybody'}{level}"


def _decided(event: ApprovalDecided, _state: InstanceState, _at: int) -> str:
    who = event.by or "nobody, for time is over"
    return f"◷ {event.step_id}  {'approved' if event.approved else 'rejected'} by {who}"


def _raised(event: IncidentRaised, _state: InstanceState, _at: int) -> str:
    return f"‖ paused at {event.step_id}" if event.code in TOLD_BY_STEPS else f"‖ {event.message}"


def _ending(event: WorkflowEnding, _state: InstanceState, _at: int) -> str:
    return f"‖ ends once {', '.join(event.keeps)} {'has' if len(event.keeps) == 1 else 'have'} ended"


_SAID: Final[Mapping[type, Callable[[Any, InstanceState, int], str]]] = {
    StepSucceeded: _succeeded,
    StepStarted: lambda event, *_: f"▶ {event.step_id}",
    StepHeartbeat: _progressed,
    StepRetryScheduled: _to_be_retried,
    StepFailed: lambda event, *_: f"✘ {event.step_id}  {_error(event)}",
    StepSkipped: lambda event, *_: f"↷ {event.step_id}  {event.reason}",
    ApprovalRequired: _asked,
    ApprovalDecided: _decided,
    ChildRequested: lambda event, *_: f"▶ {event.step_id}  starts {event.child_workflow}: {event.child_id}",
    IncidentRaised: _raised,
    WorkflowEnding: _ending,
    RollbackStarted: lambda event, *_: f"↶ rolling back to event {event.to}",
    StepCompensated: lambda event, *_: f"↶ {event.step_id} undone",
    WorkflowRolledBack: lambda event, *_: f"↶ rolled back to event {event.to}",
}
"""What is printed of an event; of others nothing is."""


def _error(event: StepFailed | StepRetryScheduled) -> str:
    return f"{event.error.type}: {short(event.error.message, 160)}"


@contextlib.asynccontextmanager
async def _tree(watch: Watch, plan: Plan, stream: TextIO, interval: float) -> AsyncIterator[None]:
    from rich.console import Console  # noqa: PLC0415 - start-up time
    from rich.live import Live  # noqa: PLC0415

    console = Console(file=stream)
    order = levels(plan)
    live = Live(console=console, auto_refresh=False, transient=False)

    def refresh() -> None:
        live.update(_render(watch, plan, order, console.height - _ROOM), refresh=True)

    async def repeat() -> None:
        while True:
            refresh()
            await asyncio.sleep(interval)

    with live:
        task = asyncio.ensure_future(repeat())
        try:
            yield
        finally:
            await cancel_and_wait(task)
            refresh()


def _render(watch: Watch, plan: Plan, order: list[tuple[str, int]], room: int) -> Any:
    from rich.text import Text  # noqa: PLC0415

    text = Text()
    if watch.state is None:
        return text.append("waiting for an engine …", style="dim")
    now = now_ms()
    shown = view(watch.state, plan)
    sign, style = SIGNS.get(shown.status, ("▶", "cyan"))
    text.append(f"{sign} ", style=style).append(headline(shown, now) + "\n", style="bold")
    hidden = _hidden(shown.steps, order, room)
    width = max(len(branch_text) for branch_text in (f"{'    ' * depth}{step_id}" for step_id, depth in order))
    for (step_id, _), left in zip(order, branches(order), strict=True):
        if step_id in hidden:
            continue
        step = shown.steps[step_id]
        sign, style = SIGNS[step.status]
        name = step_id.ljust(max(1, min(width, 48) + 4 - len(left)))
        text.append(left, style="dim").append(f"{sign} ", style=style)
        text.append(visible(name), style="" if step.status != StepStatus.PENDING else "dim")
        text.append(f" {step_words(step, now)}\n", style="red" if step.status == StepStatus.FAILED else "dim")
    if hidden:
        done = sum(shown.steps[step_id].status in DONE for step_id in shown.steps)
        text.append(f"    … {count(len(hidden), 'more step')}; {done} of {len(order)} done\n", style="dim")
    if shown.reason and shown.status == WorkflowStatus.PAUSED:
        text.append(f"‖ {visible(shown.reason)}\n", style="yellow")
    return text


def _hidden(steps: Any, order: list[tuple[str, int]], room: int) -> set[str]:
    """What does not fit the screen: first what is done, then what has not begun."""
    excess = len(order) - max(room, 5)
    if excess <= 0:
        return set()
    done = [step_id for step_id, _ in order if steps[step_id].status in (*DONE, StepStatus.CANCELLED)]
    pending = [step_id for step_id, _ in reversed(order) if steps[step_id].status == StepStatus.PENDING]
    others = [step_id for step_id, _ in reversed(order) if steps[step_id].status in UNDER_WAY]
    return set([*done, *pending, *others][:excess])
