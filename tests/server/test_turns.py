"""Definitions that are sent over HTTP are read a few at once, one of each sender, and no larger than the sender may send."""

import asyncio
import json

import pytest

from stepwell.server.access import Actor, Role
from stepwell.server.http import turns as module
from stepwell.server.http.problems import RefusedError
from stepwell.server.http.turns import AT_ONCE, MOST_WAITING, Turns
from tests.server.conftest import fine, problem
from tests.workbench import one_step


async def test_a_definition_that_only_an_operator_could_register_is_checked_for_nobody_else(guarded, tokens):
    large = json.dumps({**one_step(), "description": "x" * (module.MOST_TO_CHECK + 1)})
    told = problem(await guarded.post("/v1/validate", content=large, headers=tokens[1][Role.VIEWER]), 413)
    assert "1,048,576 are allowed; who may register it may send 8,388,608" in told["detail"]
    assert "stepwell validate" in told["remedy"]
    problem(await guarded.post("/v1/validate", content=large, headers=tokens[1][Role.APPROVER]), 413)
    fine(await guarded.post("/v1/validate", content=large, headers=tokens[1][Role.OPERATOR]))


async def test_nobody_has_a_definition_read_that_is_larger_than_one_may_be(guarded, tokens):
    large = json.dumps({**one_step(), "description": "x" * 9_000_000})
    told = problem(await guarded.post("/v1/definitions", content=large, headers=tokens[1][Role.ADMIN]), 413)
    assert "8,388,608 are allowed" in told["detail"]


async def test_one_sender_has_one_definition_read_at_a_time_and_all_together_a_few():
    turns, let_go = Turns(), asyncio.Event()
    reading: list[str] = []

    async def send(name: str) -> None:
        async with turns.turn(Actor(name, Role.VIEWER)):
            reading.append(name)
            await let_go.wait()
            reading.remove(name)

    tasks = [asyncio.create_task(send(name)) for name in ("ann", "ann", "ann", "bob", "cy")]
    while len(reading) < AT_ONCE:
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert sorted(reading) == ["ann", "bob"]
    let_go.set()
    await asyncio.gather(*tasks)
    assert not turns._senders
    assert not turns._asked


async def test_who_has_many_waiting_is_told_to_wait_and_others_are_not():
    turns, let_go = Turns(), asyncio.Event()

    async def send(name: str) -> None:
        async with turns.turn(Actor(name, Role.VIEWER)):
            await let_go.wait()

    tasks = [asyncio.create_task(send("ann")) for _ in range(MOST_WAITING + 1)]
    await asyncio.sleep(0)
    with pytest.raises(RefusedError, match=f"{MOST_WAITING} definitions of ann wait to be read") as caught:
        await send("ann")
    assert caught.value.status == 429
    other = asyncio.create_task(send("bob"))
    let_go.set()
    await asyncio.gather(other, *tasks)
    await send("ann")
