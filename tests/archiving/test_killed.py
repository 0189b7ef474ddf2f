"""A cleanup that is killed, wherever it is: what it had begun, the next one ends."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from stepwell import Archive
from stepwell.client.client import Client
from stepwell.core.fold.evolve import fold
from stepwell.log.local.log import LocalLog
from tests.archiving.conftest import crowd, ended, figures, file_behind, rebuilt
from tests.projections.worlds import dump

# The same program as `stepwell`, with rounds of a few instances, so that there are many places to be killed at.
PROGRAM = """
from stepwell.archiving import cleaning
from stepwell.cli.main import command
cleaning._ROUND = 7
raise SystemExit(command())
"""
ROOT = Path(__file__).resolve().parents[2]


async def run(folder, *arguments, kill_after=None):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *arguments, "--log", f"file:{folder}/log.db", cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    if kill_after is not None:
        await kill_after()
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.rows("O17")
@pytest.mark.parametrize("seed", range(4))
async def test_a_cleanup_that_is_killed_anywhere_is_ended_by_the_next(seed, tmp_path, files):
    rnd = random.Random(seed)
    log = await LocalLog.open(tmp_path / "log.db", partitions=2, durability="normal")
    client = Client(log)
    found = await crowd(log, seed, 300)
    before, hours = figures(await client.statistics(steps=True)), await client.views.hours(0)
    await client.views.models.close()
    archive = tmp_path / "old.gz"
    wanted = (await client.cleanup(finished_before=1 << 50, archive=None, dry_run=True)).instances
    await client.views.models.close()

    async def begun():  # its first trace, or a moment later
        for _ in range(2_000):
            if archive.exists() or (tmp_path / "old.gz.part").exists():
                break
            await asyncio.sleep(0.005)
        await asyncio.sleep(rnd.random() * 0.4)

    command = ("cleanup", "--older-than", "0s", "--archive", str(archive), "--yes", "--json")
    for _ in range(3):
        code, _, err = await run(tmp_path, *command, kill_after=begun)
        assert code in (0, -signal.SIGKILL), err
    code, out, err = await run(tmp_path, *command)
    assert code == 0, err
    assert json.loads(out)["resumed"] or json.loads(out)["instances"] == wanted

    gone = {one.id for one in Archive(archive)}
    assert Archive(archive).check().instances == len(gone) == wanted
    page, total = await client.instances(limit=1_000)
    assert {one.instance_id for one in page} == found.keys() - gone
    assert total == len(found) - len(gone)
    assert all(ended(found[name]) for name in gone)
    for name in sorted(gone)[:20]:
        assert Archive(archive).get(name).state() == fold(found[name])
    for name in found.keys() - gone:
        assert (await client.get(name)).sequence == fold(found[name]).sequence
    assert figures(await client.statistics(steps=True)) == before
    assert await client.views.hours(0) == hours
    assert await dump(await file_behind(client, files)) == await dump(await rebuilt(log, files, tmp_path / "anew"))
    await client.views.models.close()
    await client.subscriber.close()
    await log.close()
