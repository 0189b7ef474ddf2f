"""A client that is asked nothing of the read models has none: what answers is made with the first question."""

import subprocess
import sys

import pytest

import stepwell
from stepwell.errors import LogClosedError
from stepwell.own_files import claimed
from tests.workbench import stage

PROGRAM = """
import asyncio, sys, stepwell
async def main():
    async with stepwell.connect("file:log.db", handlers=stepwell.Handlers()) as client:
        await client.register({"name": "w", "steps": [{"id": "a", "type": "input"}]})
        await (await client.start("w", {})).result()
        print(*(name for name in sys.modules if name.startswith("stepwell.projections.")))
        await client.instances()
        print("stepwell.projections.models" in sys.modules)
asyncio.run(main())
"""


def test_starting_and_waiting_imports_no_read_models(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=True)
    before, asked = done.stdout.splitlines()
    assert not {"stepwell.projections.models", "stepwell.projections.queries"} & set(before.split())
    assert asked == "True"


async def test_steps_on_files_are_kept_from_the_read_models_before_anybody_asks(tmp_path):
    async with stepwell.connect(f"file:{tmp_path}/log.db", embedded=False):
        assert str(tmp_path / "log.db.views") in claimed()


async def test_acting_for_somebody_else_asks_the_same_read_models(log):
    async with stage(log, stepwell.Handlers()) as client:
        assert client.acting(by="ann").views.models is client.views.models


@pytest.mark.parametrize("asked", [False, True])
async def test_after_the_end_of_a_client_its_views_say_that_it_was_closed(tmp_path, asked):
    async with stepwell.connect(f"file:{tmp_path}/log.db", embedded=False) as client:
        if asked:
            await client.instances()
    for ask in (client.instances, client.statistics, client.views.lag, client.views.audit):
        with pytest.raises(LogClosedError, match="closed"):
            await ask()
