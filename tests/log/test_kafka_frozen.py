"""A worker's process that is stopped for longer than its session, and wakes: others have long done what it thinks is its."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from stepwell.log.port import WORKERS, NewRecord
from stepwell.log.urls import open_log
from tests.kafka_broker import settings_for, url_of
from tests.patience import HANG
from tests.workbench import until

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import asyncio, sys
from stepwell.log.urls import open_log

async def main():
    log = await open_log(sys.argv[1])
    queue = await log.consume(["q"], prefetch=20)
    while True:
        for one in await queue.take(1):
            print(one.value.decode(), flush=True)
            await queue.settle([one])

asyncio.run(main())
"""


async def test_a_worker_that_wakes_takes_nothing_of_what_others_were_given_while_it_slept(kafka_broker):
    url = url_of(settings_for(kafka_broker, partitions=4))
    log = await open_log(url)
    sleeper = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, url, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        taken: list[str] = []

        async def listen():
            while line := await sleeper.stdout.readline():
                taken.append(line.decode().strip())

        async def settle(name, count):
            await log.enqueue("q", [NewRecord("k", f"{name} {number}".encode()) for number in range(count)])
            done = 0
            while done < count:
                found = await queue.take(count)
                done += sum(one.value.decode().startswith(name) for one in found)
                await queue.settle(found)

        async def members(count):
            return len(await log.members(WORKERS)) == count

        listening = asyncio.ensure_future(listen())
        await log.enqueue("q", [NewRecord("k", b"awake") for _ in range(4)])
        await until(lambda: taken.count("awake") == 4)
        sleeper.send_signal(signal.SIGSTOP)
        queue = await log.consume(["q"], prefetch=100)
        async with asyncio.timeout(HANG):
            await settle("asleep", 200)
            sleeper.send_signal(signal.SIGCONT)
            await until(lambda: members(2))
        await log.enqueue("q", [NewRecord("k", b"awake again") for _ in range(200)])
        await until(lambda: "awake again" in taken)
        assert not [name for name in taken if name.startswith("asleep")]
        listening.cancel()
    finally:
        sleeper.kill()
        await sleeper.wait()
        await log.close()
