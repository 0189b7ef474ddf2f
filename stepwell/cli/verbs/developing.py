"""``stepwell dev``: everything in one process, for the machine on which workflows are written."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from stepwell.cli.drawing import SIGNS, short
from stepwell.cli.environment import tell_unused
from stepwell.cli.output import print
from stepwell.cli.session import UsageError, client_of, paths_of
from stepwell.cli.verbs.registering import DEFAULT_DIRECTORY, tell_passed_over
from stepwell.errors import LogError

if TYPE_CHECKING:
    from stepwell.client.client import Client

_LOOK_EVERY = 1.0  # seconds between two looks at the directory


async def dev(
    directory: Path | None,
    workflows: Path | None,
    *,
    modules: Sequence[str],
    strict: bool,
    queues: Sequence[str],
    concurrency: int | None,
    log: str | None,
) -> int:
    """Run an engine, a worker, and a watch over the definitions, until stopped."""
    from stepwell.client.embedded import LocalRuntime  # noqa: PLC0415 - start-up time

    if directory is not None and workflows is not None:
        raise UsageError("names the directory once more", place=f"--workflows {workflows}")
    directory = directory or workflows or DEFAULT_DIRECTORY
    if not directory.is_dir():
        raise UsageError(
            "there is no such directory",
            place=str(directory),
            remedy="Name the one that holds your definitions: stepwell dev DIRECTORY --handlers MODULE",
        )
    prefixes = paths_of(modules, strict=strict)
    async with client_of(log, create=True) as client:
        tell_unused()
        runtime = LocalRuntime(
            client.log,
            prefixes=prefixes,
            queues=queues,
            concurrency=concurrency,
            hand_back=True,
            definitions=client.registry,
        )
        await runtime.start()
        watching = asyncio.ensure_future(_watch(client, directory))
        telling = asyncio.ensure_future(_tell(client))
        _say(f"works on {client.log.describe().where}; Ctrl-C stops, and nothing is lost")
        try:
            await asyncio.wait((runtime.failed, watching, telling), return_when=asyncio.FIRST_COMPLETED)
            for done in (runtime.failed, watching, telling):
                if done.done():
                    done.result()
        finally:
            for task in (watching, telling):
                task.cancel()
            await asyncio.gather(watching, telling, return_exceptions=True)
            await runtime.stop()
    return 0


async def _watch(client: Client, directory: Path) -> None:
    """Register every definition, and again whenever its file changes."""
    from stepwell.consumers.registry.folder import Folder  # noqa: PLC0415 - start-up time

    folder = Folder(client.registry, directory, client.sender)
    while True:
        try:
            found = await folder.look()
            tell_passed_over(folder.passed_over, _say)
        except LogError as error:  # the engine's business if it lasts; what was not registered is, next time
            _say(f"✘ {error}")
            found = []
        for made in found:
            if made.definition is None:
                _say(f"✘ {made.told}")
                continue
            word = "reloaded" if made.changed else "registered"
            idle = "" if made.active else ", inactive"
            _say(f"{word} {made.definition.name} {made.definition.version}{idle} ({made.path})")
        await asyncio.sleep(_LOOK_EVERY)


async def _tell(client: Client) -> None:
    async for record in client.subscribe(["workflow.*", "step.failed", "step.retry_scheduled", "incident.*"]):
        event = record.event
        kind, _, what = record.type.partition(".")
        error = getattr(event, "error", None)
        words = f"{error.type}: {short(error.message, 120)}" if error else getattr(event, "message", "")
        step = getattr(event, "step_id", "")
        sign = SIGNS.get(what, ("▶", ""))[0]
        _say(
            " ".join(word for word in (sign, record.instance_id, step if kind == "step" else "", what, words) if word)
        )


def _say(text: str) -> None:
    print(f"{datetime.now().astimezone():%H:%M:%S}  {text}", file=sys.stderr, flush=True)
