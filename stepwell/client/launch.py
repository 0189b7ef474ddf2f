"""Runs one instance to its end in this process: finds what it needs, and runs an engine and a worker for it.

``stepwell run`` calls these functions and prints what happens. A program can call them with a client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from stepwell.client.embedded import LocalRuntime
from stepwell.client.waiting import Over, until_over
from stepwell.consumers.reading.kinship import Family
from stepwell.core.plan.step_configs import has_template
from stepwell.errors import HandlerError, UnknownInstanceError
from stepwell.schemas.records.statuses import PENDING
from stepwell.tasks import cancel_and_wait

if TYPE_CHECKING:
    from stepwell.client.client import Client
    from stepwell.consumers.reading.subscriber import Watch
    from stepwell.consumers.reading.views import InstanceView
    from stepwell.consumers.registry.definitions import Definitions
    from stepwell.consumers.worker.handlers import Handlers
    from stepwell.core.plan.compile import Plan


def plans_of(plan: Plan, definitions: Definitions) -> Sequence[Plan]:
    """Find the plans that an instance needs: its own, and those of its children that are known before the start.

    A child is not known before it starts if a template names its workflow, or if its workflow is not registered yet.
    """
    found = {plan.hash: plan}
    left = [plan]
    while left:
        for plan_step in left.pop().steps.values():
            config = plan_step.step.config
            name, version = config.get("workflow"), config.get("version")
            if plan_step.step.type == "workflow_trigger" and isinstance(name, str):
                child = definitions.resolve(name, version if isinstance(version, str) else None)
                if child is not None and child.hash not in found:
                    found[child.hash] = child
                    left.append(child)
    return list(found.values())


def queues_of(plans: Iterable[Plan]) -> set[str]:
    """Collect the queues of the steps of plans, and of their compensations."""
    steps = [plan_step.step for plan in plans for plan_step in plan.steps.values()]
    undoing = {step.compensate.queue for step in steps if step.compensate and step.compensate.queue}
    return {step.queue for step in steps} | undoing


def check_handlers(plan: Plan, handlers: Handlers) -> None:
    """Check that this process has every handler that a plan needs.

    Raises:
        HandlerError: Handlers are missing; the error lists all of them.
    """
    problems = []
    remedies: dict[str, None] = {}  # most steps have the same remedy: each is listed once, in the order of the steps
    for plan_step in plan.steps.values():
        step = plan_step.step
        named = plan_step.handler(step.config)
        wanted = [(step.type, named)] if named else []
        if has_template(step.config.get("agent_id")):
            wanted = []  # the agent is known only when the step runs
        if step.compensate:
            wanted.append(("python", step.compensate.handler))
        for kind, name in wanted:
            try:
                handlers.find(kind, name)
            except HandlerError as error:
                problems.append(f'steps[{plan_step.index}] ("{step.id}"): {error.place}: {error.message}')
                remedies.update({error.remedy: None} if error.remedy else {})
    if problems:
        message = "\n  ".join(["steps that cannot run here:", *problems])
        raise HandlerError(message, place=plan.definition.name, remedy="\n  ".join(remedies))


def needs_input(plan: Plan) -> bool:
    """Whether a definition needs an input: its schema requires one, or an expression reads it."""
    if plan.input_schema is not None:
        return bool(plan.input_problem({}))
    read = [plan.output] if plan.output is not None else []
    read += [
        template
        for step in plan.steps.values()
        for template in (step.input, step.mapping, step.config, step.compensation_input, step.compensation_config)
        if template is not None
    ]
    conditions = [step.condition for step in plan.steps.values()] + [step.check for step in plan.steps.values()]
    paths = [path for template in read for path in template.references]
    paths += [path for condition in conditions if condition is not None for path in condition.references]
    return any(path[0] in ("input", "input_data") for path in paths)


async def find(client: Client, instance_id: str) -> InstanceView | None:
    """Return the instance with an id, or None if the log has none."""
    try:
        return await client.get(instance_id)
    except UnknownInstanceError:
        return None


async def run_to_end(
    client: Client,
    plan: Plan,
    handlers: Handlers,
    instance_id: str,
    data: Any,
    *,
    existing: InstanceView | None,
    look_at: Callable[[InstanceView], None],
    shown: Callable[[Watch], AbstractAsyncContextManager[None]],
    priority: int = 0,
    concurrency: int | None = None,
) -> Over:
    """Run an instance until it has ended or waits for a person, with an engine and a worker of its own.

    Args:
        client: The client.
        plan: The plan of its definition, which is registered.
        handlers: The handlers of the worker.
        instance_id: Its id.
        data: The input of the start, if the instance has not begun.
        existing: The instance, if it existed before.
        look_at: Called with the instance if somebody else has started it in the meantime; raises to refuse it.
        shown: Makes the context in which the instance runs, such as one that shows its progress.
        priority: The priority of a start, 0 to 100.
        concurrency: The number of steps that run at once.

    Returns:
        The instance, and which of it and its children wait for a person.
    """
    family = Family(client.subscriber, instance_id)
    runtime = LocalRuntime(
        client.log,
        handlers=handlers,
        prefixes=None if handlers.strict else handlers.prefixes,
        queues=sorted(queues_of(plans_of(plan, client.registry))),
        concurrency=concurrency,
        definitions=client.registry,
        only=family.__contains__,
        standby=True,
    )
    family.grown = runtime.look_again
    await family.begin()
    watch = await client.subscriber.watch(instance_id)
    await runtime.start()
    try:
        async with shown(watch):
            begins = existing is None or existing.status == PENDING  # the answer to the start says whether it existed
            waiting = asyncio.ensure_future(
                _started_and_over(client, plan, instance_id, data, priority, look_at if existing is None else None)
                if begins
                else until_over(client, instance_id)
            )
            try:
                await asyncio.wait((waiting, runtime.failed), return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    runtime.failed.result()
                return await waiting
            finally:
                await cancel_and_wait(waiting)
    finally:
        client.subscriber.unwatch(watch)
        await runtime.stop()
        await family.end()


async def _started_and_over(
    client: Client,
    plan: Plan,
    instance_id: str,
    data: Any,
    priority: int,
    look_at: Callable[[InstanceView], None] | None,
) -> Over:
    definition = plan.definition
    started = await client.start(
        definition.name, data, id=instance_id, version=definition.version, priority=priority, if_exists="use"
    )
    if started.existed and look_at is not None:  # somebody else started it, perhaps while no engine was live
        look_at(await client.get(instance_id))
    return await until_over(client, instance_id)
