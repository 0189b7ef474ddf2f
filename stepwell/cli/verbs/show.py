"""Verbs that look at definitions, and at one instance: validate, plan, status, replay."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.cli.drawing import (
    SIGNS,
    branches,
    count,
    failure,
    headline,
    is_undone,
    levels,
    plan_lines,
    short,
    skip_lines,
    step_words,
)
from stepwell.cli.output import print
from stepwell.cli.session import UsageError, at, client_of, import_handlers
from stepwell.cli.sources import definition_of, given, is_python
from stepwell.errors import UnknownInstanceError, visible
from stepwell.process import now_ms
from stepwell.schemas.records.statuses import PENDING, WorkflowStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from stepwell.client.client import Client
    from stepwell.consumers.reading.views import InstanceView
    from stepwell.consumers.registry.children import MissingChild
    from stepwell.core.plan.compile import Plan
    from stepwell.projections.rows import AttemptRow
    from stepwell.schemas.definitions.model import Definition


def print_json(value: Any) -> None:
    """Print one JSON object."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


async def validate(
    file: Path, modules: Sequence[str] | None, *, dialect: str | None = None, log: str | None = None, as_json: bool
) -> int:
    """Check a definition; problems are raised."""
    from stepwell.cli.verbs.running import check_handlers  # noqa: PLC0415 - start-up time
    from stepwell.consumers.registry.credentials import tell_credentials  # noqa: PLC0415
    from stepwell.consumers.worker.builtin import BUILTIN  # noqa: PLC0415
    from stepwell.consumers.worker.handlers import Handlers, registered  # noqa: PLC0415
    from stepwell.core.decide.skips import runs_after_skips  # noqa: PLC0415
    from stepwell.schemas.dialects import CANONICAL  # noqa: PLC0415

    prefixes = import_handlers(modules or ())  # before the definition: they may hold step types of their own
    compiled, written = _compiled(file, dialect)
    if modules is None and is_python(file):
        modules = []  # its module was imported, and the steps with it
    if modules is not None:
        handlers = Handlers(prefixes, BUILTIN)
        handlers.update(registered)
        check_handlers(compiled, handlers)
    definition = compiled.definition
    tell_credentials(definition)
    told: dict[str, Any] = {}
    if log is not None:
        missing = await _missing_children(definition, log)
        told["warnings"] = [f"{place}: {reason}" for place, reason, _ in missing]
        for line in told["warnings"]:
            print(f"warning: {line}", file=sys.stderr)
    if as_json:
        print_json({
            "valid": True, "workflow": definition.name, "version": definition.version, "hash": compiled.hash,
            "dialect": written, "runs_after_skip": runs_after_skips(compiled), **told,
        })  # fmt: skip
    else:
        unchecked = "" if modules is not None or not compiled.handlers else "; handlers not checked: name --handlers"
        steps = count(len(definition.steps), "step")
        form = "" if written == CANONICAL else f", dialect {written}"
        print(f"{file}: {definition.name} {definition.version} is valid: {steps}{form}{unchecked}")
        for line in skip_lines(compiled):
            print(f"  {line}")
    return 0


async def _missing_children(definition: Definition, log: str) -> list[MissingChild]:
    """The steps that start what the log does not know; a definition that is not registered yet may start itself."""
    from stepwell.consumers.registry.children import missing_children  # noqa: PLC0415 - start-up time

    async with client_of(log) as client:
        await client.registry.catch_up()
        missing = missing_children(definition, client.registry)
    own = {step.id for step in definition.steps if step.config.get("workflow") == definition.name}
    return [child for child in missing if child.step_id not in own]


async def plan(
    file: Path,
    modules: Sequence[str] | None = None,
    *,
    dialect: str | None = None,
    as_yaml: bool = False,
    as_json: bool,
) -> int:
    """Show the batches of a definition, and what it is compiled to if it is written in another form."""
    from stepwell.core.decide.skips import runs_after_skips  # noqa: PLC0415 - start-up time
    from stepwell.schemas.dialects import CANONICAL  # noqa: PLC0415 - start-up time

    import_handlers(modules or ())  # before the definition: they may hold step types of their own
    compiled, written = _compiled(file, dialect)
    definition = compiled.definition
    if as_yaml and as_json:
        raise UsageError("--yaml and --json are two forms of the same", remedy="Choose one.")
    if as_json:
        print_json({
            "workflow": definition.name, "version": definition.version, "hash": compiled.hash, "dialect": written,
            "batches": compiled.batches, "runs_after_skip": runs_after_skips(compiled),
            "error_handlers": sorted(definition.error_handlers),
            "definition": msgspec.to_builtins(definition),
        })  # fmt: skip
        return 0
    if not as_yaml:
        print("\n".join(plan_lines(compiled)))
    if not as_yaml and written != CANONICAL:
        print(f"\n# From the dialect {written}, in the canonical form:")
    if as_yaml or written != CANONICAL:
        from stepwell.schemas.definitions.dump import to_yaml  # noqa: PLC0415 - start-up time

        print(to_yaml(definition), end="")
    return 0


