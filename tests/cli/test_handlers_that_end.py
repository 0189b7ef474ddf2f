"""Handlers that want to end the program, or never end themselves, as who runs ``stepwell`` meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import HANG

from .conftest import Shell

WILD = """
import asyncio, multiprocessing, os, sys, time

async def exits_in_a_task(data):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(leave())

async def leave():
    sys.exit(0)

async def exits_in_a_callback(data):
    asyncio.get_running_loop().call_soon(sys.exit, 0)
    await asyncio.sleep(3600)

async def stops_the_loop(data):
    asyncio.get_running_loop().stop()
    await asyncio.sleep(3600)

async def cancels_everything(data):
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(3600)

async def never_ends(data):
    asyncio.create_task(stay())
    await stay()

left = []

async def leaves_one_behind(data):
    left.append(asyncio.create_task(stay()))
    await asyncio.sleep(0.1)
    return 1

async def stay():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

def leaves_at_once(data):
    os._exit(0)

async def leaves_at_once_in_a_coroutine(data):
    os._exit(0)

def forks(data):
    child = multiprocessing.get_context("fork").Process(target=int)
    child.start()
    child.join()
    return child.exitcode

def sleeps(data):
    time.sleep(3600)

async def fine(data):
    return 1
"""


def one(handler: str, **more: object) -> str:
    return json.dumps({"name": "w", "steps": [{"id": "a", "handler": f"wild.{handler}", **more}]})


@pytest.fixture
def wild(shell: Shell) -> Shell:
    (shell.directory / "wild.py").write_text(WILD)
    return shell


@pytest.mark.parametrize("handler", ["leaves_at_once", "leaves_at_once_in_a_coroutine"])
def test_a_handler_that_ends_the_process_at_once_is_no_success(wild: Shell, handler: str) -> None:
    (wild.directory / "w.json").write_text(one(handler))
    ended = wild("run", "w.json", "--handlers", "wild", "--id", "x", status=1)
    assert "the program was ended by code that runs in it (os._exit(0))" in ended.stderr
    assert "completed" not in ended.stdout


def test_a_process_that_a_handler_forks_ends_as_ever(wild: Shell) -> None:
    (wild.directory / "w.json").write_text(one("forks"))
    ended = wild("run", "w.json", "--handlers", "wild", "--json")
    assert json.loads(ended.stdout)["output"] == {"a": 0}


def test_a_task_of_a_handler_that_exits_fails_its_step_and_the_run_says_so(wild: Shell) -> None:
    (wild.directory / "w.json").write_text(one("exits_in_a_task"))
    ended = wild("run", "w.json", "--handlers", "wild", "--json", status=1)
    assert json.loads(ended.stdout)["error"]["type"] == "SystemExit"


@pytest.mark.parametrize("handler", ["exits_in_a_callback", "cancels_everything", "stops_the_loop"])
def test_nothing_but_a_completed_workflow_ends_with_0(wild: Shell, handler: str) -> None:
    (wild.directory / "w.json").write_text(one(handler))
    ended = wild("run", "w.json", "--handlers", "wild", "--json", status=1)
    assert json.loads(ended.stdout)["error"]["type"] == "EndedError"
    assert "Nothing that was acknowledged is lost" in ended.stderr


@pytest.mark.parametrize("verb", ["worker", "dev"])
@pytest.mark.parametrize("handler", ["exits_in_a_callback", "cancels_everything"])
def test_a_standing_process_that_a_handler_ends_says_so_and_not_0(wild: Shell, handler: str, verb: str) -> None:
    (wild.directory / "flows").mkdir()
    (wild.directory / "flows" / "w.json").write_text(one(handler))
    wild("register", "flows/w.json", "--handlers", "wild")
    wild("start", "w")
    if verb == "dev":
        ended = wild("dev", "flows", "--handlers", "wild", status=1)
    else:
        engine = wild.start("engine")
        try:
            ended = wild("worker", "--handlers", "wild", status=1)
        finally:
            engine.kill()
            engine.communicate()
    assert "by code that runs in" in ended.stderr


@pytest.mark.parametrize("handler", ["never_ends", "sleeps"])
def test_a_run_ends_though_a_handler_that_timed_out_does_not(wild: Shell, handler: str) -> None:
    (wild.directory / "w.json").write_text(one(handler, timeout_seconds=0.2))
    ended = wild("run", "w.json", "--handlers", "wild", "--json", status=1)
    assert json.loads(ended.stdout)["error"]["type"] == "StepTimeout"


def test_a_run_ends_though_a_task_that_a_handler_left_behind_does_not(wild: Shell) -> None:
    (wild.directory / "w.json").write_text(one("leaves_one_behind"))
    assert wild.json("run", "w.json", "--handlers", "wild")["output"] == {"a": 1}


PROGRAM = """
import asyncio
import stepwell

async def main():
    async with stepwell.connect("file:log.db", modules=["wild"]) as client:
        await client.register({"name": "w", "steps": [
            {"id": "a", "handler": "wild.HANDLER", "timeout_seconds": 0.2}]})
        print((await (await client.start("w")).result()).error.type)

asyncio.run(main())
"""


@pytest.mark.parametrize("handler", ["never_ends", "sleeps"])
def test_a_program_of_ones_own_ends_though_a_handler_that_timed_out_does_not(wild: Shell, handler: str) -> None:
    Path(wild.directory / "program.py").write_text(PROGRAM.replace("HANDLER", handler))
    ended = subprocess.run(
        [sys.executable, "program.py"],
        cwd=wild.directory,
        env=wild.env,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "StepTimeout\n"), ended.stderr
