"""Waits until an instance has ended, or until it and its children wait only for people."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from stepwell.core.fold.state import QUARANTINED, InstanceState
from stepwell.schemas.records.statuses import WITH_WORKERS, StepStatus, WorkflowStatus
from stepwell.tasks import cancel_and_wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.client.client import Client
    from stepwell.consumers.reading.views import InstanceView
    from stepwell.consumers.registry.definitions import Definitions


class Over(Struct, frozen=True):
    """The result of waiting for an instance.

    Attributes:
        view: The instance: it has ended, or it does not continue by itself.
        held: The instance and those of its children that wait for a person: for an approval, or because of a pause.
    """

    view: InstanceView
    held: tuple[InstanceView, ...] = ()


async def until_over(client: Client, instance_id: str) -> Over:
    """Wait until an instance has ended, or until it and the children that it waits for wait only for people."""
    await client.registry.catch_up()
    while True:
        view = await client.wait(instance_id, _over_but_for_children(client.registry))
        children = [step.child for step in view.steps.values() if step.child and step.status == StepStatus.WAITING]
        if view.status != WorkflowStatus.RUNNING or not children:
            return Over(view, () if view.finished else (view,))
        moves = asyncio.ensure_future(_moves(client, view))
        ends = asyncio.gather(*(until_over(client, child) for child in children))
        try:
            await asyncio.wait((moves, ends), return_when=asyncio.FIRST_COMPLETED)
            if not moves.done() and not any(one.view.finished for one in ends.result()):
                itself = [view] if any(step.approval is not None for step in view.steps.values()) else []
                return Over(view, (*itself, *(held for one in ends.result() for held in one.held)))
            await moves
        finally:
            await cancel_and_wait(moves, ends)


async def _moves(client: Client, seen: InstanceView) -> None:
    await client.wait(seen.instance_id, lambda state: state.sequence > seen.sequence)


def _over_but_for_children(registry: Definitions) -> Callable[[InstanceState], bool]:
    """Make the test whether an instance has ended, or waits only for people and children.

    The test runs after every transition, so it looks only at the steps that may wait for people or children.
    """
    waiting: dict[str, tuple[str, ...]] = {}

    def over(state: InstanceState) -> bool:
        if not state.live:
            return True
        if state.status is WorkflowStatus.PAUSED:
            return _paused_for_good(state)
        plan = registry.by_hash(state.definition)
        if plan is not None and plan.hash not in waiting:
            waiting[plan.hash] = tuple(key for key, one in plan.steps.items() if one.way in _WAITING)
        steps = [state.steps.get(key) for key in (waiting[plan.hash] if plan is not None else ())]
        held = sum(step is not None and (step.gate is not None or step.child is not None) for step in steps)
        return 0 < held == state.active and state.rollback is None

    return over


_WAITING: Final = ("gate", "child")


def _paused_for_good(state: InstanceState) -> bool:
    """Whether no worker has, or will get, a run of this paused instance whose outcome could change something.

    A run that waits for its next attempt waits until a resume: no attempt begins while the instance is paused.
    """
    if state.incident == QUARANTINED:  # outcomes are refused
        return True
    undoing = state.rollback.current if state.rollback is not None else None
    under_way = [*state.steps.values()] if state.active else []
    return all(step.status not in WITH_WORKERS for step in (*under_way, undoing) if step is not None)