def _compiled(file: Path, dialect: str | None) -> tuple[Plan, str]:
    """The plan of a file's definition, and the dialect that it is written in."""
    from stepwell.language import compile_loaded, read_definition  # noqa: PLC0415 - start-up time

    loaded = read_definition(definition_of(given(file)), dialect=dialect)
    return compile_loaded(loaded), loaded.dialect


async def status(
    instance_id: str,
    to: int | None,
    *,
    replayed: bool = False,
    attempts: bool = False,
    as_json: bool,
    log: str | None,
) -> int:
    """Show an instance, as it is or as it was.

    Args:
        to: As it was after this event.
        attempts: Every attempt at its steps as well.
    """
    rows: list[AttemptRow] = []
    async with client_of(log) as client:
        shown = await shown_instance(client, instance_id, to, replayed=replayed)
        await client.registry.catch_up()
        compiled = client.registry.resolve(shown.workflow, shown.version)
        live = await client.engine_is_live()
        if attempts:
            rows = await _attempts(client, instance_id)
    if as_json:
        print_json({**msgspec.to_builtins(shown), "attempts": rows} if attempts else shown)
        return 0
    if replayed:
        print(f"as of event {shown.sequence}:")
    print_instance(shown, compiled)
    if attempts:
        from stepwell.cli.verbs.debugging import attempt_lines  # noqa: PLC0415 - start-up time

        print("\n" + ("\n".join(attempt_lines(rows)) if rows else "no attempts yet"))
    if shown.status == PENDING:
        print("  Its start is in the log and has not been decided yet.")
    if not replayed and not shown.finished and not live:
        here = at(log)
        name = shlex.quote(instance_id)
        asked = any(step.note.startswith("waits for approval") for step in shown.steps.values())
        paused = shown.status == WorkflowStatus.PAUSED
        if paused or asked:
            wait = f"`stepwell {'resume' if paused else 'approve'} {name}{here}`"
            print(visible(f"  It waits for a person: {wait}; `stepwell debug {name}{here}` tells more."))
            print(visible(f"  No engine works on this log now: `stepwell engine{here}` goes on with it after that."))
            return 0
        begins = "decides and runs" if shown.status == PENDING else "goes on with"
        run = f"stepwell run FILE --id {name}"
        print(visible(f"  No engine works on this log now: `{run}{here}` or `stepwell dev{here}` {begins} it."))
    return 0


async def _attempts(client: Client, instance_id: str) -> list[AttemptRow]:
    from stepwell.consumers.reading.histories import accepted_of  # noqa: PLC0415 - start-up time
    from stepwell.projections.folding import attempts_in  # noqa: PLC0415

    found = await accepted_of(client.log, instance_id)
    return attempts_in(accepted.transition for accepted in found)


async def shown_instance(client: Client, instance_id: str, to: int | None, *, replayed: bool = False) -> InstanceView:
    """An instance as it is; or as it was after one of its events, the newest of them if none is named.

    Raises:
        UsageError: It has no such event.
        UnknownInstanceError: There is none, and none was asked for.
        CommandRejectedError: It was asked for, and the engine would not start it.
    """
    try:
        if replayed or to is not None:
            shown = await client.replay(instance_id, to if to is None or to > 0 else None)
        else:
            shown = await client.get(instance_id)
    except UnknownInstanceError:
        await client.pending.find(instance_id)  # tells more of a start that was rejected
        raise
    if to is not None and not 0 < to <= shown.sequence:
        there = (
            f"there are only {shown.sequence} events, numbered from 1" if shown.sequence else "there are no events"
        )
        raise UsageError(there, place=f"--to {to}")
    return shown


def print_instance(shown: InstanceView, compiled: Plan | None) -> None:
    """Print an instance and its steps."""
    now = shown.as_of or (shown.finished_at if shown.finished else None) or now_ms()
    print(f"{SIGNS.get(shown.status, ('▶', ''))[0]} {headline(shown, now)}")
    order = levels(compiled) if compiled else [(step_id, 0) for step_id in shown.steps]
    width = max((len(step_id) + 4 * depth for step_id, depth in order), default=0)
    for (step_id, _), left in zip(order, branches(order), strict=True):
        step = shown.steps[step_id]
        name = step_id.ljust(max(1, min(width, 48) + 4 - len(left)))
        print(f"{left}{SIGNS[step.status][0]} {name} {step_words(step, now)}".rstrip())
    if shown.error is not None:
        print(f"  {failure(shown)}")
    if is_undone(shown):
        print("  rolled back: what has a compensation was undone before it failed")
    if shown.rolling_back_to:
        how = "was being" if shown.finished else "is being"
        print(f"  {how} rolled back to event {shown.rolling_back_to}")
    if shown.reason:
        print(f"  {'paused' if shown.status == 'paused' else shown.status}: {visible(shown.reason)}")
    if shown.checkpoints:
        named = ", ".join(f"{name} (event {number})" for name, number in shown.checkpoints.items())
        print(f"  checkpoints: {named}")
    if shown.output is not None:
        print(f"  output: {short(json.dumps(shown.output, ensure_ascii=False), 200)}")
