"""``stepwell run``: everything that one workflow needs, in one process, to its end."""

from __future__ import annotations

import asyncio
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.cli.children import Over, plans_of, until_over
from stepwell.cli.drawing import failure, headline, is_undone, seconds, short
from stepwell.cli.live import progress
from stepwell.cli.output import print
from stepwell.cli.session import UsageError, at, client_of, parse_input, paths_of
from stepwell.cli.sources import definition_of, given
from stepwell.cli.verbs.show import print_json
from stepwell.cli.verbs.steering import OTHERWISE
from stepwell.core.plan.step_configs import has_template
from stepwell.errors import HandlerError, UnknownInstanceError, visible
from stepwell.ids import new_id
from stepwell.process import now_ms
from stepwell.schemas.records.statuses import PENDING, WorkflowStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stepwell.client.client import Client
    from stepwell.consumers.reading.views import InstanceView
    from stepwell.consumers.worker.handlers import Handlers
    from stepwell.core.plan.compile import Plan

COMPLETED, FAILED, WAITING = 0, 1, 3


async def run(
    file: Path,
    *,
    dialect: str | None = None,
    input_text: str | None,
    params: Sequence[str],
    modules: Sequence[str],
    strict: bool,
    instance_id: str | None,
    going_on: bool = False,
    if_exists: str = "refuse",
    priority: int,
    concurrency: int | None,
    as_json: bool,
    log: str | None,
) -> int:
    """Run a definition to its end, or go on with an instance of it; return the exit status.

    Args:
        going_on: Only go on with an instance that there is.
        if_exists: Whether an instance that was started with another input is gone on with: ``refuse`` or ``use``.
    """
    from stepwell.client.same_start import conflict  # noqa: PLC0415
    from stepwell.consumers.registry.children import tell_children  # noqa: PLC0415
    from stepwell.consumers.worker.builtin import BUILTIN  # noqa: PLC0415 - start-up time
    from stepwell.consumers.worker.handlers import Handlers, registered  # noqa: PLC0415
    from stepwell.language import compile_loaded, read_definition  # noqa: PLC0415
    from stepwell.projections.folding import input_hash  # noqa: PLC0415

    if going_on and instance_id is None:
        raise UsageError("names no instance to go on with", place="--continue", remedy="Add --id ID.")
    prefixes = paths_of(modules, strict=strict)  # before the definition: they may hold step types of their own
    source = given(file)
    loaded = read_definition(definition_of(source), dialect=dialect)
    compiled = compile_loaded(loaded)  # all that is wrong with it, before anything is written
    definition = compiled.definition
    data = parse_input(input_text, params)
    handlers = Handlers(prefixes, BUILTIN)
    handlers.update(registered)
    named = instance_id or new_id()
    async with client_of(log, create=True) as client:

        def look_at(found: InstanceView) -> None:
            """What there is to say of an instance that was there before."""
            if found.workflow != definition.name:
                raise UsageError(
                    f"instance {named!r} belongs to workflow {found.workflow!r}, not to {definition.name!r}",
                    place=f"--id {named}",
                    remedy="Choose another id, or name that workflow's file.",
                )
            other = (input_text is not None or params) and input_hash(data) != input_hash(found.input)
            if other and if_exists != "use":
                raise conflict(named, "another input", f"Leave the input out to go on with it. {OTHERWISE}")
            if as_json:
                return
            pinned = client.registry.resolve(found.workflow, found.version)
            if other:
                tense = "ran" if found.finished else "goes on"
                _note(f"{named} {tense} with the input that it was started with, not with the one given now.")
            if pinned is not None and pinned.hash != compiled.hash:
                tense = "ran" if found.finished else "runs on"
                _note(f"{file} is not what {named} was started with: it {tense} with version {found.version}.")

        existing = await _existing(client, instance_id)
        plan: Plan | None
        if existing is None and instance_id is not None:
            _check_start(compiled, instance_id, log, going_on=going_on, said=input_text is not None or bool(params))
        if existing is None:
            if not isinstance(source, Path):
                await client.register(source)  # and those that it calls
            plan = await client.registry.register(definition, compiled, sender=client.sender)
            family = [one.definition for one in plans_of(plan, client.registry)]
            tell_children(family if isinstance(source, Path) else family[1:], client.registry)  # else told already
        else:
            await client.registry.catch_up()
            look_at(existing)
            data = existing.input if existing.status == PENDING else data
            plan = client.registry.resolve(existing.workflow, existing.version)
        if plan is None:
            raise UnknownInstanceError(f"the definition of {named!r} is not in the log", place=str(file))
        if existing is None or not existing.finished:
            for needed in plans_of(plan, client.registry):
                check_handlers(needed, handlers)
        again = _again(file, dialect, modules, named, log)
        if existing is not None and existing.finished:
            return report(Over(existing), as_json=as_json, again=again, log=log, already=True)
        try:
            ended = await _drive(
                client, plan, handlers, existing, data, named, look_at,
                priority=priority, concurrency=concurrency, as_json=as_json,
            )  # fmt: skip
        except asyncio.CancelledError:
            if not as_json:
                print(f"\nStopped. Every finished step is in the log. Go on with:\n  {again}", file=sys.stderr)
            raise
    return report(ended, as_json=as_json, again=again, log=log)


