"""A process that dies over one command: ``deadly_program.py dies|hangs LOG WHAT MARK``.

An engine and a worker. WHAT is the type of the command that is deadly for instance ``poison``, or ``compile``: then
it is compiling the definition called ``poison``. Who hangs writes the file MARK first.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from stepwell.client.connect import connect
from stepwell.consumers.engine import deciding
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.registry import definitions
from stepwell.consumers.worker.handlers import Handlers
from stepwell.consumers.worker.worker import Worker


def end(how, mark):
    if how == "hangs":
        Path(mark).touch()
        while True:
            time.sleep(60)
    os.kill(os.getpid(), signal.SIGKILL)


def poison(how, what, mark):
    decide, compile_plan = deciding.decide, definitions.compile_plan

    def deadly_decide(state, command, circumstances):
        if command.instance_id == "poison" and type(command).__name__ == what:
            end(how, mark)
        return decide(state, command, circumstances)

    def deadly_compile(definition, *more):
        if definition.name == "poison":
            end(how, mark)
        return compile_plan(definition, *more)

    deciding.decide = deadly_decide
    if what == "compile":
        definitions.compile_plan = deadly_compile


async def main(how, log, what, mark):
    poison(how, what, mark)
    handlers = Handlers()
    handlers.register("work", lambda data: {"done": True})
    async with connect(f"file:{log}") as client:
        await asyncio.gather(Engine(client.log).run(), Worker(client.log, handlers).run())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
