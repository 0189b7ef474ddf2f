"""What the workers of a chaos run run: every run leaves a line when it begins and one when it ends.

A line is one ``write`` to a file of this process opened for appending, so what was noted survives a SIGKILL.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from stepwell.consumers.worker.handlers import handler
from tests.chaos.parts import NOTES


def _open():
    folder = Path(os.environ[NOTES])
    name = f"{os.environ.get('CHAOS_NAME', 'worker')}-{os.getpid()}.jsonl"
    return os.open(folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


_file = _open()


def _note(what, ctx, **more):
    line = {"what": what, "at": time.time(), "of": [ctx.instance_id, ctx.step_id, ctx.run], **more}
    os.write(_file, json.dumps(line).encode() + b"\n")


@handler("work")
async def work(data, ctx):
    """Sleep as long as the step says, fail as often as it says, give something that only this very run gives."""
    _note("begin", ctx)
    try:
        await asyncio.sleep(ctx.config.get("seconds", 0))
    except asyncio.CancelledError:  # nobody has it in hand any more
        _note("cancelled", ctx)
        raise
    if ctx.attempt <= ctx.config.get("failures", 0):
        _note("fail", ctx)
        raise ConnectionError(f"attempt {ctx.attempt} fails")
    return _given(ctx)


@handler("undo")
async def undo(data, ctx):
    """Undo a step; never fails, for that would be an incident for a person."""
    _note("begin", ctx)
    return _given(ctx)


def _given(ctx):
    output = {"by": os.getpid(), "run": ctx.run, "at": time.time_ns()}
    _note("end", ctx, output=output)
    return output
