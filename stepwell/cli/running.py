"""``stepwell run``: everything that one workflow needs, in one process, to its end."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.cli.drawing import headline, now_ms, seconds
from stepwell.cli.live import progress
from stepwell.cli.session import UsageError, client_of, import_handlers, parse_input
from stepwell.errors import HandlerError, UnknownInstanceError
from stepwell.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.client import Client
    from stepwell.consumers.handlers import Handlers
    from stepwell.consumers.views import InstanceView
    from stepwell.core.plan import Plan
    from stepwell.schemas.definitions import Definition

COMPLETED, FAILED, WAITING = 0, 1, 3


async def run(
    file: Path,
    *,
    input_text: str | None,
    params: Sequence[str],
    modules: Sequence[str],
    instance_id: str | None,
    priority: int,
    concurrency: int | None,
    as_json: bool,
    log: str | None,
) -> int:
    """Run a definition to its end, or go on with an instance of it; return the exit status."""
    from stepwell.consumers.builtin import BUILTIN  # noqa: PLC0415 - start-up time
    from stepwell.consumers.handlers import Handlers, registered  # noqa: PLC0415
    from stepwell.core.plan import compile_plan  # noqa: PLC0415
    from stepwell.schemas.load import load_definition  # noqa: PLC0415

    definition = load_definition(file)
    compile_plan(definition)  # all that is wrong with it, before anything is written
    data = parse_input(input_text, params)
    prefixes = import_handlers(modules)
    handlers = Handlers(prefixes, BUILTIN)
    handlers.update(registered)
    named = instance_id or new_id()
    async with client_of(log, create=True) as client:
        existing = await _existing(client, instance_id, definition)
        if existing is None:
            definition = await client.register(definition)
            plan = client.definitions.resolve(definition.name, definition.version)
        else:
            await client.definitions.catch_up()
            plan = client.definitions.resolve(existing.workflow, existing.version)
        if plan is None:
            raise UnknownInstanceError(f"the definition of {named!r} is not in the log", place=str(file))
        if existing is None or not existing.finished:
            check_handlers(plan, handlers)
        again = _again(file, modules, named, log)
        if existing is not None and existing.finished:
            return _report(existing, as_json=as_json, again=again)
        try:
            return await _drive(
                client, plan, handlers, existing, data, named, again,
                priority=priority, concurrency=concurrency, as_json=as_json,
            )  # fmt: skip
        except asyncio.CancelledError:
            if not as_json:
                print(f"\nStopped. Every finished step is in the log. Go on with:\n  {again}", file=sys.stderr)
            raise


async def _existing(client: Client, instance_id: str | None, definition: Definition) -> InstanceView | None:
    if instance_id is None:
        return None
    try:
        found = await client.get(instance_id)
    except UnknownInstanceError:
        return None
    if found.workflow != definition.name:
        raise UsageError(
            f"instance {instance_id!r} belongs to workflow {found.workflow!r}, not to {definition.name!r}",
            place=f"--id {instance_id}",
            remedy="Choose another id, or name that workflow's file.",
        )
    return found


def check_handlers(plan: Plan, handlers: Handlers) -> None:
    """Refuse to start what could not be run to its end here.

    Raises:
        HandlerError: With every handler that is missing.
    """
    problems = []
    for plan_step in plan.steps.values():
        step = plan_step.step
        wanted = [(step.type, step.handler or "")] if step.type in ("python", "process", "http_request") else []
        if step.compensate:
            wanted.append(("python", step.compensate.handler))
        for kind, name in wanted:
            try:
                handlers.find(kind, name)
            except HandlerError as error:
                remedy = f"\n    {error.remedy}" if error.remedy else ""
                problems.append(f'steps[{plan_step.index}] ("{step.id}"): {error.place}: {error.message}{remedy}')
    if problems:
        raise HandlerError("\n  ".join(["steps that cannot run here:", *problems]), place=plan.definition.name)


def _again(file: Path, modules: Sequence[str], instance_id: str, log: str | None) -> str:
    words = ["stepwell", "run", str(file), "--id", instance_id]
    for module in modules:
        words += ["--handlers", module]
    if log:
        words += ["--log", log]
    return shlex.join(words)


async def _drive(
    client: Client,
    plan: Plan,
    handlers: Handlers,
    existing: InstanceView | None,
    data: Any,
    instance_id: str,
    again: str,
    *,
    priority: int,
    concurrency: int | None,
    as_json: bool,
) -> int:
    from stepwell.consumers.local import LocalRuntime  # noqa: PLC0415 - start-up time

    runtime = LocalRuntime(
        client.log,
        handlers=handlers,
        prefixes=handlers.prefixes,
        queues=sorted({step.step.queue for step in plan.steps.values()}),
        concurrency=concurrency,
        definitions=client.definitions,
        only=lambda key: key == instance_id,
    )
    watch = await client.subscriber.watch(instance_id)
    await runtime.start()
    try:
        async with progress(watch, plan, quiet=as_json):
            waiting = asyncio.ensure_future(_to_the_end(client, plan, existing, data, instance_id, priority))
            await asyncio.wait((waiting, runtime.failed), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                runtime.failed.result()
            ended = await waiting
    finally:
        client.subscriber.unwatch(watch)
        await runtime.stop()
    return _report(ended, as_json=as_json, again=again)


async def _to_the_end(
    client: Client, plan: Plan, existing: InstanceView | None, data: Any, instance_id: str, priority: int
) -> InstanceView:
    if existing is None:
        definition = plan.definition
        await client.start(definition.name, data, id=instance_id, version=definition.version, priority=priority)
    return await client.wait(instance_id, lambda state: not state.live or _needs_a_person(state))


def _needs_a_person(state: Any) -> bool:
    """Paused, and nothing under way that could still change that."""
    return state.status == "paused" and not state.active


def _report(view: InstanceView, *, as_json: bool, again: str) -> int:
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(result_object(view)), indent=2).decode())
    else:
        _print_result(view, again)
    if view.status == "completed":
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


def _print_result(view: InstanceView, again: str) -> None:
    took = seconds(max(0, view.finished_at - view.started_at) / 1000)
    if view.status == "completed":
        print(f"completed in {took}: {view.instance_id}", file=sys.stderr)
        print(msgspec.json.format(msgspec.json.encode(view.output), indent=2).decode())
    elif view.finished:
        print(headline(view, now_ms()), file=sys.stderr)
        if view.error is not None:
            where = f'step "{view.failed_step}": ' if view.failed_step else ""
            print(f"  {where}{view.error.type}: {view.error.message}", file=sys.stderr)
        if view.status == "failed":
            print(
                f"  Look:  stepwell history {view.instance_id}\n"
                f"  Retry: stepwell resume {view.instance_id}, then {again}",
                file=sys.stderr,
            )
    else:
        print(
            f"paused: {view.instance_id}: {view.reason or 'on request'}\n"
            f"  Go on: stepwell resume {view.instance_id}, then {again}",
            file=sys.stderr,
        )
