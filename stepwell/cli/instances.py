"""An instance, and the attempts at its steps, as the terminal shows them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from stepwell.cli.drawing import SIGNS, branches, failure, headline, is_undone, levels, seconds, short, step_words
from stepwell.cli.exits import UsageError
from stepwell.cli.output import print, print_json
from stepwell.cli.session import at, client_of
from stepwell.cli.views import local_time, table
from stepwell.client.advice import Advice, advice_of
from stepwell.command_line import about, command
from stepwell.consumers.reading.histories import accepted_of
from stepwell.errors import UnknownInstanceError, visible
from stepwell.process import now_ms
from stepwell.projections.folding import attempts_in
from stepwell.schemas.records.statuses import PENDING, AttemptStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.client.client import Client
    from stepwell.consumers.reading.views import InstanceView
    from stepwell.core.plan.compile import Plan
    from stepwell.projections.rows import AttemptRow


async def show_instance(
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
        print("\n" + ("\n".join(attempt_lines(rows)) if rows else "no attempts yet"))
    if shown.status == PENDING:
        print("  Its start is in the log and has not been decided yet.")
    if not replayed and not shown.finished and not live:
        here = at(log)
        advice = advice_of(shown, here)
        if advice is not None:
            words = advice.words[0].upper() + advice.words[1:]
            print(visible(f"  {words}: {_helps(advice, instance_id, here)}"))
            print(visible(f"  No engine works on this log now: `stepwell engine{here}` goes on with it after that."))
            return 0
        begins = "decides and runs" if shown.status == PENDING else "goes on with"
        run = command("run", "FILE", "--id", instance_id)
        print(visible(f"  No engine works on this log now: `{run}{here}` or `stepwell dev{here}` {begins} it."))
    return 0


def _helps(advice: Advice, instance_id: str, here: str) -> str:
    """The commands that help, in a sentence."""
    if advice.alone:
        return f"`{advice.command}` tells why; `{advice.alone}` goes on with this one alone."
    return f"`{advice.command}`; `{about('debug', instance_id, at=here)}` tells more."


async def _attempts(client: Client, instance_id: str) -> list[AttemptRow]:
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


def attempt_lines(rows: Sequence[AttemptRow], *, steps: bool = True, indent: int = 0) -> list[str]:
    """Attempts as a table.

    Args:
        steps: Whether the step is named in each line.
        indent: Spaces before each line.
    """
    cells = [
        (
            *((row.step_id,) if steps else ()),
            "" if row.status == AttemptStatus.SKIPPED else _numbered(row),
            f"{_sign(row)} {row.status}" + (f" for {row.waits_for}" if row.waits_for else ""),
            local_time(row.started_at or row.ready_at),
            seconds(row.duration / 1000) if row.finished_at and row.status != AttemptStatus.SKIPPED else "",
            row.worker,
            short(row.error, 160),
        )
        for row in rows
    ]
    titles = (*(("step",) if steps else ()), "attempt", "status", "when", "took", "worker", "error")
    return table(titles, cells, indent=indent)


def _numbered(row: AttemptRow) -> str:
    lost = f", handed out {row.deliveries:,} times" if row.deliveries > 1 else ""
    return f"{_PURPOSES.get(row.purpose, '')}{row.attempt} of {row.max_attempts}{lost}"


_PURPOSES = {"compensate": "undoing, ", "handle": "handling, "}
_ENDS = {AttemptStatus.RETRIED.value: "✘", AttemptStatus.COMPENSATED.value: "↶"}  # which steps have no sign for


def _sign(row: AttemptRow) -> str:
    return _ENDS.get(row.status) or SIGNS[row.status][0]
