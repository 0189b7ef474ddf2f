"""What the verbs that ask an instance for something have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from stepwell.cli.drawing import count, short
from stepwell.cli.output import print, print_json
from stepwell.cli.session import at, client_of
from stepwell.client.advice import stopped_in
from stepwell.client.same_start import EXISTS
from stepwell.command_line import command
from stepwell.errors import CommandRejectedError, StepwellError
from stepwell.log.port import WORKERS
from stepwell.schemas.records.events import RollbackStarted, StepCompensated, StepSkipped
from stepwell.schemas.records.statuses import WorkflowStatus

if TYPE_CHECKING:
    from stepwell.client.client import Client
    from stepwell.client.run import Run, Steered
    from stepwell.consumers.reading.views import InstanceView


OTHERWISE: Final = "Choose another id; or say --if-exists use to be given the one that there is."


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
    use: Any = if_exists
    try:
        return await client.start(workflow, data, id=instance_id, version=version, priority=priority, if_exists=use)
    except CommandRejectedError as refused:
        if refused.code == EXISTS:
            raise CommandRejectedError(
                EXISTS, refused.message, instance_id=refused.instance_id, remedy=OTHERWISE
            ) from None
        raise


def no_engine(log: str | None) -> str:
    """What to say where nobody decides what is in the log."""
    return f"No engine works on this log now: `stepwell engine{at(log)}` or `stepwell dev{at(log)}` starts one."


async def steer(
    instance_id: str,
    done: str | Callable[[Steered], str],
    ask: Callable[[Client], Awaitable[Steered]],
    *,
    as_json: bool,
    log: str | None,
) -> int:
    """Send a command, decided here if no engine works on the log, and show where the instance is then.

    Args:
        done: What to say of it once it is decided, or what makes that of the answer.
    """
    async with client_of(log, engine=True) as client:
        answer = await ask(client)
        if not answer.decided:  # the engine that was there has ended meanwhile
            raise StepwellError(
                "no engine has decided this yet; it is in the log, and the next one will",
                place=instance_id,
                remedy=no_engine(log),
            )
        shown = await client.get(instance_id)
        words = f"{done if isinstance(done, str) else done(answer)}; it is {shown.status} now"
        if shown.rolling_back_to and not shown.finished:
            words = await rolling_back(client, shown, log)
        if done == "cancelled" and not shown.finished:
            words = "it is cancelled once its error handlers have ended; cancel it again to stop those, too"
        for what, steps in stopped_in(shown).items():
            words += f"; until then time stands still for what waits for {what}: {short(', '.join(steps), 300)}"
        if shown.held_by:
            words += f"; it goes on with {shown.held_by}"
    if as_json:
        print_json({
            "instance_id": instance_id, "status": shown.status, "sequence": shown.sequence,
            "rolling_back_to": shown.rolling_back_to,
        })  # fmt: skip
    else:
        print(f"{instance_id}: {words}")
    return 0


async def rolling_back(client: Client, shown: InstanceView, log: str | None) -> str:
    """How far a rollback is."""
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
    again = command("run", "FILE", "--id", shown.instance_id, "--handlers", "MODULE") + at(log)
    return f"is being rolled back: {waiting} {wait} for a worker: {again}"
