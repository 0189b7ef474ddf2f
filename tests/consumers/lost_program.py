"""What dies in the tests of lost workers: ``lost_program.py worker|all LOG LIMIT``.

The handler ``crash`` ends the process as a fault in native code would, without a word.
"""

import asyncio
import os
import sys

from stepwell.client.connect import connect
from stepwell.consumers.worker.handlers import Handlers
from stepwell.consumers.worker.worker import Worker


def crash(data):
    os._exit(17)


async def crash_in_the_loop(data):
    os._exit(17)


def fine(data):
    return {"done": True}


async def main(role, log, limit):
    os.environ["STEPWELL_MAX_DELIVERIES"] = limit
    handlers = Handlers()
    for function in (crash, crash_in_the_loop, fine):
        handlers.register(function.__name__, function)
    async with connect(f"file:{log}", embedded=role == "all", handlers=handlers if role == "all" else None) as client:
        if role == "worker":
            await Worker(client.log, handlers).run()
        await client.wait("i", lambda state: not state.live)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
