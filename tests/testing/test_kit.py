"""The testing kit as its users meet it."""

from __future__ import annotations

import asyncio

import pytest

from stepwell.testing import DeadlockError, World, failing, simulate, stub

CHAIN = {
    "name": "chain",
    "steps": [
        {"id": "a", "handler": "a"},
        {"id": "b", "handler": "b", "depends_on": ["a"], "retry": {"max_attempts": 3, "initial_delay_seconds": 60}},
        {"id": "c", "handler": "c", "depends_on": ["b"]},
    ],
}
STUBS = {"a": stub({"a": 1}), "b": stub({"b": 2}), "c": stub({"c": 3})}


def test_a_workflow_runs_with_stubs_and_its_events_can_be_asserted_on():
    async def scenario(world: World) -> None:
        await world.register(CHAIN)
        outcome = await world.run("chain", id="one")
        assert outcome.output == {"c": {"c": 3}}
        assert await world.types("one") == [
            "workflow.started", "step.ready", "step.succeeded", "step.ready", "step.succeeded",
            "step.ready", "step.succeeded", "workflow.completed",
        ]  # fmt: skip

    simulate(scenario, handlers=STUBS)


def test_three_days_pass_in_no_time():
    async def scenario(world: World) -> int:
        await world.register({
            "name": "approval", "default_timeout_seconds": 3 * 86_400,
            "steps": [{"id": "wait", "type": "wait", "config": {"seconds": 30 * 86_400}}],
        })  # fmt: skip
        began = world.now
        run = await world.start("approval")
        await world.advance(days=2, hours=23)
        assert (await run.status()).status == "running"
        outcome = await run.result()
        assert outcome.status == "failed"
        assert outcome.error is not None
        assert outcome.error.type == "WorkflowTimeout"
        return world.now - began

    took = simulate(scenario)
    assert 3 * 86_400_000 <= took < 3 * 86_400_000 + 60_000


def test_retries_wait_in_virtual_time():
    async def scenario(world: World) -> None:
        await world.register(CHAIN)
        began = world.now
        outcome = await world.run("chain")
        assert outcome.steps["b"].attempts == 3
        assert world.now - began >= (60 + 120) * 1000

    simulate(scenario, handlers={**STUBS, "b": failing(ConnectionError("down"), times=2, then={"b": 2})})


def test_a_crash_between_any_two_events_changes_nothing_but_time():
    async def plain(world: World) -> list[str]:
        await world.register(CHAIN)
        await world.run("chain", id="x")
        return await world.types("x")

    expected = simulate(plain, handlers=STUBS)
    for number in range(1, len(expected)):

        async def crashed(world: World, at: int = number) -> list[str]:
            await world.register(CHAIN)
            happened = asyncio.ensure_future(world.crash_when(lambda record: record.sequence == at))
            run = await world.start("chain", id="x")
            await happened
            outcome = await run.result()
            assert outcome.status == "completed"
            assert world.crashes == 1
            return await world.types("x")

        assert simulate(crashed, handlers=STUBS, seed=number) == expected


def test_a_handler_that_a_crash_interrupts_runs_again_and_a_settled_one_does_not():
    runs: list[str] = []

    async def slow(_data: dict, ctx) -> dict:
        runs.append(ctx.step_id)
        await asyncio.sleep(3600)
        return {}

    async def scenario(world: World) -> None:
        await world.register({"name": "w", "steps": [
            {"id": "first", "handler": "slow"}, {"id": "second", "handler": "slow", "depends_on": ["first"]},
        ]})  # fmt: skip
        run = await world.start("w")
        await world.crash_when(lambda record: record.type == "step.started" and record.event.step_id == "second")
        assert (await run.result()).status == "completed"

    simulate(scenario, handlers={"slow": slow})
    assert runs == ["first", "second", "second"]


def test_the_same_seed_gives_the_same_world():
    async def scenario(world: World) -> list[tuple[str, int]]:
        await world.register(CHAIN)
        await world.run("chain", id="x")
        return [(record.type, record.at) for record in await world.events("x")]

    assert simulate(scenario, handlers=STUBS, seed=5) == simulate(scenario, handlers=STUBS, seed=5)


def test_waiting_for_what_can_never_happen_is_said_and_not_waited_for():
    async def scenario(world: World) -> None:
        await world.register({"name": "w", "steps": [{"id": "a", "handler": "a", "on_failure": "pause"}]})
        run = await world.start("w")
        async with asyncio.timeout(86_400):
            await run.result()

    with pytest.raises((TimeoutError, DeadlockError)):
        simulate(scenario, handlers={"a": failing(ValueError("no"))})


def test_built_in_steps_can_be_stubbed_by_their_type():
    async def scenario(world: World) -> None:
        await world.register({"name": "w", "steps": [
            {"id": "get", "type": "http_request", "config": {"url": "http://shop.example/prices"}},
        ]})  # fmt: skip
        assert (await world.run("w")).output == {"get": {"response": [1, 2]}}

    simulate(scenario, handlers={"http_request": stub({"response": [1, 2]})})
