"""Verbs that ask for something: start, stop, resume, cancel, rollback."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stepwell.cli.children import plans_of
from stepwell.cli.drawing import count, short
from stepwell.cli.output import print
from stepwell.cli.session import UsageError, at, client_of, import_handlers, parse_input
from stepwell.cli.sources import given, is_python
from stepwell.cli.verbs.show import print_json
from stepwell.errors import CommandRejectedError, StepwellError
from stepwell.log.port import WORKERS
from stepwell.schemas.records.statuses import WorkflowStatus

if TYPE_CHECKING:
    from stepwell.client.client import Client
    from stepwell.client.run import Run, Steered
    from stepwell.consumers.reading.views import InstanceView

OTHERWISE: Final = "Choose another id; or say --if-exists use to be given the one that there is."


async def start(
    workflow: str,
    *,
    dialect: str | None = None,
    modules: Sequence[str] = (),
    input_text: str | None,
    params: Sequence[str],
    instance_id: str | None,
    version: str | None,
    priority: int,
    wait: bool,
    if_exists: str = "refuse",
    as_json: bool,
    log: str | None,
) -> int:
    """Start an instance; a file is registered first."""
    from stepwell.consumers.registry.children import tell_children  # noqa: PLC0415 - start-up time

    import_handlers(modules)  # before the definition: they may hold step types of their own
    data = parse_input(input_text, params)
    is_file = workflow.endswith((".yaml", ".yml", ".json")) or Path(workflow).is_file() or is_python(workflow)
    named = [workflow]
    if dialect is not None:
        named += ["--dialect", dialect]
    for module in modules:
        named += ["--handlers", module]
    if dialect is not None and not is_file:
        raise UsageError(
            f"{workflow} is no file, and what is registered has no dialect any more", place=f"--dialect {dialect}"
        )
    async with client_of(log, create=is_file) as client:
        if is_file:
            definition = await client.register(given(workflow), dialect=dialect)
            workflow, version = definition.name, definition.version
        else:
            await client.registry.catch_up()
            plan = client.registry.resolve(workflow, version)
            if plan is not None:
                tell_children([one.definition for one in plans_of(plan, client.registry)], client.registry)
        said = data if input_text is not None or params else None  # where nothing is said of it, nothing is compared
        run = await started(
            client, workflow, said, instance_id=instance_id, version=version, priority=priority, if_exists=if_exists
        )
        live = await client.engine_is_live()
        if run.existed and not as_json:
            print("It exists already; nothing was started.", file=sys.stderr)
        if wait:
            return await _wait(client, run.id, named, live=live, as_json=as_json, log=log)
    if as_json:
        print_json({"instance_id": run.id, "existed": run.existed, "engine_is_live": live})
        return 0
    print(run.id)
    if not run.existed and not live:
        print(f"It is in the log. {_no_engine(log)}", file=sys.stderr)
    return 0


async def started(
    client: Client,
    workflow: str,
    data: Any,
    *,
    instance_id: str | None,
    version: str | None,
    priority: int = 0,
    if_exists: str = "refuse",
) -> Run:
    """Start an instance; a refusal names the option that says otherwise."""
    from stepwell.client.same_start import EXISTS  # noqa: PLC0415 - start-up time

    use: Any = if_exists
    try:
        return await client.start(workflow, data, id=instance_id, version=version, priority=priority, if_exists=use)
    except CommandRejectedError as refused:
        if refused.code == EXISTS:
            raise CommandRejectedError(
                EXISTS, refused.message, instance_id=refused.instance_id, remedy=OTHERWISE
            ) from None
        raise


def _no_engine(log: str | None) -> str:
    return f"No engine works on this log now: `stepwell engine{at(log)}` or `stepwell dev{at(log)}` starts one."


async def _wait(
    client: Client, instance_id: str, named: Sequence[str], *, live: bool, as_json: bool, log: str | None
) -> int:
    from stepwell.cli.children import until_over  # noqa: PLC0415 - start-up time
    from stepwell.cli.verbs.running import report  # noqa: PLC0415 - start-up time

    again = shlex.join(["stepwell", "start", *named, "--id", instance_id, "--wait"]) + at(log)
    if not as_json:
        print(instance_id, file=sys.stderr)  # stdout belongs to the output
        if not live:
            print(f"Waits: it is in the log. {_no_engine(log)}", file=sys.stderr)
        elif not await client.log.members(WORKERS):
            print(
                f"Waits: no worker is live now: `stepwell worker --handlers MODULE{at(log)}` starts one.",
                file=sys.stderr,
            )
    try:
        ended = await until_over(client, instance_id)
    except asyncio.CancelledError:
        if not as_json:
            print(f"\nIt goes on without you. Wait for it again with:\n  {again}", file=sys.stderr)
        raise
    return report(ended, as_json=as_json, again=again, log=log)


def point(checkpoint: str | None, event: int | None) -> str | int | None:
    """Where a rollback returns to.

    Raises:
        UsageError: Both a name and an event are given.
    """
    if checkpoint is not None and event is not None:
        raise UsageError("--event and --checkpoint exclude each other", remedy="Name one point.")
    return checkpoint if event is None else event


async def steer(
    instance_id: str, done: str, ask: Callable[[Client], Awaitable[Steered]], *, as_json: bool, log: str | None
) -> int:
    """Send a command, decided here if no engine works on the log, and show where the instance is then."""
    async with client_of(log, engine=True) as client:
        answer = await ask(client)
        if not answer.decided:  # the engine that was there has ended meanwhile
            raise StepwellError(
                "no engine has decided this yet; it is in the log, and the next one will",
                place=instance_id,
                remedy=_no_engine(log),
            )
        shown = await client.get(instance_id)
        words = f"{done}; it is {shown.status} now"
        if shown.rolling_back_to and not shown.finished:
            words = await _rolling_back(client, shown, log)
        if done == "cancelled" and not shown.finished:
            words = "it is cancelled once its error handlers have ended; cancel it again to stop those, too"
        gates = [step_id for step_id, step in shown.steps.items() if step.remaining_ms is not None]
        if gates:
            words += f"; until then time stands still for what waits for approval: {short(', '.join(gates), 300)}"
    if as_json:
        print_json({
            "instance_id": instance_id, "status": shown.status, "sequence": shown.sequence,
            "rolling_back_to": shown.rolling_back_to,
        })  # fmt: skip
    else:
        print(f"{instance_id}: {words}")
    return 0


async def _rolling_back(client: Client, shown: InstanceView, log: str | None) -> str:
    """How far a rollback is."""
    from stepwell.schemas.records.events import RollbackStarted, StepCompensated, StepSkipped  # noqa: PLC0415 - start-up time

    left: set[str] = set()
    for record in await client.history(shown.instance_id):
        if isinstance(record.event, RollbackStarted):
            left = set(record.event.compensate)
        elif isinstance(record.event, (StepCompensated, StepSkipped)):  # skipped: a person has given it up
            left.discard(record.event.step_id)
    if not left:  # all that was to be undone has been since we looked
        return "rolled back"
    waiting = count(len(left), "compensation")
    if shown.status == WorkflowStatus.PAUSED:
        return f"its rollback is paused before {waiting}: {short(shown.reason or 'on request', 300)}"
    if await client.log.members(WORKERS):
        return f"is being rolled back: {waiting} to run"
    wait = "waits" if len(left) == 1 else "wait"
    again = f"stepwell run FILE --id {shlex.quote(shown.instance_id)} --handlers MODULE{at(log)}"
    return f"is being rolled back: {waiting} {wait} for a worker: {again}"
