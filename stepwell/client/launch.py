"""Running an instance to its end in this process: what it needs for that, and the engine and worker that do it.

The terminal's ``run`` is this, and what it prints. A program has it by ``connect``, and these functions.
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
    """The plans that an instance needs: its own, and its children's as far as they are known beforehand.

    A child whose workflow is named by a template, or not registered yet, is found out when it starts.
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
    """The queues of definitions' steps and of their compensations."""
    steps = [plan_step.step for plan in plans for plan_step in plan.steps.values()]
    undoing = {step.compensate.queue for step in steps if step.compensate and step.compensate.queue}
    return {step.queue for step in steps} | undoing


def check_handlers(plan: Plan, handlers: Handlers) -> None:
    """Refuse to start what could not be run to its end here.

    Raises:
        HandlerError: With every handler that is missing.
    """
    problems = []
    remedies: dict[str, None] = {}  # most have the same: told once, in the order of the steps
    for plan_step in plan.steps.values():
        step = plan_step.step
        named = plan_step.handler(step.config)
        wanted = [(step.type, named)] if named else []
        if has_template(step.config.get("agent_id")):
            wanted = []  # who it is is known only when it runs
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
    """Whether a definition asks for an input: by its schema, or because an expression reads it."""
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
    """The instance of an id, or None where the log holds none."""
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
    """Run an instance until it has ended or only people bring it on, with an engine and a worker for it alone.

    Args:
        plan: Of its definition, which is registered.
        handlers: What the worker can run.
        data: The input that it is started with, where it has not begun.
        existing: The instance, where it was there before.
        look_at: Called with the instance where somebody else turns out to have started it; may refuse by raising.
        shown: Makes, for what is seen of the instance, the context in which it runs: one that shows progress.
        priority: 0 to 100, of a start.
        concurrency: Steps that run at once.
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
            begins = existing is None or existing.status == PENDING  # asked for again, its answer tells whether
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
    if started.existed and look_at is not None:  # somebody was first, or had asked for it while no engine was there
        look_at(await client.get(instance_id))
    return await until_over(client, instance_id)