def _check_start(plan: Plan, instance_id: str, log: str | None, *, going_on: bool, said: bool) -> None:
    """Refuse to start an instance where somebody means to go on with one, and has mistyped its id.

    Raises:
        UnknownInstanceError: The log holds none of this id, and nothing was said of its input.
    """
    if not going_on and (said or not _needs_input(plan)):
        return
    shown = f"`stepwell list{at(log)}` shows the ids that there are"
    start = "leave --continue out" if going_on else "give its input: --input JSON, --input @FILE or --param K=V"
    none = "" if said else " (--input '{}' for none)"
    raise UnknownInstanceError(
        f"nothing with this id is in the log: {instance_id!r}",
        place=f"--id {instance_id}",
        remedy=f"To go on with another one, {shown}. To start this one, {start}{none}.",
    )


def _needs_input(plan: Plan) -> bool:
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


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


async def _existing(client: Client, instance_id: str | None) -> InstanceView | None:
    if instance_id is None:
        return None
    try:
        return await client.get(instance_id)
    except UnknownInstanceError:
        return None


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


def _again(file: Path, dialect: str | None, modules: Sequence[str], instance_id: str, log: str | None) -> str:
    words = ["stepwell", "run", str(file), "--id", instance_id]
    if dialect is not None:
        words += ["--dialect", dialect]
    for module in modules:
        words += ["--handlers", module]
    return shlex.join(words) + at(log)


async def _drive(
    client: Client,
    plan: Plan,
    handlers: Handlers,
    existing: InstanceView | None,
    data: Any,
    instance_id: str,
    look_at: Callable[[InstanceView], None],
    *,
    priority: int,
    concurrency: int | None,
    as_json: bool,
) -> Over:
    from stepwell.client.embedded import LocalRuntime  # noqa: PLC0415
    from stepwell.consumers.reading.kinship import Family  # noqa: PLC0415 - start-up time

    family = Family(client.subscriber, instance_id)
    runtime = LocalRuntime(
        client.log,
        handlers=handlers,
        prefixes=None if handlers.strict else handlers.prefixes,
        queues=sorted(_queues(plans_of(plan, client.registry))),
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
        async with progress(watch, plan, quiet=as_json):
            waiting = asyncio.ensure_future(_to_the_end(client, plan, existing, data, instance_id, look_at, priority))
            try:
                await asyncio.wait((waiting, runtime.failed), return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    runtime.failed.result()
                return await waiting
            finally:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
    finally:
        client.subscriber.unwatch(watch)
        await runtime.stop()
        await family.end()


def _queues(plans: Iterable[Plan]) -> set[str]:
    """The queues of definitions' steps and of their compensations."""
    steps = [plan_step.step for plan in plans for plan_step in plan.steps.values()]
    undoing = {step.compensate.queue for step in steps if step.compensate and step.compensate.queue}
    return {step.queue for step in steps} | undoing


async def _to_the_end(
    client: Client,
    plan: Plan,
    existing: InstanceView | None,
    data: Any,
    instance_id: str,
    look_at: Callable[[InstanceView], None],
    priority: int,
) -> Over:
    if existing is None or existing.status == PENDING:  # asked for again, its answer tells whether it begins
        definition = plan.definition
        started = await client.start(
            definition.name, data, id=instance_id, version=definition.version, priority=priority, if_exists="use"
        )
        if started.existed and existing is None:  # somebody was first, or had asked for it while no engine was there
            look_at(await client.get(instance_id))
    return await until_over(client, instance_id)


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
            f"  Look:  stepwell history {shlex.quote(view.instance_id)}{at(log)}\n"
            f"  Retry: {_resume(view, again, log)}",
            file=sys.stderr,
        )
    elif view.reason:
        print(f"  {short(view.reason, 300)}", file=sys.stderr)


def _resume(view: InstanceView, again: str, log: str | None) -> str:
    return f"stepwell resume {shlex.quote(view.instance_id)}{at(log)}, then {again}"


def _print_held(view: InstanceView, again: str, log: str | None) -> None:
    """Why an instance does not go on by itself, and what people can do."""
    if view.status == WorkflowStatus.RUNNING:
        _print_approvals(view, again, log)
    else:
        reason = short(view.reason or "on request", 300)
        print(f"paused: {view.instance_id}: {reason}\n  Go on: {_resume(view, again, log)}", file=sys.stderr)


def _print_approvals(view: InstanceView, again: str, log: str | None) -> None:
    """What people are asked, and how they answer."""
    asked = {step_id: step for step_id, step in view.steps.items() if step.approval is not None}
    print(f"waiting for approval: {view.instance_id}", file=sys.stderr)
    for step_id, step in asked.items():
        gate = step.approval
        words = [word for word in (gate.title, gate.message) if word] if gate is not None else []
        said = f": {short(' - '.join(words), 300)}" if words else ""
        until = (
            f", until {datetime.fromtimestamp(step.due / 1000).astimezone():%Y-%m-%d %H:%M:%S}" if step.due else ""
        )
        print(f"  {step_id} {visible(step.note)}{until}{said}", file=sys.stderr)
    named = shlex.quote(view.instance_id)
    step_id, step = next(iter(asked.items()))
    which = f" --step {shlex.quote(step_id)}" if len(asked) > 1 else ""
    approvers = step.approval.approvers if step.approval is not None else ()
    by = f" --by {shlex.quote(visible(approvers[0]))}" if approvers else ""
    print(
        f"  Approve: stepwell approve {named}{which}{by}{at(log)}\n"
        f"  Reject:  stepwell reject {named}{which}{by}{at(log)} --comment WHY\n"
        f"  Go on:   {again}",
        file=sys.stderr,
    )
