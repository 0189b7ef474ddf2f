"""What was due before a command came is decided before it, and what came in time counts, whenever an engine looks."""

import pytest

from stepwell.log.partitioner import partition_for
from stepwell.log.port import COMMANDS, NewRecord
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import ApproveStep, CompleteStep, RejectStep
from stepwell.testing import World, simulate, stub

GATE = {
    "name": "purchase", "version": "1",
    "steps": [
        {"id": "gate", "type": "approval_gate", "config": {"timeout_seconds": 60}},
        {"id": "pay", "handler": "pay", "depends_on": ["gate"]},
    ],
}  # fmt: skip


async def ask(world: World, *commands) -> None:
    """Put commands into the log while nobody decides."""
    log = world.client.log
    for command in commands:
        partition = partition_for(command.instance_id, log.partitions)
        await log.append(COMMANDS, partition, [NewRecord(command.instance_id, encode(command))])


def played(scenario, definition=GATE):
    async def play(world: World):
        await world.register(definition)
        await world.start(definition["name"], {}, id="p-1")
        await world.advance(seconds=1)
        await world._kill()
        await scenario(world)
        await world.boot()
        await world.advance(seconds=5)
        view = await world.client.get("p-1")
        return view.status, view.error.type if view.error else None

    return simulate(play, handlers={"pay": stub()})


@pytest.mark.parametrize("word", [ApproveStep, RejectStep])
def test_a_word_after_the_deadline_is_too_late_though_no_engine_ran_in_between(word):
    async def scenario(world):
        await world.advance(seconds=100)
        await ask(world, word("p-1", "gate", "ann", "", "late"))
        await world.advance(seconds=50)

    assert played(scenario) == ("failed", "ApprovalTimeout")


def test_a_word_before_the_deadline_counts_though_no_engine_looked_until_long_after():
    async def scenario(world):
        await world.advance(seconds=20)
        await ask(world, ApproveStep("p-1", "gate", "ann", "", "in time"))
        await world.advance(seconds=5_000)

    assert played(scenario) == ("completed", None)


def test_a_word_in_time_counts_behind_however_many_commands_that_came_before_it():
    async def scenario(world):
        await world.advance(seconds=20)
        await ask(world, *(CompleteStep(f"p-{n}", "nothing", 1) for n in range(2, 700)))
        await ask(world, ApproveStep("p-1", "gate", "ann", "", "in time"))
        await world.advance(seconds=5_000)

    assert played(scenario) == ("completed", None)


def test_each_word_is_held_against_the_deadline_of_its_time():
    """The first level had the time until 60 s, the second until 120 s: its people spoke in time."""
    levels = {**GATE, "steps": [{**GATE["steps"][0], "config": {
        "approvers": ["ann"], "timeout_seconds": 60, "escalate_to": [["bob"]],
    }}, GATE["steps"][1]]}  # fmt: skip

    async def scenario(world):
        await world.advance(seconds=80)
        await ask(world, ApproveStep("p-1", "gate", "ann", "", "too late"))
        await ask(world, ApproveStep("p-1", "gate", "bob", "", "in time"))
        await world.advance(seconds=20)

    assert played(scenario, levels) == ("completed", None)


def test_the_workflows_limit_comes_before_an_outcome_that_came_after_it():
    limited = {
        "name": "limited", "version": "1", "default_timeout_seconds": 60, "steps": [{"id": "pay", "handler": "hang"}]
    }  # fmt: skip

    async def scenario(world):
        await world.advance(seconds=100)
        await ask(world, CompleteStep("p-1", "pay", 1, {}))
        await world.advance(seconds=50)

    async def play(world: World):
        await world.register(limited)
        await world.start("limited", {}, id="p-1")
        await world.advance(seconds=1)
        await world._kill()
        await scenario(world)
        await world.boot()
        await world.advance(seconds=5)
        return (await world.client.get("p-1")).error.type

    assert simulate(play, handlers={"hang": stub(seconds=10_000)}) == "WorkflowTimeout"
