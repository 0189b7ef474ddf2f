"""What the kill tests kill: ``killed_program.py all|engine|worker LOG RUNS COUNT``.

``all`` starts COUNT workflows with an engine and a worker in this process, and ends when all have finished. Every run
of a handler appends a line to the file RUNS.
"""

import asyncio
import os
import sys
import time

from stepwell.client.connect import connect
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.worker.handlers import Handlers
from stepwell.consumers.worker.worker import Worker
from tests.patience import HANG

CONCURRENCY = 4
DEFINITION = {
    "name": "w",
    "version": "1",
    "steps": [
        {"id": "a", "handler": "coroutine"},
        {"id": "b1", "handler": "function", "depends_on": ["a"]},
        {"id": "b2", "handler": "coroutine", "depends_on": ["a"], "retry": {"max_attempts": 2, "initial_delay_seconds": 0}},
        {"id": "c", "handler": "coroutine", "depends_on": ["b1", "b2"],
         "input": {"n": "{{ step_outputs.b1.n + step_outputs.b2.n }}"}},
    ],
    "output": "{{ step_outputs.c.n }}",
}  # fmt: skip
OUTPUT = 5  # of an input n of 0: 1, twice 2, 4 + 1


def handlers(runs):
    file = os.open(runs, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(ctx):
        os.write(file, f"{ctx.instance_id} {ctx.step_id} {ctx.run}\n".encode())
        if ctx.step_id == "b2" and ctx.attempt == 1 and ctx.instance_id.endswith("3"):
            raise ConnectionError("the first attempt fails")

    async def coroutine(data, ctx):
        await asyncio.sleep(0.004)
        note(ctx)
        await asyncio.sleep(0.004)
        return {"n": data["n"] + 1}

    def function(data, ctx):
        time.sleep(0.004)
        note(ctx)
        return {"n": data["n"] + 1}

    known = Handlers()
    known.register("coroutine", coroutine)
    known.register("function", function)
    return known


async def main(role, log, runs, count):
    async with connect(
        f"file:{log}?synchronous=normal",
        embedded=role == "all",
        handlers=handlers(runs) if role == "all" else None,
        concurrency=CONCURRENCY,
    ) as client:
        if role == "engine":
            await Engine(client.log).run()
        elif role == "worker":
            await Worker(client.log, handlers(runs), concurrency=CONCURRENCY).run()
        await client.register(DEFINITION)
        started = [await client.start("w", {"n": 0}, id=f"i{number:03}") for number in range(count)]
        views = await asyncio.gather(*(run.result(timeout=HANG) for run in started))
        assert all(view.output == OUTPUT for view in views), views


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
